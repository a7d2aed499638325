"""Durations and sizes: text at the edges, integers inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.errors import UsageError
from vmjitter.units import format_clock, format_ns, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("1ms", 1_000_000),
        ("100.55ms", 100_550_000),
        ("0.5 s", 500_000_000),
        ("250us", 250_000),
        ("250µs", 250_000),
        ("7ns", 7),
        ("4m", 240_000_000_000),
        ("2h", 7_200_000_000_000),
        ("1d", 86_400_000_000_000),
        ("1.000000001s", 1_000_000_001),
    ],
)
def test_durations_are_exact(text: str, expected_ns: int) -> None:
    assert parse_duration(text) == expected_ns


@pytest.mark.parametrize("text", ["", "1", "ms", "-1ms", "1 parsec", "1e3ms", "1.2.3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(0, 10**15))
def test_nanoseconds_survive_parsing(value_ns: int) -> None:
    assert parse_duration(f"{value_ns}ns") == value_ns


@pytest.mark.parametrize(("text", "expected"), [("1G", 1 << 30), ("256M", 256 << 20), ("4K", 4096)])
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    ("value_ns", "expected"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_160_000, "1.16 ms"),
        (100_550_000, "100.55 ms"),
        (-1500, "-1.50 µs"),
        (2_000_000_000, "2.00 s"),
    ],
)
def test_times_are_shown_with_the_unit_that_fits(value_ns: int, expected: str) -> None:
    assert format_ns(value_ns) == expected


def test_clock_shows_hours_only_when_there_are_some() -> None:
    assert format_clock(61_400_000_000) == "1:01"
    assert format_clock(3_661_000_000_000) == "1:01:01"
