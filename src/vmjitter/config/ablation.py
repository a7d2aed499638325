"""An ablation: one scenario with none, each, all but each, and all of some mitigations.

In a plan::

    [ablation]
    base = "kernel-io"               # a scenario of this plan

    [ablation.mitigations]           # names of ours, and the knobs of each
    virtio = ["virtio-disk", "virtio-net"]
    priority = ["qemu-fifo-max"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmjitter.config.parse import nearest
from vmjitter.errors import UsageError

_MOST: Final = 8
_KEYS: Final = frozenset({"base", "mitigations"})


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What a plan says.

    Attributes:
        base: the scenario without any of them.
        mitigations: their knobs, by name, in the order of application.
    """

    base: str
    mitigations: Mapping[str, tuple[str, ...]]


def read_ablation(path: Path, tables: Mapping[str, object]) -> Ablation:
    """Read the table of a plan.

    Raises:
        UsageError: something is missing or makes no sense; names it.
    """
    table, scenarios = tables["ablation"], tables["scenario"]
    place = f"{path.name}: ablation"
    if not isinstance(table, dict) or not isinstance(scenarios, dict):
        raise UsageError(f"{place}: must be a table", hint="write [ablation]")
    for key in table:
        if key not in _KEYS:
            raise UsageError(f"{place}: there is no key {key!r}", hint=nearest(key, _KEYS))
    base = table.get("base")
    if not isinstance(base, str) or base not in scenarios:
        raise UsageError(
            f"{place}.base: {base!r} is no scenario of this plan",
            hint=nearest(str(base), scenarios),
        )
    return Ablation(base=base, mitigations=_mitigations(table.get("mitigations"), place))


def _mitigations(table: object, place: str) -> dict[str, tuple[str, ...]]:
    place = f"{place}.mitigations"
    if not isinstance(table, dict) or not 1 <= len(table) <= _MOST:
        raise UsageError(
            f"{place}: must be a table of 1 to {_MOST} mitigations",
            hint='write e.g. virtio = ["virtio-disk", "virtio-net"]',
        )
    for name, knobs in table.items():
        if not re.fullmatch(r"[a-zA-Z0-9_]+", name):
            raise UsageError(f"{place}: {name!r} is no name", hint="use letters and digits")
        if not isinstance(knobs, list) or not all(isinstance(knob, str) for knob in knobs):
            raise UsageError(f"{place}.{name}: must be a list of knobs")
    return {name: tuple(knobs) for name, knobs in table.items()}


def combinations(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The combinations that are measured, by the name of their scenario."""
    cells: dict[str, tuple[str, ...]] = {"none": ()}
    cells |= {f"only-{name}": (name,) for name in names if len(names) > 1}
    for left_out in names:
        rest = tuple(name for name in names if name != left_out)
        if rest not in cells.values():
            cells[f"without-{left_out}"] = rest
    cells["all"] = tuple(names)
    return cells


def cell_title(base: str, chosen: Sequence[str]) -> str:
    """A scenario of an ablation in words."""
    return f"{base} with {', '.join(chosen)}" if chosen else f"{base} without any mitigation"
