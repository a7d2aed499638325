"""Sleep states of an idle processor."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="cstates-off",
    effect="an idle CPU does not enter a sleep state that it takes long to leave",
    files=(("/sys/devices/system/cpu/cpu*/cpuidle/state[1-9]*/disable", "1"),),
    absent="no cpuidle driver, as in most virtual machines",
    worth="exit latencies are in cpuidle/state*/latency",
    risk="more heat and power",
)
