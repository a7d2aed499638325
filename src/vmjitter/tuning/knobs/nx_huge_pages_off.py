"""KVM splits executable huge pages because of the iTLB multihit erratum."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import FileKnob

KNOB: Final = FileKnob(
    name="nx-huge-pages-off",
    effect="KVM no longer splits and recovers huge pages of guests",
    files=(("/sys/module/kvm/parameters/nx_huge_pages", "N"),),  # as it reads
    enough=("never",),  # then it cannot be turned on again either
    absent="the module kvm is not loaded, or the processor is not affected",
    worth="removed storms of about 100 us (tuned commit e4a0e48)",
    risk="a malicious guest can stop a processor with the iTLB multihit erratum",
)
