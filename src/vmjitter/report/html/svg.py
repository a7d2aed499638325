"""Static pictures: a few kilobytes each, legible in both colour schemes and on paper.

Colours are classes, so that the page's style decides; matplotlib's SVG would be ten times as
large and of one colour scheme.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from vmjitter.units import NS_PER_MS, NS_PER_S, NS_PER_US

WIDTH: Final = 640
HEIGHT: Final = 256
LEFT: Final = 58
RIGHT: Final = 14
TOP: Final = 22
BOTTOM: Final = 40

Floats = NDArray[np.float64]

_TIME_UNITS: Final = ((NS_PER_S, "s"), (NS_PER_MS, "ms"), (NS_PER_US, "µs"), (1, "ns"))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """From values to places on the picture.

    Attributes:
        low: value at ``start``, the place in pixels; ``high`` at ``end``.
        log: equal ratios take equal distances; values must be above 0.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: ArrayLike) -> Floats:
        """Places of values; those beyond the scale lie at its ends."""
        array = np.asarray(values, np.float64)
        if self.log:
            array = np.log(np.maximum(array, self.low))
            low, high = math.log(self.low), math.log(self.high)
        else:
            low, high = self.low, self.high
        share = np.clip((array - low) / ((high - low) or 1.0), 0.0, 1.0)
        return self.start + share * (self.end - self.start)

    def at(self, value: float) -> float:
        """The place of one value."""
        return float(self(value))

    def holds(self, value: float) -> bool:
        """Whether the value lies on the scale."""
        return self.low <= value <= self.high


def across(low: float, high: float, *, log: bool = False) -> Scale:
    """A horizontal scale over the plot's width."""
    return Scale(low=low, high=high, start=LEFT, end=WIDTH - RIGHT, log=log)


def upwards(low: float, high: float, *, log: bool = False, height: int = HEIGHT) -> Scale:
    """A vertical scale over the plot's height."""
    return Scale(low=low, high=high, start=height - BOTTOM, end=TOP, log=log)


def ticks(scale: Scale, most: int = 6) -> list[float]:
    """Round values on the scale."""
    if scale.log:
        return _decades(scale, most)
    span = scale.high - scale.low
    if span <= 0:
        return [scale.low]
    rough = span / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * 0.999)
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def _decades(scale: Scale, most: int) -> list[float]:
    first = math.ceil(math.log10(scale.low) - 1e-9)
    last = math.floor(math.log10(scale.high) + 1e-9)
    if last - first >= 2:
        step = max(1, -(-(last - first) // most))
        return [10.0**power for power in range(first, last + 1, step)]
    values = [f * 10.0**power for power in range(first - 1, last + 1) for f in (1, 2, 5)]
    return [value for value in values if scale.low <= value <= scale.high]


def time_unit(top_ns: float) -> tuple[int, str]:
    """The unit in which an axis up to this value is labelled."""
    return next((ns, word) for ns, word in _TIME_UNITS if top_ns >= 2 * ns or ns == 1)


def plain_number(value: float) -> str:
    """A number for an axis, without needless digits."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.6g}"


def power_label(value: float) -> str:
    """A number for a logarithmic axis, where it is long and a power of ten as such."""
    power = round(math.log10(value))
    if 0 <= power < 3 or not math.isclose(value, 10.0**power):
        return plain_number(value)
    return "10" + str(power).translate(_SUPERSCRIPT)


_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def time_labels(values: Iterable[float], scale: float) -> list[str]:
    """Latencies on a logarithmic axis, each with its unit."""
    labels = []
    for value in values:
        ns, word = next((n, w) for n, w in _TIME_UNITS if abs(value) * scale >= n or n == 1)
        labels.append(f"{value * scale / ns:g} {word}")
    return labels


@dataclass(kw_only=True)
class Picture:
    """A picture in the making; nothing in it is markup that came from outside."""

    height: int = HEIGHT
    parts: list[Markup] = field(default_factory=list)

    @property
    def floor(self) -> int:
        """The plot's lower edge."""
        return self.height - BOTTOM

    def line(self, start: tuple[float, float], end: tuple[float, float], look: str) -> None:
        """A straight line."""
        self._add(
            '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>',
            *start,
            *end,
            look,
        )

    def path(self, steps: str, look: str) -> None:
        """A path in SVG's own words, made of numbers only."""
        self._add('<path d="{}" class="{}"/>', steps, look)

    def polyline(self, x: Floats, y: Floats, look: str) -> None:
        """Points joined by lines."""
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        self._add('<polyline points="{}" class="{}"/>', points, look)

    def text(self, place: tuple[float, float], words: str, look: str) -> None:
        """Words; the class says from where they go."""
        self._add('<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>', *place, look, words)

    def dot(self, place: tuple[float, float], look: str, radius: float = 3.5) -> None:
        """A circle."""
        self._add('<circle cx="{:.1f}" cy="{:.1f}" r="{}" class="{}"/>', *place, radius, look)

    def image(
        self, png_base64: str, corner: tuple[float, float], size: tuple[float, float]
    ) -> None:
        """A picture of pixels, stretched."""
        self._add(
            '<image href="data:image/png;base64,{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" '
            'height="{:.1f}" preserveAspectRatio="none" class="pixels"/>',
            png_base64,
            *corner,
            *size,
        )

    def axis_x(self, scale: Scale, labels: Sequence[tuple[float, str]], title: str) -> None:
        """The horizontal axis: a line, labels at values, what is measured in which unit."""
        self.line((scale.start, self.floor), (scale.end, self.floor), "axis")
        for value, label in labels:
            x = scale.at(value)
            self.line((x, self.floor), (x, self.floor + 4), "axis")
            self.text((x, self.floor + 16), label, "tick mid")
        self.text(((scale.start + scale.end) / 2, self.height - 6), title, "title mid")

    def axis_y(self, scale: Scale, labels: Sequence[tuple[float, str]], title: str) -> None:
        """The vertical axis with a grid; its title stands above it."""
        for value, label in labels:
            y = scale.at(value)
            self.line((LEFT, y), (WIDTH - RIGHT, y), "grid")
            self.text((LEFT - 6, y + 3.5), label, "tick end")
        self.text((4, 10), title, "title")

    def limit_y(self, scale: Scale, value: float, words: str) -> None:
        """A horizontal line with a name, if it lies on the scale."""
        if scale.holds(value):
            y = scale.at(value)
            self.line((LEFT, y), (WIDTH - RIGHT, y), "limit")
            self.text((LEFT + 6, y - 4 if y > TOP + 14 else y + 12), words, "note halo")

    def limit_x(self, scale: Scale, value: float, words: str) -> None:
        """A vertical line with a name, if it lies on the scale."""
        if scale.holds(value):
            x = scale.at(value)
            right = x > WIDTH * 0.7
            self.line((x, TOP), (x, self.floor), "limit")
            look = "note halo end" if right else "note halo"
            self.text((x - 5 if right else x + 5, TOP + 10), words, look)

    def render(self, alternative: str) -> Markup:
        """The whole picture.

        Args:
            alternative: what it shows, for who cannot see it.
        """
        head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            WIDTH, self.height, alternative
        )
        return head + Markup("").join(self.parts) + Markup("</svg>")

    def _add(self, form: str, *values: object) -> None:
        self.parts.append(Markup(form).format(*values))  # noqa: S704 - forms are ours


def linear_labels(scale: Scale, unit: float = 1.0, most: int = 6) -> list[tuple[float, str]]:
    """Labels at round values of a linear scale, divided by the unit."""
    in_unit = Scale(low=scale.low / unit, high=scale.high / unit, start=0, end=1)
    return [(value * unit, plain_number(value)) for value in ticks(in_unit, most)]


def log_time_labels(scale: Scale) -> list[tuple[float, str]]:
    """Labels at powers of ten of a scale in ns."""
    values = ticks(scale)
    return list(zip(values, time_labels(values, 1), strict=True))


def stairs(x: Floats, y: Floats, end: float) -> str:
    """A path that keeps each height until the next place."""
    if not len(x):
        return ""
    steps = "".join(f"H{a:.1f}V{b:.1f}" for a, b in zip(x[1:], y[1:], strict=True))
    return f"M{x[0]:.1f} {y[0]:.1f}{steps}H{end:.1f}"
