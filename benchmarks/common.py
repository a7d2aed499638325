"""What the benchmarks share: tables, JSON, medians and where they run."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median as _median

from vmjitter.effects.process import check
from vmjitter.qemu.machine import qemu_program, qemu_version

Cell = str | int | float | None
Row = Mapping[str, Cell]


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the option that all benchmarks have."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return made


def positive(text: str) -> int:
    """A whole number above zero, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return value


def render(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table, numbers to the right; the first row names the columns."""
    if not rows:
        return "(nothing)\n"
    names = list(rows[0])
    cells = [[_text(row.get(name)) for name in names] for row in rows]
    numeric = [all(isinstance(row.get(n), int | float | None) for row in rows) for n in names]
    widths = [max(3, len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    rule = [
        "-" * (width - 1) + (":" if right else "-")
        for width, right in zip(widths, numeric, strict=True)
    ]
    lines = [names, rule, *cells]
    return "".join(f"| {_line(line, widths, numeric)} |\n" for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    return " | ".join(
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    )


def _text(value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
    return str(value)


def show(
    conditions: Mapping[str, str], tables: Mapping[str, Sequence[Row]], *, as_json: bool
) -> None:
    """Print the result of a benchmark: its conditions and its tables by title."""
    if as_json:
        document = {"format": 1, "conditions": dict(conditions)}
        print(json.dumps(document | {"tables": {k: list(v) for k, v in tables.items()}}, indent=1))
        return
    for name, value in conditions.items():
        print(f"{name}: {value}")
    for title, rows in tables.items():
        print(f"\n{title}\n\n{render(rows)}", end="")


def host_conditions() -> dict[str, str]:
    """The machine that the benchmark ran on."""
    return {"host kernel": os.uname().release, "host CPUs": str(os.cpu_count())}


def qemu_condition() -> dict[str, str]:
    """The QEMU that the benchmark used."""
    return {"QEMU": qemu_version(qemu_program()).removeprefix("QEMU emulator version ")}


def first_line(argv: Sequence[str]) -> str:
    """The first line that a program prints, for example its version."""
    return check(argv, timeout_s=20.0).stdout.splitlines()[0].strip()


def median(values: Sequence[float]) -> float:
    """The median."""
    return float(_median(values))


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory."""
    with tempfile.TemporaryDirectory(prefix="vmjitter-benchmark-") as name:
        yield Path(name)
