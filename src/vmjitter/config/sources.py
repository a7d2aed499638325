"""Where values come from: default, plan file, environment, flag; the later wins."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmjitter.config.ablation import cell_title, combinations, read_ablation
from vmjitter.config.parse import nearest
from vmjitter.config.settings import (
    MACHINE_SETTINGS,
    SCENARIO_SETTINGS,
    SETTINGS,
    WIRE_SETTINGS,
    Setting,
)
from vmjitter.errors import UsageError

ENV_PREFIX: Final = "VMJITTER_"
_EXPANDED: Final = frozenset({"ablation", "scenario"})
_NOT_SETTINGS: Final = frozenset({"VMJITTER_CACHE", "VMJITTER_STATE_DIR"})


@dataclass(frozen=True)
class Value:
    """A value as it was written, and where."""

    raw: object
    source: str


def builtin_plans() -> dict[str, Path]:
    """The plans that come with vmjitter, by name."""
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "plans", package.parent.parent / "plans"):
        if directory.is_dir():
            return {path.stem: path for path in sorted(directory.glob("*.toml"))}
    return {}


def builtin_machines() -> dict[str, Path]:
    """The simulated hosts that come with vmjitter, by name."""
    plans = next(iter(builtin_plans().values()), Path())
    return {path.stem: path for path in sorted((plans.parent / "machines").glob("*.toml"))}


def find_plan(name: str) -> Path:
    """The file of a built-in plan, or the file of that name.

    Raises:
        UsageError: neither exists; names the nearest built-in plan.
    """
    return _find("plan", name, builtin_plans())


def find_machine(name: str) -> Path:
    """The file of a built-in machine, or the file of that name.

    Raises:
        UsageError: neither exists; names the nearest built-in machine.
    """
    return _find("machine", name, builtin_machines())


def _find(what: str, name: str, builtin: Mapping[str, Path]) -> Path:
    if name in builtin:
        return builtin[name]
    path = Path(name)
    if path.is_file():
        return path
    raise UsageError(
        f"there is no {what} {name!r}, neither built in nor as a file", hint=nearest(name, builtin)
    )


def read_plan(path: Path) -> tuple[dict[str, Value], tuple[str, ...]]:
    """All values of a plan file by key with dots, and its scenarios in their order.

    Raises:
        UsageError: not TOML, or a key that does not exist; names the line.
    """
    tables, values = _read_toml(path, "plan")
    scenarios = tables.get("scenario", {})
    if not isinstance(scenarios, dict) or not scenarios:
        raise UsageError(f"{path}: no scenario", hint="add a table [scenario.NAME]")
    if "ablation" not in tables:
        return values, tuple(scenarios)
    return _ablation(path, tables, values)


def _ablation(
    path: Path, tables: Mapping[str, object], values: Mapping[str, Value]
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The values of a plan with an ablation: its one scenario in every wanted combination."""
    ablation = read_ablation(path, tables)
    given = {
        key.removeprefix(f"scenario.{ablation.base}."): value
        for key, value in values.items()
        if key.startswith(f"scenario.{ablation.base}.")
    }
    cells = combinations(tuple(ablation.mitigations))
    made = {key: value for key, value in values.items() if key.split(".")[0] not in _EXPANDED}
    for name, chosen in cells.items():
        knobs = [knob for one in chosen for knob in ablation.mitigations[one]]
        before = given.get("knobs", Value([], "")).raw
        own = {
            "knobs": [*(before if isinstance(before, list) else []), *knobs],
            "mitigations": list(chosen),
            "title": cell_title(ablation.base, chosen),
        }
        source = f"{path.name}: ablation"
        cell = {**given, **{key: Value(raw, source) for key, raw in own.items()}}
        made |= {f"scenario.{name}.{key}": value for key, value in cell.items()}
    return made, tuple(cells)


def read_machine(name: str) -> dict[str, Value]:
    """All values of a machine file by key with dots.

    Raises:
        UsageError: no such machine, not TOML, or a key that a machine cannot set.
    """
    _, values = _read_toml(find_machine(name), "machine")
    known = {setting.key for setting in (*MACHINE_SETTINGS, *WIRE_SETTINGS)}
    for key, value in values.items():
        if key not in known:
            raise UsageError(
                f"{value.source}: a machine has no key {key!r}", hint=nearest(key, known)
            )
    return values


def _read_toml(path: Path, what: str) -> tuple[dict[str, object], dict[str, Value]]:
    try:
        content = path.read_text()
        tables = tomllib.loads(content)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}", hint=f"a {what} is a TOML file") from error
    values = {}
    for key, raw in _flatten(tables):
        line = line_of(content, key)
        values[key] = Value(raw, f"{path.name}:{line}" if line else path.name)
    return tables, values


def read_environment(environ: Mapping[str, str], known: Sequence[str]) -> dict[str, Value]:
    """Values from variables that begin with VMJITTER_.

    Raises:
        UsageError: a variable that belongs to no key.
    """
    by_variable = {variable_of(key): key for key in known}
    values = {}
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX) or variable in _NOT_SETTINGS:
            continue
        if variable not in by_variable:
            raise UsageError(
                f"the variable {variable} belongs to no setting",
                hint=nearest(variable, by_variable),
            )
        values[by_variable[variable]] = Value(environ[variable], variable)
    return values


def read_assignments(assignments: Sequence[str]) -> dict[str, Value]:
    """Values from ``--set key=value``.

    Raises:
        UsageError: no equals sign.
    """
    values = {}
    for assignment in assignments:
        key, equals, raw = assignment.partition("=")
        if not equals:
            raise UsageError(f"--set {assignment}: no value", hint="write --set key=value")
        values[key.strip()] = Value(raw.strip(), f"--set {key.strip()}")
    return values


def variable_of(key: str) -> str:
    """The environment variable of a key."""
    return ENV_PREFIX + re.sub(r"[.-]", "_", key).upper()


def all_settings(scenarios: Sequence[str]) -> dict[str, Setting]:
    """Every valid key of a plan with these scenarios."""
    table = {setting.key: setting for setting in SETTINGS}
    for name in scenarios:
        for setting in SCENARIO_SETTINGS:
            table[f"scenario.{name}.{setting.key}"] = setting
    return table


def line_of(content: str, key: str) -> int:
    """The line of a TOML text on which a key stands; 0 if it cannot be told."""
    table, _, name = key.rpartition(".")
    current = ""
    for number, line in enumerate(content.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            current = header[1].strip().replace('"', "")
        elif current == table and re.match(rf"\s*\"?{re.escape(name)}\"?\s*=", line):
            return number
    return 0


def _flatten(tables: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tables.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
