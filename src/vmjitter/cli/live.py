"""The live lines of a run: one per scenario, redrawn once a second, and the time left.

Not on a terminal, a line in the manner of cyclictest is printed every ten seconds instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from vmjitter.effects.clock import now_ns
from vmjitter.model.plan import Plan
from vmjitter.model.sim import Bench
from vmjitter.session.progress import Progress
from vmjitter.units import NS_PER_S, format_clock, format_ns

_REDRAW_NS: Final = NS_PER_S
_PLAIN_NS: Final = 10 * NS_PER_S
_AROUND_NS: Final = 10 * NS_PER_S
_AROUND_SIM_NS: Final = 90 * NS_PER_S
"""Boot, loads and power-off of a scenario: estimates, for the time left only."""


class LiveLines:
    """Shows progress; use as a context manager and call `say` and `report`."""

    def __init__(self, console: Console, plan: Plan, output: Path) -> None:
        self._console = console
        self._plan = plan
        self._output = output
        self._lines: dict[str, Text] = {}
        self._latest: dict[str, Progress] = {}
        self._head = Text()
        self._shown_ns: dict[str, int] = {}
        # A dumb terminal cannot move its cursor up, so it gets lines as a file does.
        self._draws = console.is_terminal and not console.is_dumb_terminal
        # Redrawn by us only: a refresh thread would cost CPU time while measuring.
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        if self._draws:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._draws:
            self._head = Text()
            self._redraw()
            self._live.stop()

    def say(self, message: str) -> None:
        """Show what is being done before or after the trials."""
        if self._draws:
            self._head = Text(f"{message} ...", style="dim")
            self._redraw()
        else:
            self._console.print(f"{message} ...")

    def report(self, progress: Progress) -> None:
        """Show a trial's progress, at most once a second, and every change of phase."""
        name = progress.name
        before = self._latest.get(name)
        self._latest[name] = progress
        done = progress.recorded >= progress.loops
        interval_ns = _REDRAW_NS if self._draws else _PLAIN_NS
        new_phase = before is None or before.phase != progress.phase
        if not new_phase and not done and now_ns() - self._shown_ns.get(name, 0) < interval_ns:
            return
        self._shown_ns[name] = now_ns()
        line = describe(progress, self._wanted(progress.scenario))
        if not self._draws:
            self._console.print(line, soft_wrap=True)
            return
        self._lines[name] = line
        self._head = Text(self._overview(), style="dim")
        self._redraw()

    def _wanted(self, name: str) -> int:
        (scenario,) = (s for s in self._plan.scenarios if s.name == name)
        loads = (*scenario.loads, *scenario.host_loads)
        # One that does as much as it can has no rate to be held against.
        return sum(load.rate for load in loads) if all(load.rate for load in loads) else 0

    def _overview(self) -> str:
        total = len(self._plan.turns)
        left_ns = time_left_ns(self._plan, self._latest)
        return (
            f"{self._plan.name}: {'trial' if self._plan.rounds else 'scenario'} "
            f"{len(self._latest)} of {total}, "
            f"about {format_clock(left_ns)} left; into {self._output}"
        )

    def _redraw(self) -> None:
        head = [self._head] if self._head else []
        for line in head:
            line.no_wrap, line.overflow = True, "ellipsis"
        self._live.update(Group(*self._lines.values(), *head), refresh=True)


def time_left_ns(plan: Plan, latest: Mapping[str, Progress]) -> int:
    """An estimate of the real time until the last scenario is done.

    Args:
        plan: what is to be measured.
        latest: the last progress of every trial that has begun.
    """
    known = [progress for progress in latest.values() if progress.speed]
    speed = min((progress.speed for progress in known), default=1.0)
    around_ns = _AROUND_SIM_NS if plan.bench is Bench.SIM else _AROUND_NS
    each_ns = plan.probe.loops * plan.probe.period_ns / speed + around_ns
    running = [p for p in latest.values() if p.recorded < p.loops]
    begun_ns = [each_ns if not p.recorded else p.remaining_ns / (p.speed or speed) for p in running]
    waiting_ns = (len(plan.turns) - len(latest)) * each_ns
    side_by_side = max(1, len(running))
    return round(max(max(begun_ns, default=0), (sum(begun_ns) + waiting_ns) / side_by_side))


def describe(progress: Progress, wanted: int) -> Text:
    """One line: scenario, time, wake-ups, current and worst latency, overruns, load rates.

    Args:
        progress: the trial's state.
        wanted: operations per second asked of all its loads together.
    """
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{progress.name:<20} ", style="bold")
    if progress.phase != "measure":
        line.append(f"{progress.phase} {format_clock(progress.elapsed_ns)}", style="dim")
        return line
    elapsed = format_clock(progress.recorded * progress.period_ns)
    line.append(f"{elapsed} -{format_clock(progress.remaining_ns)}  n {progress.recorded}  ")
    if progress.worst_ns is not None and progress.current_ns is not None:
        line.append(f"act {format_ns(progress.current_ns)}  ")
        line.append(f"max {format_ns(progress.worst_ns)}  ", style="bold")
    line.append(f"over {progress.overruns}")
    line.append(_loads(progress.rates, wanted), style="dim")
    return line


def _loads(rates: Mapping[str, float], wanted: int) -> str:
    """All loads together against what was asked of them, then each, as far as there is room."""
    own = {name: rate for name, rate in rates.items() if "(peer)" not in name}
    if not own:
        return ""
    asked = sum(rate for name, rate in own.items() if not name.startswith("udp-recv"))
    each = " ".join(f"{name} {rate:.0f}" for name, rate in own.items())
    return f"  loads {asked:.0f}{f'/{wanted}' if wanted else ''} per s: {each}"
