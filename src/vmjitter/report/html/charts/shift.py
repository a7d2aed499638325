"""What became of each quantile from before to after."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from markupsafe import Markup

from vmjitter.report.html.svg import LEFT, RIGHT, WIDTH, Picture, log_time_labels, upwards
from vmjitter.report.html.view import TrialView, exact
from vmjitter.stats.histogram import Histogram
from vmjitter.stats.summary import supported

SHARES: Final = {
    "p50": Fraction(1, 2),
    "p90": Fraction(9, 10),
    "p99": Fraction(99, 100),
    "p99.9": Fraction(999, 1000),
    "p99.99": Fraction(9999, 10_000),
    "p99.999": Fraction(99_999, 100_000),
}


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One quantile before and after."""

    label: str
    before_ns: int
    after_ns: int


def shifts(before: TrialView, after: TrialView) -> tuple[Shift, ...]:
    """The quantiles that both trials support, and the maximum."""
    found = []
    for label, share in SHARES.items():
        values = [_value(trial.digest.histogram, share) for trial in (before, after)]
        if values[0] is not None and values[1] is not None:
            found.append(Shift(label=label, before_ns=values[0], after_ns=values[1]))
    worst = (before.result.summary.max_ns, after.result.summary.max_ns)
    if worst[0] is not None and worst[1] is not None:
        found.append(Shift(label="max", before_ns=worst[0], after_ns=worst[1]))
    return tuple(found)


def shift_chart(before: TrialView, after: TrialView) -> Markup:
    """Draw both values of each quantile, joined by an arrow from before to after."""
    found = shifts(before, after)
    picture = Picture()
    values = [value for one in found for value in (one.before_ns, one.after_ns)]
    y = upwards(max(100, min(values, default=1)) * 0.7, max([*values, 1000]) * 1.5, log=True)
    picture.axis_y(y, log_time_labels(y), "latency, logarithmic")
    picture.line((LEFT, picture.floor), (WIDTH - RIGHT, picture.floor), "axis")
    step = (WIDTH - LEFT - RIGHT) / max(1, len(found))
    for place, one in enumerate(found):
        x = LEFT + step * (place + 0.5)
        picture.text((x, picture.floor + 16), one.label, "tick mid")
        old, new = y.at(one.before_ns), y.at(one.after_ns)
        picture.line((x, old), (x, new), "joint")
        picture.dot((x, old), f"hollow {before.look}", 4.5)
        picture.dot((x, new), f"dot {after.look}", 4.5)
        if new != old:
            picture.path(_head(x, old, new), "arrow")
    picture.text(((LEFT + WIDTH - RIGHT) / 2, picture.height - 6), "quantile", "title mid")
    return picture.render(_words(before, after, found))


def _head(x: float, old: float, new: float) -> str:
    """A small arrow head in the middle of the joint."""
    if abs(new - old) < 16:
        return ""
    middle, turn = (old + new) / 2, 5 if new > old else -5
    return f"M{x - 4:.1f} {middle - turn:.1f}L{x:.1f} {middle:.1f}L{x + 4:.1f} {middle - turn:.1f}"


def _value(histogram: Histogram, share: Fraction) -> int | None:
    if not supported(share, histogram.total):
        return None
    found = histogram.quantile(share)
    return None if found is None or found.at_least else found.value_ns


def _words(before: TrialView, after: TrialView, found: tuple[Shift, ...]) -> str:
    parts = [f"{one.label}: {exact(one.before_ns)} to {exact(one.after_ns)}" for one in found]
    return f"Quantiles from {before.name} to {after.name}. " + "; ".join(parts)
