"""Where the time of late wake-ups went: a bar per scenario, made of what each party had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from vmjitter.report.explain_split import SplitRow
from vmjitter.report.html.svg import (
    BOTTOM,
    TOP,
    WIDTH,
    Picture,
    Scale,
    plain_number,
    ticks,
)
from vmjitter.trace.parties import Party
from vmjitter.units import NS_PER_US, format_ns

_NAMES: Final = 170
_NAME_LETTERS: Final = 27
_KEY: Final = 24
_KEY_GAP: Final = 32
_KEY_LETTER: Final = 6.2
_ROW: Final = 26
_LETTER: Final = 5.2
_LOOKS: Final = {
    Party.EMULATION: "fill c1",
    Party.LOCK: "fill c3",
    Party.QEMU_THREADS: "fill c4",
    Party.HOST: "fill c5",
    Party.KVM: "fill c0",
    Party.GUEST: "fill c2",
    Party.BELOW: "fill c6",
    Party.PROBE: "fill c6",
    Party.UNEXPLAINED: "band c7",
}


def split_chart(rows: Sequence[SplitRow]) -> Markup:
    """Draw the mean late wake-up of each scenario, in parts."""
    picture = Picture(height=TOP + _KEY + _ROW * len(rows) + BOTTOM)
    longest_us = max(row.mean_ns for row in rows) / NS_PER_US
    scale = Scale(low=0, high=longest_us * 1.08, start=_NAMES, end=WIDTH - 14)
    shown = [party for party in Party if any(row.of(party).ns for row in rows)]
    left = 16.0
    for party in shown:
        _bar(picture, (left, TOP - 4), 10, _LOOKS[party])
        picture.text((left + 14, TOP + 5), str(party), "tick")
        left += _KEY_GAP + _KEY_LETTER * len(party)
    for place, row in enumerate(rows):
        top = TOP + _KEY + _ROW * place
        picture.text((_NAMES - 8, top + 14), _short(row.scenario), "tick end")
        _parts(picture, scale, row, top + 3)
    labels = [(value, plain_number(value)) for value in ticks(scale)]
    picture.axis_x(scale, labels, "µs per late wake-up, mean")
    return picture.render("; ".join(_words(row, shown) for row in rows))


def _parts(picture: Picture, scale: Scale, row: SplitRow, top: float) -> None:
    before_us = 0.0
    for one in row.parties:
        mean_us = one.ns / row.spikes / NS_PER_US
        left, right = scale.at(before_us), scale.at(before_us + mean_us)
        before_us += mean_us
        if right - left < 0.5:
            continue
        _bar(picture, (left, top), right - left, _LOOKS[one.party], height=_ROW - 9)
        label = f"{100 * one.share:.0f} %"
        if right - left > _LETTER * len(label) + 6:
            picture.text(((left + right) / 2, top + _ROW - 13), label, "tick mid halo")


def _bar(
    picture: Picture, place: tuple[float, float], width: float, look: str, *, height: int = 10
) -> None:
    left, top = place
    picture.path(f"M{left:.1f} {top:.1f}h{width:.1f}v{height}h{-width:.1f}Z", look)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}…"


def _words(row: SplitRow, shown: Sequence[Party]) -> str:
    parts = ", ".join(
        f"{party} {100 * row.of(party).share:.0f} %" for party in shown if row.of(party).ns
    )
    return f"{row.scenario}: {format_ns(row.mean_ns)}, of which {parts}"
