"""What each mitigation brings, as ratios with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from vmjitter.report.html.svg import BOTTOM, TOP, WIDTH, Picture, Scale, plain_number, ticks
from vmjitter.stats.factorial import Ratio

_NAMES: Final = 210
_ROW: Final = 24
_LEAST: Final = 0.01


def contributions_chart(rows: Sequence[tuple[str, Ratio]]) -> Markup:
    """Draw one line per ratio; a dashed line stands where nothing changes."""
    picture = Picture(height=TOP + _ROW * len(rows) + BOTTOM)
    ends = [end for _, one in rows for end in (one.estimate, one.low or 1, one.high or 1)]
    # With two rounds an interval can span six decades; what lies beyond two is beside the point.
    low = max(min([*ends, 0.8]) / 1.15, _LEAST)
    high = min(max([*ends, 1.25]) * 1.15, 1 / _LEAST)
    scale = Scale(low=low, high=high, start=_NAMES, end=WIDTH - 16, log=True)
    picture.axis_x(
        scale,
        [(value, plain_number(value)) for value in ticks(scale)],
        "factor on the worst latency; below 1 is better",
    )
    picture.line((scale.at(1.0), TOP), (scale.at(1.0), picture.floor), "limit")
    for place, (name, one) in enumerate(rows):
        y = TOP + _ROW * (place + 0.5)
        picture.text((_NAMES - 8, y + 3.5), name, "tick end")
        if one.low is not None and one.high is not None:
            picture.line((scale.at(one.low), y), (scale.at(one.high), y), "curve c0")
        picture.dot((scale.at(one.estimate), y), "dot c0" if one.shown else "hollow c0")
    return picture.render("; ".join(f"{name}: {one.estimate:.2g}" for name, one in rows))
