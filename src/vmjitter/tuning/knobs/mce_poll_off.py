"""Polling for corrected machine checks every five minutes."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="mce-poll-off",
    effect="corrected errors of the hardware are no longer polled for",
    files=(("/sys/devices/system/machinecheck/machinecheck*/ignore_ce", "1"),),
    absent="no x86 processor with machine checks",
    worth="tuned, profile realtime",
    risk="failing memory is noticed later",
)
