"""Histograms: exact for samples, honest about bins and overflow, and adding up."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.stats import histogram as module
from vmjitter.stats.histogram import (
    MISSED,
    Histogram,
    HistogramBuilder,
    Late,
    Quantile,
    binned,
    empty_histogram,
    histogram_of,
    merge,
)

NEAR = st.integers(-2000, 20_000)
FAR = st.integers(-(1 << 63) + 1, (1 << 63) - 1)
LATENCIES = st.lists(st.one_of(NEAR, FAR), max_size=60)


def table(histogram: Histogram) -> dict[tuple[int, int], int]:
    edges = zip(histogram.low_ns.tolist(), histogram.high_ns.tolist(), strict=True)
    return dict(zip(edges, histogram.count.tolist(), strict=True))


def array(values: list[int]) -> module.Int64s:
    return np.array(values, np.int64)


@pytest.fixture(autouse=True, scope="module", params=[0, 20])
def small(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fewer counters, so that many builders are cheap; they are used at once, or a bit later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEW", request.param)
        patch.setattr(module, "_SLICE", 16)
        patch.setattr(module, "_DENSE_LOW_NS", -1024)
        patch.setattr(module, "_DENSE_BINS", 1 << 14)
        yield


@given(values=LATENCIES, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_counts_every_latency_whatever_the_chunks(values: list[int], cuts: list[int]) -> None:
    builder = HistogramBuilder()
    edges = [0, *(min(cut, len(values)) for cut in sorted(cuts)), len(values)]
    for start, end in pairwise(edges):
        builder.add(array(values[start:end]))
    found = builder.build()
    assert table(found) == {(value, value): values.count(value) for value in values}
    assert found.low_ns.tolist() == sorted(set(values))
    assert (found.min_ns, found.max_ns) == (min(values, default=None), max(values, default=None))
    assert found.total == len(values)
    assert found.resolution_ns == 1


@given(values=st.lists(FAR, min_size=1, max_size=60), limit=FAR, share=st.fractions(0, 1))
def test_late_and_quantile_are_those_of_the_latencies(
    values: list[int], limit: int, share: Fraction
) -> None:
    found = histogram_of(array(values))
    late = sum(value > limit for value in values)
    assert found.late(limit) == Late(late, late)
    rank = ceil(share * len(values))
    wanted = sorted(values)[rank - 1]
    expected = Quantile(wanted, wanted, at_least=False) if rank else None
    assert found.quantile(share) == expected


def test_missed_activations_are_no_wake_ups() -> None:
    assert histogram_of(array([5, MISSED, 5])).total == 2


def test_the_builder_says_where_activations_were_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLICE", 3)
    builder = HistogramBuilder()
    far = 1 << 40
    assert builder.add(array([5, MISSED, far, -far, MISSED, 7, 5])).tolist() == [1, 4]
    assert builder.add(array([5])).tolist() == []
    assert table(builder.build()) == {(-far,) * 2: 1, (5, 5): 3, (7, 7): 1, (far, far): 1}


@given(values=st.lists(FAR, max_size=60))
def test_far_latencies_are_counted_whenever(values: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FAR_WAITING", 7)
        builder = HistogramBuilder()
        for value in values:
            builder.add(array([value]))
    found = builder.build()
    assert table(found) == {(value, value): values.count(value) for value in values}
    assert (found.min_ns, found.max_ns) == (min(values, default=None), max(values, default=None))


def test_the_edges_of_the_counters() -> None:
    low, high = module._DENSE_LOW_NS, module._DENSE_LOW_NS + module._DENSE_BINS
    values = [low - 1, low, high - 1, high]
    assert histogram_of(array(values)).low_ns.tolist() == values


def test_many_different_far_latencies_are_counted_coarsely_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MAX_SPARSE", 100)
    values = np.arange(0, 400_000_000, 1_000_003, dtype=np.int64)
    builder = HistogramBuilder()
    for part in np.array_split(values, 7):
        builder.add(part)
    found = builder.build()
    assert found.total == len(values)
    assert found.resolution_ns == 1024
    for rank, value in enumerate(values.tolist(), 1):
        quantile = found.at_rank(rank)
        assert quantile is not None
        assert quantile.high_ns is not None
        assert quantile.value_ns <= value <= quantile.high_ns
    near = found.high_ns - found.low_ns == 0
    assert (
        near.tolist() == (found.low_ns < (1 << 14) - 1024).tolist()
    )  # still exact where it is cheap
    assert found.max_ns == values[-1]


@given(one=LATENCIES, other=LATENCIES)
def test_merging_is_counting_together(one: list[int], other: list[int]) -> None:
    merged = merge([histogram_of(array(one)), histogram_of(array(other))])
    whole = histogram_of(array(one + other))
    assert table(merged) == table(whole)
    assert (merged.min_ns, merged.max_ns) == (whole.min_ns, whole.max_ns)


OVER = binned(
    [(3000, 3999, 2), (1000, 1999, 5), (3000, 3999, 1)], overflow=4, overflow_from_ns=4000
)


def test_bins_are_sorted_and_added() -> None:
    assert table(OVER) == {(1000, 1999): 5, (3000, 3999): 3}
    assert OVER.total == 12
    assert OVER.resolution_ns == 1000
    assert not binned([(0, 0, 0)]).total


@pytest.mark.parametrize(
    ("limit", "late"),
    [
        (999, Late(12, 12)),
        (1000, Late(7, 12)),  # five lie in the bin of the limit
        (1999, Late(7, 7)),
        (3998, Late(4, 7)),
        (3999, Late(4, 4)),
        (4000, Late(0, 4)),  # the overflow may be anywhere from 4000 on
    ],
)
def test_a_bin_leaves_open_what_is_late(limit: int, late: Late) -> None:
    assert OVER.late(limit) == late


def test_the_maximum_tells_of_the_overflow() -> None:
    known = binned([(1000, 1999, 5)], overflow=2, overflow_from_ns=4000, max_ns=90_000)
    assert known.late(10_000) == Late(1, 2)  # the latest one is, the other may be
    assert known.late(90_999) == Late(0, 0)
    assert known.at_rank(7) == Quantile(90_000, 90_000, at_least=False)
    assert known.at_rank(6) == Quantile(4000, 90_000, at_least=True)
    assert OVER.at_rank(12) == Quantile(4000, None, at_least=True)
    assert OVER.at_rank(13) is None
    assert OVER.at_rank(0) is None


def test_merging_keeps_overflow_and_forgets_what_one_does_not_know() -> None:
    known = binned([(0, 999, 1)], overflow=1, overflow_from_ns=2000, min_ns=0, max_ns=9000)
    merged = merge([OVER, known, empty_histogram()])
    assert (merged.overflow, merged.overflow_from_ns) == (5, 2000)
    assert (merged.min_ns, merged.max_ns) == (None, None)
    assert merge([]).total == 0


def test_the_survival_function_counts_from_the_top() -> None:
    edges, reaching = OVER.exceeding()
    assert edges.tolist() == [1000, 3000]
    assert reaching.tolist() == [12, 7]


def test_negative_latencies_are_counted() -> None:
    assert histogram_of(array([-70_000, -1, 0, 1])).negative == 2
