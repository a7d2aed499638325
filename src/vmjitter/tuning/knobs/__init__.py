"""One file per knob: each defines `KNOB`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from vmjitter.tuning.knob import Knob


def _knobs() -> dict[str, Knob]:
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    return {module.KNOB.name: module.KNOB for module in modules}


KNOBS: Final[dict[str, Knob]] = _knobs()
"""All of them, by name."""
