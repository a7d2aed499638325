"""One file per knob.  The order of `KNOBS` is the order of application."""

from __future__ import annotations

from typing import Final

from vmjitter.tuning.knob import Knob
from vmjitter.tuning.knobs.qemu_fifo_max import QemuFifoMax

KNOBS: Final[dict[str, Knob]] = {knob.name: knob for knob in (QemuFifoMax(),)}
