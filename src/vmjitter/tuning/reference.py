"""The reference page of all knobs and recipes, generated from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vmjitter.tuning.byhand import how
from vmjitter.tuning.knob import (
    FileKnob,
    GuestKnob,
    Host,
    Knob,
    ModuleKnob,
    Needs,
    ThreadKnob,
    Value,
)
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.recipes import builtin_recipes, find_recipe

_HEAD = """# Knobs and recipes

Generated from `src/vmjitter/tuning/knobs/` and `plans/recipes/` by `script/docs`; do not edit.

A knob is one setting of the host, of QEMU or of the guest. A scenario lists knobs, or names a
recipe; `vmjitter run` applies them in the order of the page
[how tuning works](../method/tuning.md), reads them back and takes them back.
`vmjitter tune show` says for each whether it can be used on this machine and what is set now;
`vmjitter tune apply` and `vmjitter tune revert` set and put back those that are *live*.

"What it is worth" is what a public source says, not what vmjitter measured: measure it on your
machine, `vmjitter run paper-ablation`. In the text below, *real-time* knobs are applied only under
the watchdog.
"""
_EXAMPLE = Host(guest_cpus=frozenset({1}), other_cpus=frozenset({0}), guest_bytes=1 << 30)


def knobs_page() -> str:
    """The page as Markdown."""
    return "\n".join((_HEAD, *_overview(), *_recipes(), *_each())).rstrip("\n") + "\n"


def _overview() -> Iterator[str]:
    yield "## All knobs"
    yield ""
    rows = (
        (f"[`{k.name}`](#{k.name})", k.effect, _live(k), "yes" if k.real_time else "")
        for k in KNOBS.values()
    )
    yield from _table(("knob", "effect", "live", "real-time"), rows)


def _recipes() -> Iterator[str]:
    yield "## Recipes"
    yield ""
    for name in builtin_recipes():
        recipe = find_recipe(name)
        yield f"### {name}"
        yield ""
        yield f"{recipe.title}. Source: {recipe.source}."
        yield ""
        yield ", ".join(f"`{one}`" for one in recipe.knobs)
        yield ""


def _each() -> Iterator[str]:
    yield "## Each knob"
    yield ""
    for knob in KNOBS.values():
        yield f"### {knob.name}"
        yield ""
        yield f"{knob.effect[0].upper()}{knob.effect[1:]}."
        yield ""
        rows = {
            "needs": how(knob, _EXAMPLE) or "nothing to start again",
            "sets": "; ".join(_places(knob)),
            "worth": knob.worth,
            "risk": knob.risk,
            "undo": knob.undo,
        }
        yield from (f"* {key}: {_escaped(text)}" for key, text in rows.items() if text)
        yield ""


def _places(knob: Knob) -> Iterator[str]:
    if isinstance(knob, FileKnob):
        yield from (f"`{path}` = {_value(value)}" for path, value in knob.files)
    elif isinstance(knob, GuestKnob):
        yield from (f"`{path}` = `{value}` in the guest" for path, value in knob.files)
    elif isinstance(knob, ModuleKnob):
        yield f"option `{knob.parameter}={knob.value}` of the module `{knob.module}`"
    elif isinstance(knob, ThreadKnob):
        yield {"policy": "scheduling policy", "cpus": "CPUs"}[knob.medium] + " of threads"


def _value(value: Value) -> str:
    return f"`{value}`" if isinstance(value, str) else "CPUs that the guest does not use"


def _live(knob: Knob) -> str:
    return "yes" if knob.needs is Needs.NOTHING else f"no: {knob.needs.value} starts again"


def _escaped(text: str) -> str:
    """Stars and angle brackets outside of code would be taken for markup."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        parts[place] = parts[place].replace("*", r"\*").replace("<", r"\<")
    return "`".join(parts)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
