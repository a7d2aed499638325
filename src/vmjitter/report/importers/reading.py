"""What importers share: lines of text, numbers that fit, and histograms without contradictions.

Another tool's file is not to be trusted: a line may be cut, a number may be as long as the file.
So numbers have a limit, and a histogram is made only of bins that can be added up.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from vmjitter.report.importers.base import refuse
from vmjitter.stats.histogram import Histogram, binned

MAX_NS: Final = 1 << 61
"""Longer latencies, 73 years, are taken for damage; sums and edges of bins stay in 64 bits."""

MAX_COUNT: Final = 1 << 53
"""More wake-ups, 285 years of one per microsecond, are taken for damage."""

DAMAGED: Final = "the file is damaged: give it as the program wrote it"

UNSET: Final = (1 << 64) - 1
"""What tools print for the minimum of nothing."""

# colours, cursor movements and the terminal's reset
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|c)")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"([+-]?)([0-9]{1,19})(?:\.([0-9]{0,30}))?")


class Line(NamedTuple):
    """A line of text without its end; ``number`` counts from 1.

    ``ended`` is false for a last line without a line end, which may have been cut.
    """

    number: int
    text: str
    ended: bool


def lines(content: bytes) -> Iterator[Line]:
    """The lines, without terminal escapes; bytes that are no text are replaced."""
    for number, raw in enumerate(io.BytesIO(content), start=1):
        text = raw.decode("utf-8", "replace").replace("\x00", "\ufffd")
        ended = text.endswith("\n")
        if "\x1b" in text:
            text = _ESCAPES.sub("", text)
        yield Line(number, text.rstrip("\r\n"), ended)


def text_head(head: bytes) -> str:
    """The beginning of a file as text, for a look at what it is."""
    return _ESCAPES.sub("", head.decode("utf-8", "replace"))


def whole(text: str) -> int | None:
    """A whole number below 2^64, or None."""
    if not _WHOLE.fullmatch(text):
        return None
    value = int(text)
    return value if abs(value) <= UNSET else None


def count_of(text: str) -> int | None:
    """A number of wake-ups: "-" and the unset minimum stand for none; or None if it is neither."""
    if text == "-":
        return 0
    value = whole(text)
    if value == UNSET:
        return 0
    return value if value is not None and 0 <= value <= MAX_COUNT else None


def scaled(text: str, unit_ns: int) -> int | None:
    """A decimal number of units in ns, rounded to the nearest; None if it is no such number.

    It is computed without floating point: 374.075 us are 374075 ns.
    """
    match = _DECIMAL.fullmatch(text)
    if not match:
        return None
    fraction = match[3] or ""
    scale: int = 10 ** len(fraction)
    exact = int(match[2]) * scale + int(fraction or "0")
    value = (exact * unit_ns * 2 + scale) // (2 * scale)
    if value > MAX_NS:
        return None
    return -value if match[1] == "-" else value


@dataclass(kw_only=True)
class Counted:
    """A histogram in the making.

    Attributes:
        bins: ``(low_ns, high_ns, count)``.
        overflow: wake-ups of which only ``overflow_from_ns`` is known.
        min_ns: as the file says it; likewise ``max_ns``.
        notes: gets what was strange.
    """

    bins: list[tuple[int, int, int]] = field(default_factory=list)
    overflow: int = 0
    overflow_from_ns: int = 0
    min_ns: int | None = None
    max_ns: int | None = None
    notes: list[str] = field(default_factory=list)

    def build(self, place: str) -> Histogram:
        """The histogram; extremes that its bins contradict are replaced, and noted.

        Raises:
            DataError: bins overlap, or the numbers are impossibly large.
        """
        self.bins = sorted(entry for entry in self.bins if entry[2])
        if sum(entry[2] for entry in self.bins) + self.overflow > MAX_COUNT:
            raise refuse(place, None, "it counts more wake-ups than there can be", DAMAGED)
        for (_, high, _), (low, _, _) in zip(self.bins, self.bins[1:], strict=False):
            if low <= high:
                raise refuse(place, None, "bins of its histogram overlap", DAMAGED)
        self._check_extremes()
        return binned(
            self.bins,
            overflow=self.overflow,
            overflow_from_ns=self.overflow_from_ns if self.overflow else 0,
            min_ns=self.min_ns,
            max_ns=self.max_ns,
        )

    def _check_extremes(self) -> None:
        if not self.bins and not self.overflow:
            self.min_ns = self.max_ns = None
            return
        if self.overflow and self.max_ns is not None and self.max_ns < self.overflow_from_ns:
            self.notes.append(
                f"its maximum, {self.max_ns} ns, is below the {self.overflow} wake-ups beyond "
                "the last bin: it is not used"
            )
            self.max_ns = None
        if not self.bins:
            return
        lowest, highest = self.bins[0], self.bins[-1]
        if self.min_ns is not None and self.min_ns > lowest[1]:
            self.notes.append(f"its minimum, {self.min_ns} ns, is above its lowest bin: not used")
            self.min_ns = lowest[0]
        if self.max_ns is not None and self.max_ns < highest[0]:
            self.notes.append(f"its maximum, {self.max_ns} ns, is below its highest bin: not used")
            self.max_ns = None if self.overflow else highest[0]


def extremes_only(count: int, min_ns: int, max_ns: int, width_ns: int) -> Counted:
    """A histogram of which only the number of wake-ups, the smallest and the largest are known.

    All but the smallest lie somewhere up to the largest: they are overflow from the smallest on.

    Args:
        count: wake-ups; at least 1.
        min_ns: smallest latency, in steps of ``width_ns``; likewise ``max_ns``.
    """
    if min_ns == max_ns:
        return Counted(bins=[(min_ns, min_ns + width_ns - 1, count)], min_ns=min_ns, max_ns=max_ns)
    return Counted(
        bins=[(min_ns, min_ns + width_ns - 1, 1)],
        overflow=max(1, count - 1),
        overflow_from_ns=min_ns,
        min_ns=min_ns,
        max_ns=max_ns,
    )


def some_lines(numbers: Iterable[int], limit: int = 5) -> str:
    """Line numbers for a note: "line 7", "lines 7, 9 and 3 more"."""
    found = list(numbers)
    shown = ", ".join(map(str, found[:limit]))
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return f"line{'s' if len(found) > 1 else ''} {shown}{more}"
