"""Recipes: named lists of knobs, as data in ``plans/recipes``."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmjitter.errors import UsageError
from vmjitter.tuning.knobs import KNOBS

_KEYS: Final = {"title": str, "source": str, "knobs": list}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a file says.

    Attributes:
        name: that of the file.
        title: one line.
        source: where the list comes from.
        knobs: names, in the order of application.
    """

    name: str
    title: str
    source: str
    knobs: tuple[str, ...]


def builtin_recipes() -> dict[str, Path]:
    """The recipes that come with vmjitter, by name."""
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "plans/recipes", package.parent.parent / "plans/recipes"):
        if directory.is_dir():
            return {path.stem: path for path in sorted(directory.glob("*.toml"))}
    return {}


def recipe_knobs(name: str) -> tuple[str, ...]:
    """The knobs of a recipe by name or file, in the order of application.

    Raises:
        UsageError: see `find_recipe` and `read_recipe`.
    """
    return find_recipe(name).knobs


def find_recipe(name: str) -> Recipe:
    """A built-in recipe, or the file of that name.

    Raises:
        UsageError: neither exists, or `read_recipe`'s reasons; names the nearest.
    """
    builtin = builtin_recipes()
    path = builtin.get(name, Path(name))
    if not path.is_file():
        raise UsageError(
            f"there is no recipe {name!r}, neither built in nor as a file",
            hint=_nearest(name, builtin),
        )
    return read_recipe(path)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe's file.

    Raises:
        UsageError: not TOML, a key that is missing, unknown or of the wrong kind, or a knob that
            does not exist or stands there twice; names the nearest.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}", hint="a recipe is a TOML file") from error
    _check_keys(path, table)
    knobs = table["knobs"]
    _check_knobs(path, knobs)
    return Recipe(name=path.stem, title=table["title"], source=table["source"], knobs=tuple(knobs))


def _check_keys(path: Path, table: dict[str, object]) -> None:
    for key in table:
        if key not in _KEYS:
            raise UsageError(f"{path}: a recipe has no key {key!r}", hint=_nearest(key, _KEYS))
    for key, kind in _KEYS.items():
        if not isinstance(table.get(key), kind):
            what = "a list of names of knobs" if kind is list else "a text"
            raise UsageError(f"{path}: {key} must be {what}", hint=f"every recipe has {key} = ...")


def _check_knobs(path: Path, names: Sequence[object]) -> None:
    if not names:
        raise UsageError(f"{path}: knobs is empty", hint="`vmjitter tune show` lists them all")
    for place, name in enumerate(names):
        if not isinstance(name, str) or name not in KNOBS:
            raise UsageError(f"{path}: no knob {name!r}", hint=_nearest(str(name), KNOBS))
        if name in names[:place]:
            raise UsageError(f"{path}: {name} stands there twice", hint="remove one of them")


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid are: {', '.join(names)}"
