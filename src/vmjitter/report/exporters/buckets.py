"""Latencies as cyclictest counts them: buckets of a microsecond, without a sign.

cyclictest measures in whole microseconds, so its bucket k holds what is at least k us and less than
k + 1 us late.  It has no place for a wake-up before its time; such are counted in bucket 0, and
every export says how many they are.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Final

import numpy as np

from vmjitter.stats.histogram import Histogram, Int64s
from vmjitter.units import NS_PER_US

NEGATIVE_NOTE: Final = "wake-ups before their planned time, counted in bucket 0"


@dataclass(frozen=True, kw_only=True, eq=False)
class Buckets:
    """One trial in buckets of 1 us.

    Attributes:
        value_us: buckets that are not empty, ascending; ``count``: wake-ups in each.
        total: wake-ups, also those that are in no bucket because only a lower limit is known.
        from_us: what is in no bucket is at least so late; None if everything is in one.
        min_us: the smallest latency, or None if there is none or it is not known; likewise
            ``max_us``.
        mean_us: of what is in a bucket, by its lower edge; exactly ``sum / number``.
    """

    value_us: Int64s
    count: Int64s
    total: int
    from_us: int | None
    min_us: int | None
    max_us: int | None
    sum_us: int

    @property
    def counted(self) -> int:
        """Wake-ups in all buckets."""
        return int(self.count.sum())

    def mean_us(self, decimals: int) -> str:
        """Mean of what is in a bucket, cut off after ``decimals`` as an exact decimal fraction."""
        scaled = self.sum_us * 10**decimals // max(self.counted, 1)
        whole, rest = divmod(scaled, 10**decimals)
        return f"{whole}.{rest:0{decimals}}" if decimals else str(whole)

    def dense(self, buckets: int) -> Int64s:
        """Wake-ups in each of the first buckets, empty ones too."""
        wanted = self.value_us < buckets
        table = np.zeros(buckets, np.int64)
        table[self.value_us[wanted]] = self.count[wanted]
        return table


def buckets_of(histogram: Histogram) -> Buckets:
    """Count a histogram in buckets of 1 us; a wider bin counts at its lower edge."""
    value, place = np.unique(np.maximum(histogram.low_ns // NS_PER_US, 0), return_inverse=True)
    count = np.zeros(len(value), np.int64)
    np.add.at(count, place.reshape(-1), histogram.count)
    return Buckets(
        value_us=value,
        count=count,
        total=histogram.total,
        from_us=histogram.overflow_from_ns // NS_PER_US if histogram.overflow else None,
        min_us=_micro(histogram.min_ns),
        max_us=_micro(histogram.max_ns),
        sum_us=sum(map(operator.mul, value.tolist(), count.tolist())),
    )


def _micro(value_ns: int | None) -> int | None:
    return None if value_ns is None else max(value_ns // NS_PER_US, 0)
