"""What happened around one late wake-up: a lane per processor, thread and source."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from vmjitter.report.explain import Timeline
from vmjitter.report.html.svg import BOTTOM, TOP, WIDTH, Picture, Scale, linear_labels
from vmjitter.trace.lanes import Bar
from vmjitter.units import NS_PER_US, format_ns

_NAMES: Final = 150
_NAME_LETTERS: Final = 23
_LABELS: Final = 14
"""Room above the lanes for the names of the two dashed lines."""

_ASLEEP: Final = "halted"
_ROW: Final = 22
_NARROW: Final = 1.0
_LETTER: Final = 5.2
_COLOURS: Final = 8


def timeline_chart(one: Timeline) -> Markup:
    """Draw the lanes; dashed lines stand at the planned and the actual wake-up."""
    picture = Picture(height=TOP + _LABELS + _ROW * len(one.lanes) + BOTTOM)
    begin, end = (one.start - one.planned) / NS_PER_US, (one.end - one.planned) / NS_PER_US
    scale = Scale(low=begin, high=end, start=_NAMES, end=WIDTH - 14)
    colours = _colours(one)
    for place, lane in enumerate(one.lanes):
        top = TOP + _LABELS + _ROW * place
        picture.text((_NAMES - 8, top + 14), _short(lane.name), "tick end")
        for bar in lane.bars:
            _draw(picture, scale, bar, one.planned, (top + 3, colours[bar.label]))
    picture.axis_x(scale, linear_labels(scale), "µs after the planned wake-up")
    picture.limit_x(scale, 0.0, "planned")
    picture.limit_x(scale, (one.actual - one.planned) / NS_PER_US, "actual")
    return picture.render(f"{one.title}: {_words(one)}")


def _draw(picture: Picture, scale: Scale, bar: Bar, zero_ns: int, look: tuple[float, str]) -> None:
    top, colour = look
    left = scale.at((bar.start - zero_ns) / NS_PER_US)
    right = max(scale.at((bar.end - zero_ns) / NS_PER_US), left + _NARROW)
    height = _ROW - 8
    picture.path(f"M{left:.1f} {top:.1f}H{right:.1f}V{top + height:.1f}H{left:.1f}Z", colour)
    if right - left > _LETTER * len(bar.label) + 6:
        picture.text(((left + right) / 2, top + height - 3.5), bar.label, "tick mid halo")


def _colours(one: Timeline) -> dict[str, str]:
    names = dict.fromkeys(bar.label for lane in one.lanes for bar in lane.bars)
    looks = {name: f"fill c{place % _COLOURS}" for place, name in enumerate(names)}
    return looks | {_ASLEEP: "band c7"}


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}…"


def _words(one: Timeline) -> str:
    return ", ".join(f"{cause} {format_ns(ns)}" for cause, ns in one.causes)
