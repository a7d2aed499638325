"""Before and after: is one group of trials different from another, in what, and by how much?

The trial is the unit.  A quarter of a million wake-ups of one boot share its memory layout, its
placement and its day; they are one observation of what this configuration does, not a quarter
million.  So every trial is reduced to a few figures, and those are compared between the groups
by the exact rank test of `vmjitter.stats.permutation`.

What is tested was fixed before any data.  First the primary figure: the worst latency of a trial,
or another that the user named; its p-value stands as it is.  Then three more, out of p99, p99.9,
the maximum and the misses; their p-values are adjusted for each other, because whoever looks at
several figures finds one of them changed by chance too easily.  All p-values are two-sided, so
where there is no difference, at a confidence of 95 % at most 2.5 in 100 comparisons call the
primary figure worse, as many call one of the others worse, so at most 5 in 100 call anything
worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Final

from scipy import stats

from vmjitter.model.judge import Lack, Target
from vmjitter.stats.digest import Digest
from vmjitter.stats.episodes import episodes
from vmjitter.stats.permutation import (
    Design,
    Shift,
    adjusted,
    blocked,
    difference,
    pairs_of,
    pooled,
    rank_test,
    ratio,
    reaches,
    smallest_p,
    trials_needed,
)
from vmjitter.stats.summary import supported
from vmjitter.stats.survival import Curves, curves

MIN_TRIALS: Final = 4
"""With fewer in a group nothing is said to be shown, whatever the confidence."""

_NS_PER_HOUR: Final = 3_600_000_000_000


class Metric(StrEnum):
    """A figure of a trial, by the name under which it is shown."""

    P50 = "p50"
    P90 = "p90"
    P99 = "p99"
    P999 = "p99.9"
    P9999 = "p99.99"
    MAX = "max"
    MISSES = "misses"
    EPISODES = "miss episodes"

    @property
    def is_time(self) -> bool:
        """Whether it is a latency in ns; else it is a number per hour."""
        return self not in (Metric.MISSES, Metric.EPISODES)


SHARES: Final = {
    Metric.P50: Fraction(1, 2),
    Metric.P90: Fraction(9, 10),
    Metric.P99: Fraction(99, 100),
    Metric.P999: Fraction(999, 1000),
    Metric.P9999: Fraction(9999, 10_000),
}
PRIMARY: Final = Metric.MAX
"""The figure that decides first, unless another is named."""

TESTED: Final = (Metric.P99, Metric.P999, Metric.MAX, Metric.MISSES)
"""Figures that decide, together with the primary one.

The others are shown with their intervals; to test them, too, would make these weaker, and the
centre of the distribution is not what a deadline is about.
"""


class Change(StrEnum):
    """What a figure did, as far as the trials show it."""

    BETTER = "better"
    WORSE = "worse"
    NOT_SHOWN = "no difference shown"
    NOT_TESTED = "not tested"
    TOO_FEW = "too few trials"


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """One trial to be compared.

    Attributes:
        digest: made with the target's deadline.
        lacks: what its source cannot tell.
        block: number of the block in which it was measured, the same for trials that were
            interleaved with each other; None if it was not.
    """

    digest: Digest
    lacks: frozenset[Lack] = frozenset()
    block: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrialFigures:
    """What one trial is reduced to.

    Attributes:
        hours: that its activations cover; 0 if the period is not known.
        misses: of the deadline, late wake-ups and overruns; None without a deadline, or if the
            source does not tell all of them.
        episodes: runs of misses; None as above, or if the order is not known.
        values: one per `Metric`, in its order; times in ns.
    """

    wake_ups: int
    overruns: int
    hours: float
    misses: int | None
    episodes: int | None
    values: tuple[float | None, ...]

    def value(self, metric: Metric) -> float | None:
        """A figure, or None if it does not exist or too few wake-ups support it."""
        return self.values[list(Metric).index(metric)]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure in all trials of both groups.

    Attributes:
        before: a value per trial; likewise ``after``.  Empty if ``lacking``.
        difference: after minus before, in the figure's unit; None if ``lacking``.
        ratio: after by before; None where a value is not above zero.
        p_value: of the rank test, for itself; None if the figure is not tested.
        adjusted: the p-value that counts: as it is for the primary figure, adjusted for each
            other for the rest.
        lacking: why there is nothing to compare, or empty.
    """

    metric: Metric
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    difference: Shift | None = None
    ratio: Shift | None = None
    p_value: float | None = None
    adjusted: float | None = None
    change: Change = Change.NOT_TESTED
    lacking: str = ""


@dataclass(frozen=True, kw_only=True)
class CountTest:
    """All misses of the one group against all of the other, as if each came by itself.

    Attributes:
        what: what was counted.
        p_value: two-sided, of the exact conditional test of two Poisson rates.
        clustered: within a group, trials differ by more than such misses would: the p-value is
            too small then, and the trials decide.
    """

    what: Metric
    before: int
    after: int
    hours_before: float
    hours_after: float
    p_value: float
    clustered: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two groups of trials, compared.

    Attributes:
        before: one per trial, in their order; likewise ``after``.
        rows: one per figure, quantiles first.
        primary: the figure that decides first; it may be lacking.
        blocks: of trials that were exchanged with each other only; 1 if all were.
        counts: None without a deadline or a period.
        curves: None if a group is empty or a trial has no wake-up.
        confidence_percent: of every interval.
        smallest_p: that these groups can give.
        trials_needed: in each group, for a difference of one figure that can be shown.
    """

    before: tuple[TrialFigures, ...]
    after: tuple[TrialFigures, ...]
    rows: tuple[Row, ...]
    primary: Metric
    blocks: int
    counts: CountTest | None
    curves: Curves | None
    confidence_percent: float
    smallest_p: float
    trials_needed: int

    def row(self, metric: Metric) -> Row | None:
        """The row of a figure, or None."""
        return next((row for row in self.rows if row.metric is metric), None)

    @property
    def significance(self) -> float:
        """The level at which a difference counts as shown."""
        return significance_of(self.confidence_percent)

    @property
    def too_few(self) -> bool:
        """Whether these groups could not show a difference, however large."""
        fewest = min(len(self.before), len(self.after))
        return fewest < MIN_TRIALS or not reaches(self.smallest_p, self.significance)

    @property
    def decisive(self) -> tuple[Row, ...]:
        """The rows that decide: every figure that was tested."""
        return tuple(row for row in self.rows if row.adjusted is not None)

    def changed(self, change: Change) -> tuple[Metric, ...]:
        """The figures that are shown to be better, or worse."""
        return tuple(row.metric for row in self.decisive if row.change is change)

    @property
    def change(self) -> Change:
        """The whole: worse if a figure that decides is; else better if one is."""
        if self.too_few or not self.decisive:
            return Change.TOO_FEW
        for change in (Change.WORSE, Change.BETTER):
            if self.changed(change):
                return change
        return Change.NOT_SHOWN


def significance_of(confidence_percent: float) -> float:
    """The level that belongs to a confidence, e.g. 0.05 to 95.0; exact for decimal numbers."""
    return float(1 - Fraction(str(confidence_percent)) / 100)


def compare(
    before: Sequence[Measured],
    after: Sequence[Measured],
    target: Target,
    *,
    primary: Metric = PRIMARY,
) -> Comparison:
    """Compare two groups of trials.

    Args:
        before: the trials before; none is possible, but compares nothing.  Likewise ``after``.
        target: its deadline gives the misses, its confidence the level of all tests.
        primary: the figure that decides first, named before the data were seen.
    """
    significance = significance_of(target.confidence_percent)
    figures_before = tuple(figures_of(trial, target) for trial in before)
    figures_after = tuple(figures_of(trial, target) for trial in after)
    metrics = [m for m in Metric if m.is_time or target.deadline_ns is not None]
    family = [metric for metric in metrics if metric in TESTED and metric is not primary]
    design = design_of(before, after, significance, figures=len(family))
    rows = [_row(metric, figures_before, figures_after, design, significance) for metric in metrics]
    return Comparison(
        before=figures_before,
        after=figures_after,
        rows=_tested(rows, ([primary], family), design, significance),
        primary=primary,
        blocks=len(design),
        counts=_count_test(figures_before, figures_after) if design else None,
        curves=curves(
            [trial.digest.histogram for trial in before],
            [trial.digest.histogram for trial in after],
            design,
            significance=significance,
        ),
        confidence_percent=target.confidence_percent,
        smallest_p=smallest_p(design),
        trials_needed=max(MIN_TRIALS, trials_needed(significance)),
    )


def design_of(
    before: Sequence[Measured], after: Sequence[Measured], significance: float, *, figures: int = 1
) -> Design:
    """How the trials may be exchanged; decided by their number alone, never by what they measured.

    Within their blocks, if every trial has one and these blocks are enough to show a difference in
    any one of ``figures``; at 95 % and three figures that is so from 6 trials of each on, measured
    ABBA ABBA ABBA.  Else freely: a slow drift then falls on both groups alike, as ABBA has it, and
    makes the test less sensitive, but not wrong.
    """
    numbers = [
        [trial.block for trial in group if trial.block is not None] for group in (before, after)
    ]
    if [len(group) for group in numbers] == [len(before), len(after)]:
        design = blocked(*numbers)
        if reaches(smallest_p(design) * figures, significance):
            return design
    return pooled(len(before), len(after))


def figures_of(trial: Measured, target: Target) -> TrialFigures:
    """Reduce a trial to its figures."""
    digest, lacks = trial.digest, trial.lacks
    hours = 0.0 if Lack.PERIOD in lacks else digest.duration_ns / _NS_PER_HOUR
    misses = None
    if target.deadline_ns is not None and not lacks & {Lack.OVERRUNS, Lack.OVERFLOW}:
        misses = digest.histogram.late(target.deadline_ns).surely + _overruns(digest)
    runs = len(episodes(digest)) if misses is not None and digest.ordered else None
    rates = [None if n is None or not hours else n / hours for n in (misses, runs)]
    times = [
        None if Lack.OVERFLOW in lacks else _quantile(digest, share) for share in SHARES.values()
    ]
    return TrialFigures(
        wake_ups=digest.histogram.total,
        overruns=_overruns(digest),
        hours=hours,
        misses=misses,
        episodes=runs,
        values=(*times, None if Lack.EXTREMES in lacks else digest.histogram.max_ns, *rates),
    )


def _overruns(digest: Digest) -> int:
    """Missed activations; of a histogram alone their number is known, too."""
    return digest.activations - digest.histogram.total


def _quantile(digest: Digest, share: Fraction) -> int | None:
    if not supported(share, digest.histogram.total):
        return None
    found = digest.histogram.quantile(share)
    return None if found is None or found.at_least else found.value_ns


def _row(
    metric: Metric,
    before: Sequence[TrialFigures],
    after: Sequence[TrialFigures],
    design: Design,
    significance: float,
) -> Row:
    values = [[figures.value(metric) for figures in group] for group in (before, after)]
    early = tuple(value for value in values[0] if value is not None)
    late = tuple(value for value in values[1] if value is not None)
    without = [one for one in (*before, *after) if one.value(metric) is None]
    if without or not design:
        return Row(metric=metric, lacking=_why_missing(metric, without))
    return Row(
        metric=metric,
        before=early,
        after=late,
        difference=difference(early, late, design, significance),
        ratio=ratio(early, late, design, significance),
    )


def _why_missing(metric: Metric, without: Sequence[TrialFigures]) -> str:
    if not without:
        return "no trial to compare with"
    if metric is Metric.MAX:
        return f"{_trials(len(without))} without a known maximum"
    if metric not in SHARES:
        many = _trials(len(without))
        return f"{many} without a known period, order or number of missed activations"
    share = SHARES[metric]
    short = sum(not supported(share, one.wake_ups) for one in without)
    needed = -(-3 // (1 - share)) if share > Fraction(1, 2) else 1
    reasons = {
        f"with fewer than {needed} wake-ups": short,
        "with this quantile beyond what the bins tell": len(without) - short,
    }
    return ", ".join(f"{_trials(many)} {why}" for why, many in reasons.items() if many)


def _trials(many: int) -> str:
    return "1 trial" if many == 1 else f"{many} trials"


def _tested(
    rows: Iterable[Row], families: Iterable[Sequence[Metric]], design: Design, significance: float
) -> tuple[Row, ...]:
    """Test the figures that decide, each family for itself; say which of them changed."""
    rows = list(rows)
    for family in families:
        places = [k for k, row in enumerate(rows) if row.metric in family and not row.lacking]
        together = adjusted([(rows[k].before, rows[k].after) for k in places], design)
        for place, p_value in zip(places, together, strict=True):
            rows[place] = _decided(rows[place], p_value, design, significance)
    return tuple(rows)


def _decided(row: Row, p_value: float, design: Design, significance: float) -> Row:
    few = min(len(row.before), len(row.after)) < MIN_TRIALS
    shown = not few and reaches(p_value, significance)
    return replace(
        row,
        p_value=rank_test(row.before, row.after, design),
        adjusted=p_value,
        change=_direction(row, design) if shown else Change.NOT_SHOWN,
    )


def _direction(row: Row, design: Design) -> Change:
    """By the pairs in which the value after is higher, against those in which it is lower."""
    signs = (
        (row.after[late] > row.before[early]) - (row.after[late] < row.before[early])
        for early, late in pairs_of(design)
    )
    return Change.BETTER if sum(signs) < 0 else Change.WORSE


def _count_test(before: Sequence[TrialFigures], after: Sequence[TrialFigures]) -> CountTest | None:
    """Episodes where they are known everywhere, else misses.

    The test of J. Przyborowski and H. Wilenski ("Homogeneity of results in testing samples from
    Poisson series", 1940): given their sum, the counts are binomial if the rates are equal.
    """
    everyone = (*before, *after)
    what, count = Metric.EPISODES, _episodes_of
    if any(figures.episodes is None for figures in everyone):
        what, count = Metric.MISSES, _misses_of
    if any(figures.misses is None or not figures.hours for figures in everyone):
        return None
    hours = [sum(figures.hours for figures in group) for group in (before, after)]
    counts = [sum(map(count, group)) for group in (before, after)]
    p_value = 1.0
    if sum(counts):
        p_value = float(stats.binomtest(counts[0], sum(counts), hours[0] / sum(hours)).pvalue)
    return CountTest(
        what=what,
        before=counts[0],
        after=counts[1],
        hours_before=hours[0],
        hours_after=hours[1],
        p_value=p_value,
        clustered=_clustered(before, after, count),
    )


def _misses_of(figures: TrialFigures) -> int:
    return figures.misses or 0


def _episodes_of(figures: TrialFigures) -> int:
    return figures.episodes or 0


def _clustered(
    before: Sequence[TrialFigures],
    after: Sequence[TrialFigures],
    count: Callable[[TrialFigures], int],
) -> bool:
    """Whether counts scatter within the groups more than those of a Poisson process (5 %).

    The index of dispersion (R. A. Fisher, "Statistical methods for research workers", section 16).
    """
    dispersion, freedom = 0.0, 0
    for group in (before, after):
        total, hours = sum(map(count, group)), sum(figures.hours for figures in group)
        if not total:
            continue
        expected = [total * figures.hours / hours for figures in group]
        dispersion += sum(
            (count(figures) - mean) ** 2 / mean
            for figures, mean in zip(group, expected, strict=True)
        )
        freedom += len(group) - 1
    return bool(freedom and stats.chi2.sf(dispersion, freedom) < 0.05)
