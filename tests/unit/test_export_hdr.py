"""The log of HdrHistograms, decoded with the library of that name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hdrh.log import HistogramLogReader  # type: ignore[import-untyped]

from fakes.exportmaker import export, imported, judged, trial_of
from fakes.runmaker import TrialMaker, latencies, make_status
from vmjitter.report.exporters import hdr
from vmjitter.stats.histogram import MISSED, binned

LATENCY = latencies(5500, seed=4, worst_ns=3_300_000)
TRIAL = TrialMaker(status=make_status(loops=5500), latency_ns=LATENCY)
AWAKE = LATENCY[LATENCY != MISSED]

LIMIT_NS = 1 << 62


def lines(text: str) -> list[list[str]]:
    """The fields of each interval."""
    return [line.split(",") for line in text.splitlines() if line.startswith("Tag=")]


def decoded(directory: Path, text: str) -> dict[str, HdrHistogram]:
    """All intervals of each tag, added."""
    file = directory / "log.hlog"
    file.write_text(text)
    found: dict[str, HdrHistogram] = {}
    reader = HistogramLogReader(str(file), HdrHistogram(1, LIMIT_NS, hdr.DIGITS))
    while (interval := reader.get_next_interval_histogram()) is not None:
        whole = found.setdefault(interval.get_tag(), HdrHistogram(1, LIMIT_NS, hdr.DIGITS))
        whole.add(interval)
    reader.close()
    return found


def near(value: float) -> object:
    """Three significant digits: a value is at most 0.1 % off."""
    return pytest.approx(value, rel=1e-3, abs=1)


def test_every_wake_up_is_in_it(tmp_path: Path) -> None:
    other = trial_of([0, 1, 2, 2_000_000_000], "b c,d", round=2)
    found = decoded(tmp_path, export("hdr", judged(tmp_path, TRIAL, other)))
    assert list(found) == ["kernel-io", "b_c_d.2"]
    mine = found["kernel-io"]
    assert mine.get_total_count() == len(AWAKE)
    assert mine.get_max_value() == near(3_300_000)
    assert mine.get_min_value() == near(int(AWAKE.min()))
    ranked = np.sort(AWAKE)
    for share in (Fraction(1, 2), Fraction(9, 10), Fraction(99, 100), Fraction(999, 1000)):
        exact = ranked[-(-len(ranked) * share.numerator // share.denominator) - 1]
        assert mine.get_value_at_percentile(float(share * 100)) == near(int(exact))
    assert found["b_c_d.2"].get_total_count() == 4
    assert found["b_c_d.2"].get_max_value() == near(2_000_000_000)


def test_small_values_are_exact(tmp_path: Path) -> None:
    values = list(range(2048))
    (found,) = decoded(tmp_path, export("hdr", judged(tmp_path, trial_of(values)))).values()
    counted = [found.get_count_at_value(value) for value in values]
    assert counted == [1] * 2048


def test_intervals_of_a_second_follow_each_other(tmp_path: Path) -> None:
    fields = lines(export("hdr", judged(tmp_path, TRIAL, trial_of([5000] * 2500, "next"))))
    times = [(tag, start, length) for tag, start, length, _, _ in fields]
    assert times[0] == ("Tag=kernel-io", "0.000000000", "1.000000000")
    assert times[5] == ("Tag=kernel-io", "5.000000000", "0.500000000")
    assert times[6] == ("Tag=next", "5.500000000", "1.000000000")
    assert len(times) == 9
    worst = max(float(highest) for _, _, _, highest, _ in fields)
    assert worst == 3.3  # ms


def test_a_long_trial_has_longer_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdr, "MAX_INTERVALS", 2)
    text = export("hdr", judged(tmp_path, TRIAL))
    assert [length for _, _, length, _, _ in lines(text)] == ["3.000000000", "2.500000000"]
    (found,) = decoded(tmp_path, text).values()
    assert found.get_total_count() == len(AWAKE)


def test_head_is_that_of_the_format(tmp_path: Path) -> None:
    head = export("hdr", judged(tmp_path, TRIAL)).splitlines()
    assert head[:3] == [
        "#[Histogram log format version 1.3]",
        "#[BaseTime: 1769869530.000 (seconds since epoch)]",
        "#[StartTime: 1769869530.000 (seconds since epoch), 2026-01-31T14:25:30Z]",
    ]
    legend = next(line for line in head if line[0] != "#")
    assert legend.startswith('"StartTimestamp","Interval_Length",')
    assert any("condition: TCG" in line for line in head)


def test_what_is_in_no_histogram_is_said(tmp_path: Path) -> None:
    text = export("hdr", judged(tmp_path, trial_of([-7, -1, 5, MISSED, 9])))
    assert "in no histogram: wake-ups before their planned time: 2\n" in text
    assert "in no histogram: missed activations: 1\n" in text
    (found,) = decoded(tmp_path, text).values()
    assert found.get_total_count() == 2


def test_an_overflow_is_counted_from_its_lower_limit(tmp_path: Path) -> None:
    known = binned(
        [(1000, 1999, 6)], overflow=3, overflow_from_ns=400_000, min_ns=1000, max_ns=9_000_000
    )
    text = export("hdr", imported(known))
    assert "wake-ups of 400000 ns or more: 3" in text
    assert "bins of up to 1000 ns" in text
    (found,) = decoded(tmp_path, text).values()
    assert found.get_total_count() == 9
    assert found.get_max_value() == near(9_000_000)
    assert found.get_count_at_value(400_000) == 2
    unknown = binned([], overflow=3, overflow_from_ns=400_000)
    (found,) = decoded(tmp_path, export("hdr", imported(unknown))).values()
    assert (found.get_total_count(), found.get_max_value()) == (3, near(400_000))


def test_nothing_measured(tmp_path: Path) -> None:
    empty = TrialMaker(status=make_status("never", loops=0))
    text = export("hdr", judged(tmp_path, empty, created_utc="?"))
    assert lines(text) == []
    assert "#[StartTime: 0.000 (seconds since epoch)" in text
