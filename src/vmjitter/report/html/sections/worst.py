"""The worst wake-ups of each trial: when they were, and what the loads did then."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vmjitter.report.html.blocks import (
    Block,
    Fold,
    Row,
    Section,
    Table,
    number,
    paragraphs,
    row,
    table,
)
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.view import PageView, TrialView, exact, grouped
from vmjitter.units import NS_PER_S

Int64s = NDArray[np.int64]

WORST: Final = 20
_SLOW: Final = 0.8
"""Below this share of its median rate, a load's second is named."""


def section(view: PageView) -> Section | None:
    """A table per trial."""
    trials = view.ordered
    if not trials:
        return None
    intro = paragraphs(
        "Times count from the first activation. A load is named where it did less than 80 % of its "
        "usual operations in that second; a stall of the guest slows its loads, too, so that this "
        "is a trace of the event, not its cause."
    )
    blocks: list[Block] = [intro]
    latest = max(trials, key=lambda one: one.result.summary.max_ns or 0)
    blocks += [
        Fold(title=f"Worst {WORST} of {one.name}", blocks=(_table(one),), unfolded=one is latest)
        for one in trials
    ]
    return Section(anchor="worst", title=f"The worst {WORST}", blocks=tuple(blocks))


def _table(trial: TrialView) -> Table:
    digest = trial.digest
    order = np.lexsort((digest.peak_index, -digest.peak_ns))[:WORST]
    rows = [
        _row(trial, rank, int(digest.peak_index[place]), int(digest.peak_ns[place]))
        for rank, place in enumerate(order, 1)
    ]
    return table(
        f"The latest wake-ups of {trial.name}",
        (
            "rank",
            "activation",
            "planned at",
            "latency",
            "exactly",
            "missed after it",
            "loads in that second",
        ),
        rows,
    )


def _row(trial: TrialView, rank: int, index: int, latency_ns: int) -> Row:
    digest = trial.digest
    return row(
        number(str(rank)),
        number(grouped(index)),
        number(f"{index * digest.period_ns / NS_PER_S:.6f}\N{NO-BREAK SPACE}s"),
        number(exact(latency_ns)),
        number(f"{grouped(latency_ns)}\N{NO-BREAK SPACE}ns"),
        number(grouped(_missed_after(trial, index))),
        words(load_state(trial, index)),
    )


def _missed_after(trial: TrialView, index: int) -> int:
    """Missed activations that follow without a wake-up between."""
    missed = trial.digest.missed_index
    place = int(np.searchsorted(missed, index + 1))
    run = missed[place:] - np.arange(len(missed) - place)
    return int(np.searchsorted(run, index + 1, side="right"))


def load_state(trial: TrialView, index: int) -> str:
    """What the loads did in the second in which an activation was planned."""
    planned_ns = index * trial.digest.period_ns
    known, slow = 0, []
    for load in trial.result.trial.loads:
        whole = load.ops[:-1]  # the last second was under way when the probe ended
        rate = _rate(whole, trial.load_begins_ns(load)[:-1], planned_ns)
        if rate is None:
            continue
        known += 1
        usual = float(np.median(whole))
        if rate < _SLOW * usual:
            slow.append(f"{load.name} ({load.side}) {rate} instead of {usual:.0f}")
    if slow:
        return "; ".join(slow)
    return f"all {known} as usual" if known else ""


def _rate(ops: Int64s, begins_ns: Int64s, at_ns: int) -> int | None:
    """Operations in the second that holds a time."""
    place = int(np.searchsorted(begins_ns, at_ns, side="right")) - 1
    if place < 0 or at_ns >= int(begins_ns[place]) + NS_PER_S:
        return None
    return int(ops[place])
