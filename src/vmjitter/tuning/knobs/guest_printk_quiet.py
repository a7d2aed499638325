"""Messages of the guest's kernel."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import GuestKnob

KNOB: Final = GuestKnob(
    name="guest-printk-quiet",
    effect="the guest's kernel writes errors only to its console",
    files=(("/proc/sys/kernel/printk", "3 1 1 7"),),
    worth="an emulated serial port costs an exit per byte (Uros issue 567)",
)
