"""What can be changed now, without a run: what `vmjitter tune` shows and applies."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vmjitter.errors import UsageError
from vmjitter.tuning.byhand import how
from vmjitter.tuning.change import Change, Medium
from vmjitter.tuning.knob import Host, Knob, ModuleKnob, Target, ThreadKnob
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.media import media
from vmjitter.tuning.recipes import builtin_recipes, recipe_knobs

_SHOWN: Final = 3
"""How many different values of one knob are shown."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One knob, as it would be applied now.

    Attributes:
        changes: what is to be written; none if it cannot be, or need not.
        why: why not, and what to do instead; or what has to follow.
    """

    knob: Knob
    changes: tuple[Change, ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class View:
    """One knob on this host.

    Attributes:
        missing: why it cannot be used here; empty if it can.
        now: the values that are set, if they can be read without starting anything.
        wanted: the values that the knob would set.
        places: how many.
        how: what has to start again, and what to write.
        ours: it is set by vmjitter and was not taken back.
    """

    knob: Knob
    missing: str
    now: str
    wanted: str
    places: int
    how: str
    ours: bool


def expand(names: Iterable[str]) -> tuple[Knob, ...]:
    """Knobs by name, and those of recipes, each once, in order.

    Raises:
        UsageError: a name that is neither a knob nor a recipe; names the nearest.
    """
    found: dict[str, Knob] = {}
    for name in names:
        for one in (name,) if name in KNOBS else _of_recipe(name):
            found.setdefault(one, KNOBS[one])
    return tuple(found.values())


def step(knob: Knob, host: Host, target: Target | None, *, hold: bool) -> Step:
    """What applying a knob comes to now.

    Args:
        knob: which.
        host: this machine.
        target: a running QEMU, or None.
        hold: somebody stays to hold what lasts only with a descriptor.
    """
    missing = knob.missing(host)
    changes = knob.on_host(host)
    if missing and not (isinstance(knob, ModuleKnob) and changes):
        return Step(knob=knob, changes=(), why=missing)
    if any(change.medium == "held" for change in changes) and not hold:
        why = "lasts only as long as somebody holds it: in a run, or here with --hold"
        return Step(knob=knob, changes=(), why=why)
    if isinstance(knob, ThreadKnob):
        return _on_threads(knob, target)
    if target is not None:
        changes = (*changes, *knob.on_threads(target))
    return Step(knob=knob, changes=changes, why=how(knob, host) or _nothing(changes))


def view(knob: Knob, host: Host, target: Target | None, ours: frozenset[str]) -> View:
    """How a knob stands on this host.

    Args:
        knob: which.
        host: this machine.
        target: a running QEMU, or None.
        ours: names of the knobs that are set by vmjitter.
    """
    changes = (*knob.on_host(host), *(knob.on_threads(target) if target is not None else ()))
    places = media(host.tree)
    return View(
        knob=knob,
        missing=knob.missing(host),
        now=_summary(_read(places[change.medium], change.place) for change in changes),
        wanted=_summary(change.wanted.strip() for change in changes),
        places=len(changes),
        how=how(knob, host),
        ours=knob.name in ours,
    )


def _of_recipe(name: str) -> tuple[str, ...]:
    if name not in builtin_recipes() and not name.endswith(".toml"):
        known = sorted((*KNOBS, *builtin_recipes()))
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        raise UsageError(
            f"there is no knob and no recipe {name!r}",
            hint=f"did you mean {close[0]!r}?" if close else "`vmjitter tune show` lists them all",
        )
    return recipe_knobs(name)


def _on_threads(knob: ThreadKnob, target: Target | None) -> Step:
    if target is None:
        return Step(knob=knob, changes=(), why="is about a running QEMU: name it with --vm PID")
    changes = knob.on_threads(target)
    why = "" if changes else "this QEMU has no such thread"
    return Step(knob=knob, changes=changes, why=why)


def _nothing(changes: Sequence[Change]) -> str:
    return "" if changes else "nothing stands in the way here"


def _read(medium: Medium, place: str) -> str:
    try:
        found = medium.read(place)
    except OSError as error:
        return error.strerror or "unreadable"
    return "gone" if found is None else found.strip() or "absent"


def _summary(values: Iterable[str]) -> str:
    different = list(dict.fromkeys(values))
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    return ", ".join(different[:_SHOWN]) + more
