"""The raw stream of our own probe, as a file alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmjitter.errors import DataError
from vmjitter.guest.layout import MISSED, RECORD_BYTES, STREAM_MAGIC, VERSION, StreamHeader
from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported
from vmjitter.report.importers.vmjitter_raw import IMPORTER


def stream(latency: list[int], *, period_ns: int = 1_000_000, loops: int = 0) -> bytes:
    header = StreamHeader()
    header.magic, header.version = STREAM_MAGIC, VERSION
    header.header_bytes, header.record_bytes = len(bytes(header)), RECORD_BYTES
    header.clock_id, header.period_ns, header.t0_ns, header.loops = 1, period_ns, 5, loops
    records = np.zeros(len(latency), [("latency_ns", "<i8"), ("tsc", "<u8")])
    records["latency_ns"] = latency
    return bytes(header) + records.tobytes()


def read(content: bytes) -> Imported:
    return IMPORTER.read(content, "samples.raw")


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    st.lists(st.one_of(st.integers(-(1 << 40), 1 << 40), st.just(MISSED)), min_size=1, max_size=50)
)
def test_latencies_as_they_were_written(latency: list[int]) -> None:
    (series,) = read(stream(latency)).series
    assert series.latency_ns is not None
    assert series.latency_ns.tolist() == latency
    assert series.histogram.total == sum(value != MISSED for value in latency)
    assert (series.period_ns, series.lacks) == (1_000_000, frozenset())


def test_facts_and_what_is_missing() -> None:
    imported = read(stream([3, 4], loops=10)[:-1])
    (series,) = imported.series
    assert series.facts == {"clock": "CLOCK_MONOTONIC", "activations": "1"}
    assert series.notes == (
        "samples.raw ends within a record: its last 15 bytes are left out",
        "1 of 10 planned activations are in it",
    )
    assert any("run directory" in note for note in imported.notes)


def test_without_period() -> None:
    (series,) = read(stream([3], period_ns=0)).series
    assert series.lacks == {Lack.PERIOD}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "holds no activation"),
        (STREAM_MAGIC, "holds no activation"),
        (b"x" * 500, "samples.raw is not a stream of samples"),
        (stream([3]).replace(STREAM_MAGIC + b"\x01", STREAM_MAGIC + b"\x09"), "has version 9"),
        (stream([3, 1 << 62]), "record 2 has a latency"),
        (stream([MISSED + 1]), "record 1 has a latency"),
        (stream([3], period_ns=1 << 62), "its period is"),
    ],
)
def test_refuses_with_reason_and_remedy(content: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        read(content)
    assert caught.value.message.startswith("samples.raw")
    assert "/tmp" not in caught.value.message
    assert caught.value.hint


def test_sniffs() -> None:
    assert IMPORTER.matches(stream([3]), "x")
    assert not IMPORTER.matches(b"VMJ", "samples.raw")
