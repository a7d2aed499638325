"""The live lines: what they say, and that they fit."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from vmjitter.cli.live import LiveLines, describe
from vmjitter.config.resolve import Choices, resolve
from vmjitter.session.progress import Progress

PLAN = resolve(
    "paper", Choices(only=["kernel", "kernel-io"], assignments=["probe.loops=1000"])
).plan


def _progress(**changes: object) -> Progress:
    fields: dict[str, object] = {
        "scenario": "kernel",
        "phase": "measure",
        "loops": 1000,
        "period_ns": 1_000_000_000,
        "recorded": 250,
        "current_ns": 15_000,
        "worst_ns": 1_160_000,
        "overruns": 7,
        "rates": {"sem": 199.0, "udp-send": 50.0, "udp-recv": 49.0, "udp-send (peer)": 50.0},
    }
    return Progress(**{**fields, **changes})  # type: ignore[arg-type]


def test_one_line_says_it_all() -> None:
    text = describe(_progress(), 250).plain
    for part in (
        "kernel ", "4:10", "-12:30", "n 250", "act 15.00 µs", "max 1.16 ms", "over 7",
        "loads 249/250 per s", "sem 199", "udp-recv 49",
    ):  # fmt: skip
        assert part in text
    assert "peer" not in text


def test_other_phases_tell_how_long() -> None:
    assert "boot 0:03" in describe(_progress(phase="boot", elapsed_ns=3_000_000_000), 0).plain


@pytest.mark.parametrize("width", [60, 100])
def test_on_a_terminal_no_line_is_broken(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    with LiveLines(console, PLAN, Path("runs/x")) as live:
        live.say("guest images")
        live.report(_progress())
        live.report(_progress(scenario="kernel-io", phase="boot"))
    shown = out.getvalue()
    assert "scenario 2 of 2" in shown
    # a line that is too long ends in an ellipsis instead of wrapping
    last = shown.rsplit("\x1b[2K", 1)[-1].split("\x1b")[0].strip().splitlines()
    assert [line[:6] for line in last] == ["kernel", "kernel"]
    assert max(map(len, last)) <= width


@pytest.mark.parametrize("terminal", [False, True], ids=["no terminal", "dumb terminal"])
def test_elsewhere_lines_are_printed_at_each_phase_and_end(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=terminal, color_system=None)
    with LiveLines(console, PLAN, Path("runs/x")) as live:
        live.say("guest images")
        live.report(_progress(phase="boot"))
        live.report(_progress(recorded=1))
        live.report(_progress(recorded=2))
        live.report(_progress(recorded=1000))
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["guest", "kernel", "kernel", "kernel"]
    assert "\x1b[2K" not in out.getvalue()
