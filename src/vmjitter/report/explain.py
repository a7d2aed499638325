"""Why each late wake-up of a run was late, as records: the source of text, JSON, page and timeline.

Pure but for reading the trace files; the same run gives the same records every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmjitter.errors import UsageError
from vmjitter.report.explain_next import Next, next_step
from vmjitter.report.explain_read import read_material, trial_clock
from vmjitter.stats.histogram import MISSED
from vmjitter.store.reader import Run, Trial
from vmjitter.trace.attribute import Attribution, Unseen, attribute, visible
from vmjitter.trace.causality import Alignment, check
from vmjitter.trace.clock import ClockMap
from vmjitter.trace.intervals import Interval, union
from vmjitter.trace.lanes import Lane, lanes
from vmjitter.trace.lift import CauseRow, table
from vmjitter.trace.meta import TraceMeta
from vmjitter.trace.rules import UNEXPLAINED, rule_of
from vmjitter.trace.scene import Scene, build_scene
from vmjitter.trace.window import Window
from vmjitter.units import NS_PER_MS, format_ns

Int64s = NDArray[np.int64]

MOST_SPIKES: Final = 1000
"""So many of the latest are explained unless more are asked for."""

CONTROLS: Final = 400
AROUND_NS: Final = 5 * NS_PER_MS
BEFORE_NS: Final = 20 * NS_PER_MS
"""What a thread did at the planned time is known from its event before: so far back is looked."""

AFTER_NS: Final = 6 * NS_PER_MS

RUNGS: Final = {
    1: "tracefs and debugfs",
    2: "tracefs",
    3: "QEMU's trace and /proc",
    4: "the guest alone",
}
BLIND: Final = {
    1: "a hypervisor below the host",
    2: "a hypervisor below the host, and windows shorter than the bound of the clocks",
    3: "exit reasons, who preempted, and whether a timer or the CPU's sleep was late",
    4: "anything on the host: only that the host did it",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is to be explained.

    Attributes:
        scenario: only this one; None for all.
        threshold_ns: a later wake-up is explained; None: the deadline, or clearly late ones.
        top: at most so many of each trial, the latest.
    """

    scenario: str | None = None
    threshold_ns: int | None = None
    top: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialExplanation:
    """One trial, explained.

    Attributes:
        number: of its first spike in the run, from 1; its others follow.
        threshold_ns: wake-ups later than this count as late; ``why``: where it comes from.
        late: how many there are; ``spikes`` holds the latest of them, the latest first.
        controls: ordinary wake-ups, explained in the same way.
        rows: all causes over the spikes.
        unseen: causes that cannot be seen in this trial.
        next: what to try, or None if nothing was explained.
        notes: what could not be read, and what was strange.
        hints: what the trial's own counters say; the only thing there is without a trace.
    """

    trial: Trial
    scene: Scene
    number: int
    threshold_ns: int
    why: str
    late: int
    spikes: tuple[Attribution, ...]
    controls: tuple[Attribution, ...]
    rows: tuple[CauseRow, ...]
    alignment: Alignment
    unseen: tuple[Unseen, ...]
    next: Next | None
    notes: tuple[str, ...]
    hints: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the trial: the scenario, and the round if it is measured several times."""
        status = self.trial.status
        return f"{status.scenario} #{status.round}" if status.round else status.scenario

    @property
    def meta(self) -> TraceMeta:
        """What was recorded."""
        return self.scene.meta

    @property
    def traced(self) -> bool:
        """Whether there is anything to explain from."""
        return self.scene.recorded or bool(self.scene.counters.looks)


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """A run, explained; trials in the order in which they were measured."""

    run: Run
    trials: tuple[TrialExplanation, ...]

    def spike(self, number: int) -> tuple[TrialExplanation, Attribution]:
        """A spike by its number, from 1.

        Raises:
            UsageError: there is no such spike.
        """
        for trial in self.trials:
            place = number - trial.number
            if 0 <= place < len(trial.spikes):
                return trial, trial.spikes[place]
        count = sum(len(trial.spikes) for trial in self.trials)
        raise UsageError(
            f"there is no late wake-up number {number}: {count} were explained",
            hint="lower --threshold to see more" if not count else f"give 1 to {count}",
        )


def explain_run(run: Run, options: Options) -> Explanation:
    """Explain the late wake-ups of a run.

    Raises:
        UsageError: the run has no such scenario.
        DataError: the head of a trace is damaged or of a newer format.
    """
    chosen = [trial for trial in run.trials if options.scenario in (None, trial.status.scenario)]
    if options.scenario is not None and not chosen:
        names = ", ".join(dict.fromkeys(trial.status.scenario for trial in run.trials))
        raise UsageError(
            f"{run.path} has no scenario {options.scenario!r}", hint=f"it has: {names or 'none'}"
        )
    trials: list[TrialExplanation] = []
    number = 1
    for trial in chosen:
        trials.append(_explain_trial(run, trial, options, number))
        number += len(trials[-1].spikes)
    return Explanation(run=run, trials=tuple(trials))


def _explain_trial(run: Run, trial: Trial, options: Options, number: int) -> TrialExplanation:
    notes = list(trial.notes)
    threshold_ns, why = _threshold(run, trial, options)
    clock = trial_clock(trial.status)
    latest, late = _latest(trial, threshold_ns, options.top or MOST_SPIKES)
    late_ones = _windows(trial, clock, latest)
    ordinary = _windows(trial, clock, _ordinary(trial, threshold_ns))
    scene = build_scene(read_material(trial, _surroundings([*late_ones, *ordinary]), notes))
    alignment = check(scene, [window.end for window in (*late_ones, *ordinary)] if clock else [])
    aligned = alignment.holds and clock is not None
    rules, unseen = visible(scene.names, host=aligned)
    spikes = tuple(attribute(scene, window, rules, host=aligned) for window in late_ones)
    controls = tuple(
        attribute(scene, window, rules, host=aligned)
        for window in ordinary
        if not scene.watched.items or _covered(scene, window)
    )
    rows = table(spikes, controls)
    return TrialExplanation(
        trial=trial,
        scene=scene,
        number=number,
        threshold_ns=threshold_ns,
        why=why,
        late=late,
        spikes=spikes,
        controls=controls,
        rows=rows,
        alignment=alignment,
        unseen=unseen,
        next=next_step(run, trial, rows, traced=scene.recorded),
        notes=(*notes, *scene.notes, *scene.meta.notes, *_lost(scene.meta)),
        hints=_hints(trial),
    )


def _threshold(run: Run, trial: Trial, options: Options) -> tuple[int, str]:
    if options.threshold_ns is not None:
        return options.threshold_ns, "as given"
    if run.info.deadline_ns is not None:
        return run.info.deadline_ns, "the deadline"
    latency = _recorded(trial)
    median = int(np.sort(latency)[len(latency) // 2]) if len(latency) else 0
    return max(4 * median, median + 50_000), "four times the median, at least 50 µs above it"


def _recorded(trial: Trial) -> Int64s:
    latency = trial.latency_ns
    awake: Int64s = latency[latency != MISSED]
    return awake


def _latest(trial: Trial, threshold_ns: int, most: int) -> tuple[list[int], int]:
    """Activations of the latest wake-ups, the latest first; and how many are late at all."""
    latency = trial.latency_ns
    late = np.flatnonzero(latency > max(threshold_ns, 0))
    order = np.lexsort((late, -latency[late]))
    return [int(place) for place in late[order][:most]], len(late)


def _ordinary(trial: Trial, threshold_ns: int) -> list[int]:
    """Activations of ordinary wake-ups, evenly over the trial."""
    latency = trial.latency_ns
    places = np.flatnonzero((latency > 0) & (latency <= threshold_ns))
    return [int(places[at]) for at in _evenly(len(places), CONTROLS)]


def _evenly(count: int, most: int) -> list[int]:
    step = max(1, count // most)
    return list(range(step // 2, count, step))[:most]


def _windows(trial: Trial, clock: ClockMap | None, places: Sequence[int]) -> list[Window]:
    latency = trial.latency_ns
    t0_ns, period_ns = trial.samples.t0_ns, trial.period_ns
    host = clock.to_host if clock is not None else lambda time_ns: time_ns
    found: list[Window] = []
    for place in places:
        planned = t0_ns + place * period_ns
        before = int(latency[place - 1]) if place else MISSED
        ended = host(planned - period_ns + before) if before != MISSED else 0
        found.append(Window(place, host(planned), int(latency[place]), ended))
    return found


def _surroundings(windows: Sequence[Window]) -> list[Interval]:
    """What of the trace is needed: a long one is not held in memory as a whole."""
    return union((window.start - BEFORE_NS, window.end + AFTER_NS) for window in windows)


def _covered(scene: Scene, window: Window) -> bool:
    return next(scene.watched.within(window.interval), None) is not None


def _lost(meta: TraceMeta) -> list[str]:
    return [f"{source}: {count} events were lost" for source, count in meta.lost.items() if count]


def _hints(trial: Trial) -> tuple[str, ...]:
    """What the probe's own counters say (getrusage, from before to after its loop)."""
    proof = trial.status.probe
    if proof is None:
        return ()
    counts = (
        (proof.nivcsw, "times the probe was taken off its CPU by another task of the same kernel"),
        (proof.majflt, "times a page of the probe had to come from a disk"),
        (trial.digest.overruns, "activations passed while the wake-up before was still late"),
    )
    return tuple(f"{count} {text}" for count, text in counts if count)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """One late wake-up for a page: a sentence, and lanes to draw.

    Attributes:
        start: where the timeline begins, ``end``: where it ends, on the host's clock in ns.
        planned: when the wake-up was due, ``actual``: when it came.
    """

    number: int
    title: str
    start: int
    end: int
    planned: int
    actual: int
    causes: tuple[tuple[str, int], ...]
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """What a page shows of one trial: head, table of causes, and the worst ones.

    Attributes:
        head: sentences on threshold, rung, alignment, and what cannot be seen.
        rows: as in `TrialExplanation`.
        titles: of the causes, for people.
        next: what to try, as a command; empty if there is nothing.
    """

    scenario: str
    head: tuple[str, ...]
    rows: tuple[CauseRow, ...]
    titles: dict[str, str]
    timelines: tuple[Timeline, ...]
    next: str


def explain_section(explanation: Explanation, *, worst: int = 3) -> tuple[Section, ...]:
    """One section per trial that has late wake-ups, for whoever renders a page.

    Args:
        explanation: the run.
        worst: timelines per trial.
    """
    return tuple(_section(trial, worst) for trial in explanation.trials if trial.spikes)


def _section(trial: TrialExplanation, worst: int) -> Section:
    return Section(
        scenario=trial.name,
        head=head_lines(trial),
        rows=trial.rows,
        titles={row.cause: title_of(row.cause) for row in trial.rows},
        timelines=tuple(timeline(trial, place) for place in range(min(worst, len(trial.spikes)))),
        next=trial.next.command if trial.next is not None else "",
    )


def timeline(trial: TrialExplanation, place: int) -> Timeline:
    """The surroundings of a spike, by its place in the trial.

    A fifth of its length on each side, at most `AROUND_NS`.
    """
    one = trial.spikes[place]
    margin = min(one.window.latency_ns // 5 + 20_000, AROUND_NS)
    start, end = one.window.start - margin, one.window.end + margin
    return Timeline(
        number=trial.number + place,
        title=f"wake-up {one.window.activation}, {format_ns(one.window.latency_ns)} late: "
        f"{title_of(one.main.cause)}",
        start=start,
        end=end,
        planned=one.window.start,
        actual=one.window.end,
        causes=tuple((share.cause, share.ns) for share in one.shares),
        lanes=lanes(trial.scene, one, (start, end)),
    )


def title_of(cause: str) -> str:
    """A cause for people."""
    rule = rule_of(cause)
    return rule.title if rule is not None else UNEXPLAINED


def side_of(cause: str) -> str:
    """Where a cause sits; empty for what is unexplained."""
    rule = rule_of(cause)
    return str(rule.side) if rule is not None else ""


def head_lines(trial: TrialExplanation) -> tuple[str, ...]:
    """How the trial's explanation came about."""
    lines = [
        f"{trial.late} wake-ups later than {format_ns(trial.threshold_ns)} ({trial.why})"
        + (f"; the latest {len(trial.spikes)} explained" if trial.late > len(trial.spikes) else "")
    ]
    if not trial.traced:
        return tuple(lines)
    rung = trial.meta.rung
    lines.append(f"From {RUNGS.get(rung, 'an unknown source')}; this cannot see {BLIND.get(rung)}.")
    if trial.meta.why:
        lines.append(f"Why not more: {trial.meta.why}")
    lines.append(f"Clocks: {trial.alignment.text}")
    if not trial.alignment.holds:
        lines.append(
            "Guest and host are not aligned: nothing on the host is blamed for anything here."
        )
    return tuple(lines)


def trial_file_name(path: Path, trial: TrialExplanation, *, several: bool) -> Path:
    """Where the timeline of a trial belongs: the given file, or one per trial beside it."""
    if not several:
        return path
    return path.with_name(f"{path.stem}-{trial.trial.path.name}{path.suffix}")
