"""The live line of a running trial: one line per scenario, redrawn once a second.

Not on a terminal, a line in the manner of cyclictest is printed every ten seconds instead.
"""

from __future__ import annotations

from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from vmjitter.effects.clock import now_ns
from vmjitter.session.progress import Progress
from vmjitter.units import NS_PER_S, format_clock, format_ns

_REDRAW_NS: Final = NS_PER_S
_PLAIN_NS: Final = 10 * NS_PER_S


class LiveLines:
    """Shows progress; use as a context manager and call `say` and `report`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, Text] = {}
        self._shown_ns = 0
        self._phase = ""
        # Redrawn by us only: a refresh thread would cost CPU time while measuring.
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._redraw()
            self._live.stop()

    def say(self, message: str) -> None:
        """Show what is being prepared."""
        if self._console.is_terminal:
            self._lines["prepare"] = Text(f"prepare: {message}", style="dim")
            self._redraw()
        else:
            self._console.print(f"prepare: {message}")

    def report(self, progress: Progress) -> None:
        """Show a trial's progress, at most once a second, and every change of phase."""
        if self._lines.pop("prepare", None) is not None:
            self._redraw()
        changed = (progress.scenario + progress.phase) != self._phase
        self._phase = progress.scenario + progress.phase
        done = progress.recorded >= progress.loops
        interval_ns = _REDRAW_NS if self._console.is_terminal else _PLAIN_NS
        if not (changed or done) and now_ns() - self._shown_ns < interval_ns:
            return
        self._shown_ns = now_ns()
        line = describe(progress)
        if self._console.is_terminal:
            self._lines[progress.scenario] = line
            self._redraw()
        else:
            self._console.print(line, soft_wrap=True)

    def _redraw(self) -> None:
        self._live.update(Text("\n").join(self._lines.values()), refresh=True)


def describe(progress: Progress) -> Text:
    """One line: scenario, time, wake-ups, current and worst latency, overruns, load rates."""
    line = Text(f"{progress.scenario:<20} ", style="bold", no_wrap=True, overflow="ellipsis")
    if progress.phase != "measure":
        line.append(f"{progress.phase} ...", style="dim")
        return line
    line.append(f"{100 * progress.recorded // progress.loops:>3}% ", style="")
    elapsed = format_clock(progress.recorded * progress.period_ns)
    line.append(f"{elapsed}/-{format_clock(progress.remaining_ns)}  ")
    line.append(f"n {progress.recorded}  ")
    if progress.worst_ns is not None and progress.current_ns is not None:
        line.append(f"act {format_ns(progress.current_ns)}  ")
        line.append(f"max {format_ns(progress.worst_ns)}  ", style="bold")
    line.append(f"overruns {progress.overruns}")
    rates = " ".join(
        f"{name} {rate:.0f}" for name, rate in progress.rates.items() if "(peer)" not in name
    )
    line.append(f"  {rates}/s" if rates else "", style="dim")
    return line
