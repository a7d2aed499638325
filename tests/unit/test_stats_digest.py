"""The digest of a trial says the same as its samples, whatever the chunks are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.stats import digest as module
from vmjitter.stats.digest import Digest, block_size, digest_of, unordered
from vmjitter.stats.histogram import MISSED, histogram_of

INT64 = st.integers(-(1 << 63) + 1, (1 << 63) - 1)
LATENCIES = st.lists(st.one_of(st.integers(-50, 50), INT64, st.just(MISSED)), max_size=80)
PERIOD_NS = 250_000_000  # blocks of four


def digest(values: list[int], cuts: list[int], deadline_ns: int | None = None) -> Digest:
    latency = np.array(values, np.int64)
    chunks = np.split(latency, sorted(cut for cut in cuts if cut < len(values)))
    return digest_of(chunks, period_ns=PERIOD_NS, activations=len(values), deadline_ns=deadline_ns)


@given(
    values=LATENCIES,
    cuts=st.lists(st.integers(0, 80), max_size=5),
    deadline_ns=st.one_of(st.none(), INT64),
)
def test_agrees_with_the_naive_way(
    values: list[int], cuts: list[int], deadline_ns: int | None
) -> None:
    found = digest(values, cuts, deadline_ns)
    awake = [value for value in values if value != MISSED]
    missed = [place for place, value in enumerate(values) if value == MISSED]
    late = [
        place
        for place, value in enumerate(values)
        if value == MISSED or (deadline_ns is not None and value > deadline_ns)
    ]
    assert (found.activations, found.overruns, found.ordered) == (len(values), len(missed), True)
    assert found.histogram.total == len(awake)
    assert found.missed_index.tolist() == missed
    assert found.miss_index.tolist() == late
    records = [
        (place, value)
        for place, value in enumerate(values)
        if value != MISSED and value > max([MISSED, *values[:place]])
    ]
    assert list(zip(found.record_index, found.record_ns, strict=True)) == records


def fields(record: object) -> dict[str, object]:
    """Every field of a digest, its parts unfolded, arrays as lists."""
    if isinstance(record, np.ndarray):
        return {"": (str(record.dtype), record.tolist())}
    if not dataclasses.is_dataclass(record):
        return {"": record}
    return {
        f"{field.name}.{name}": value
        for field in dataclasses.fields(record)
        for name, value in fields(getattr(record, field.name)).items()
    }


@given(
    values=LATENCIES,
    cuts=st.lists(st.integers(0, 80), max_size=20),
    deadline_ns=st.one_of(st.none(), st.integers(-60, 60)),
    kept=st.integers(1, 12),
    rows=st.integers(1, 90),
)
def test_chunks_do_not_matter(
    values: list[int], cuts: list[int], deadline_ns: int | None, kept: int, rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PEAKS", kept)
        patch.setattr(module, "_ROWS", rows)
        whole = digest(values, [], deadline_ns)
        assert fields(digest(values, cuts, deadline_ns)) == fields(whole)
        order = sorted(
            (place for place, value in enumerate(values) if value != MISSED),
            key=lambda place: (-values[place], place),
        )
    assert whole.peak_index.tolist() == sorted(order[:kept])


def test_chunks_of_a_long_trial_do_not_matter() -> None:
    rng = np.random.default_rng(11)
    latency = (5000 + rng.lognormal(9.2, 0.45, 600_000)).astype(np.int64)
    spikes = rng.integers(0, len(latency), 300)
    latency[spikes] += rng.exponential(2e6, 300).astype(np.int64)
    latency[rng.integers(0, len(latency), 20)] = MISSED
    records = np.zeros(len(latency), [("latency_ns", "<i8"), ("tsc", "<u8")])
    records["latency_ns"] = latency  # every other word of a raw file
    about = {"period_ns": 1_000_000, "activations": len(latency), "deadline_ns": 1_000_000}
    found = digest_of([records["latency_ns"]], **about)
    whole = fields(found)
    for rows in (1 << 16, 99_991, 1 << 19):
        chunks = [latency[at : at + rows] for at in range(0, len(latency), rows)]
        assert fields(digest_of(chunks, **about)) == whole
    values, counts = np.unique(latency[latency != MISSED], return_counts=True)
    assert found.histogram.low_ns.tolist() == values.tolist()
    assert found.histogram.count.tolist() == counts.tolist()
    last = np.sort(latency)[-module.PEAKS :]
    assert np.sort(found.peak_ns).tolist() == last.tolist()


@given(values=LATENCIES, cuts=st.lists(st.integers(0, 80), max_size=5))
def test_blocks_are_those_of_the_samples(values: list[int], cuts: list[int]) -> None:
    blocks = digest(values, cuts, 10).blocks
    assert blocks.size == 4
    parts = [values[start : start + 4] for start in range(0, len(values), 4)]
    awake = [[value for value in part if value != MISSED] for part in parts]
    assert blocks.max_ns.tolist() == [max(part, default=MISSED) for part in awake]
    assert blocks.min_ns.tolist() == [min(part, default=MISSED) for part in awake]
    assert blocks.overruns.tolist() == [part.count(MISSED) for part in parts]
    assert blocks.misses.tolist() == [
        sum(value == MISSED or value > 10 for value in part) for part in parts
    ]


@pytest.mark.parametrize("cuts", [[], [10, 11, 500], list(range(0, 1000, 7))])
def test_the_latest_wake_ups_keep_their_places(
    cuts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PEAKS", 50)
    values = np.random.default_rng(3).integers(0, 300, 1000).tolist()
    values[::100] = [MISSED] * 10
    found = digest(values, cuts)
    order = sorted(range(1000), key=lambda place: (-values[place], place))[:50]
    assert found.peak_index.tolist() == sorted(order)
    assert found.peak_ns.tolist() == [values[place] for place in sorted(order)]


def test_a_block_is_a_second_unless_there_are_too_many() -> None:
    assert block_size(1_000_000, 240_000) == 1000
    assert block_size(3_000_000_000, 10) == 1
    assert block_size(0, 10) == 1000
    assert -(-(10**11) // block_size(100_000, 10**11)) <= 1 << 17


def test_nothing_at_all() -> None:
    empty = digest_of([], period_ns=PERIOD_NS, activations=0)
    assert (empty.activations, empty.histogram.total, len(empty.blocks.max_ns)) == (0, 0, 0)


def test_a_histogram_alone_has_no_order() -> None:
    histogram = histogram_of(np.array([1, 2, 3], np.int64))
    found = unordered(histogram, period_ns=1000)
    assert not found.ordered
    assert (found.activations, found.duration_ns, len(found.peak_ns)) == (3, 3000, 0)
