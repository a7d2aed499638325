"""The reference page of all settings, generated from their table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from vmjitter.config.settings import SCENARIO_SETTINGS, SETTINGS, Setting
from vmjitter.config.sources import variable_of
from vmjitter.loads.catalog import LOADS
from vmjitter.tuning.knobs import KNOBS

_HEAD = """# Settings

Generated from the table in `src/vmjitter/config/settings.py` by `script/docs`; do not edit.

A setting is written in a plan (TOML), in the environment or as a flag. The later wins:
default, plan, environment, flag, `--set`. `plan.toml` in a run directory holds every value that was
used, and where it came from. An unknown key is an error that names the nearest valid one.

Durations have a unit (`ns`, `us`, `ms`, `s`, `m`, `h`, `d`), sizes `K`, `M` or `G`.
"""


def settings_page() -> str:
    """The page as Markdown."""
    return "\n".join((_HEAD, *_general(), *_scenarios(), *_loads(), *_knobs()))


def _general() -> Iterator[str]:
    yield "## In a plan, in the environment, with `--set KEY=VALUE`"
    yield ""
    yield from _table(
        ("key", "default", "variable", "what it is"),
        ((f"`{s.key}`", _default(s), f"`{variable_of(s.key)}`", s.help) for s in SETTINGS),
    )


def _scenarios() -> Iterator[str]:
    yield "## Of each scenario, `[scenario.NAME]`"
    yield ""
    rows = ((f"`{s.key}`", _default(s), s.help) for s in SCENARIO_SETTINGS)
    yield from _table(("key", "default", "what it is"), rows)


def _loads() -> Iterator[str]:
    yield "## Loads"
    yield ""
    rows = ((f"`{k.name}`", k.what, _needs(k.needs_disk, k.needs_network)) for k in LOADS.values())
    yield from _table(("load", "one operation is one of", "needs"), rows)


def _knobs() -> Iterator[str]:
    yield "## Knobs"
    yield ""
    rows = ((f"`{k.name}`", k.effect, k.undo) for k in KNOBS.values())
    yield from _table(("knob", "effect", "undo"), rows)


def _needs(disk: bool, network: bool) -> str:  # noqa: FBT001 - two columns of the catalogue
    return "a disk" if disk else "a network" if network else ""


def _default(setting: Setting) -> str:
    if setting.default in ("", []):
        return ""
    return f"`{json.dumps(setting.default)}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
