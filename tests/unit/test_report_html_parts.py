"""The page's parts: samples that come back exactly, extremes, bins, scales, differences."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fakes.runmaker import PERIOD_NS, TrialMaker, latencies, make_load, make_run, make_status
from vmjitter.guest.layout import MISSED
from vmjitter.report.html.charts.exceedance import burst_rate, curve
from vmjitter.report.html.charts.heatmap import cell_counts
from vmjitter.report.html.charts.histogram import bin_width
from vmjitter.report.html.charts.shift import shifts
from vmjitter.report.html.envelope import of_digest, of_samples
from vmjitter.report.html.samples import LONG_PEAKS, packed, payload, script_json
from vmjitter.report.html.sections.configuration import compared, guest_settings_of, qemu_options
from vmjitter.report.html.sections.worst import load_state
from vmjitter.report.html.svg import Scale, plain_number, power_label, ticks, upwards
from vmjitter.report.html.view import PageView, exact, grouped, setting, view_of
from vmjitter.report.result import judge
from vmjitter.stats.digest import digest_of
from vmjitter.stats.histogram import histogram_of
from vmjitter.store.reader import read_run

Int64s = NDArray[np.int64]
LATENCY = st.one_of(st.just(MISSED), st.integers(-(1 << 40), 1 << 44))


def unpacked(stored: object) -> Int64s:
    """What `packed` stored, by the words of its description and not by its code."""
    assert isinstance(stored, dict)
    symbols, bits = (base64.b85decode(stored[key].replace(",", "<")) for key in ("symbols", "bits"))
    symbols = zlib.decompress(symbols, -15)
    length = stored["length"]
    assert len(symbols) == length * stored["planes"]
    rest = int.from_bytes(bits, "little")
    values = []
    for place in range(length):
        code = symbols[place] + (256 * symbols[length + place] if stored["planes"] > 1 else 0)
        if code >= 16:
            below = code // 8 - 1
            code = ((code - 8 * below) << below) + (rest & ((1 << below) - 1))
            rest >>= below
        values.append(stored["base"] + code - 1 if code else MISSED)
    return np.array(values, np.int64)


@given(st.lists(LATENCY, max_size=60))
def test_samples_come_back_exactly(values: list[int]) -> None:
    array = np.array(values, np.int64)
    assert np.array_equal(unpacked(packed(array)), array)


@given(st.lists(LATENCY, min_size=1, max_size=60))
def test_samples_can_stand_in_a_page(values: list[int]) -> None:
    text = str(script_json({"value": packed(np.array(values, np.int64)), "</script>": "<!--"}))
    assert "<" not in text
    assert json.loads(text)["</script>"] == "<!--"


def test_samples_take_about_two_bytes() -> None:
    latency_ns = latencies(50_000, seed=1, worst_ns=5_000_000)
    stored = packed(latency_ns)
    assert len(f"{stored['symbols']}{stored['bits']}") < 2.6 * len(latency_ns)


@given(st.lists(LATENCY, min_size=1, max_size=80), st.integers(1, 20))
def test_envelope_has_every_extreme(values: list[int], columns: int) -> None:
    latency_ns = np.array(values, np.int64)
    found = of_samples(latency_ns, columns)
    awake = latency_ns[latency_ns != MISSED]
    if not len(awake):
        assert not len(found.start)
        return
    assert found.high_ns.max() == awake.max()
    assert found.low_ns.min() == awake.min()
    for start, end, low, high in zip(
        found.start, found.end, found.low_ns, found.high_ns, strict=True
    ):
        part = latency_ns[start:end]
        part = part[part != MISSED]
        assert (part.min(), part.max()) == (low, high)


def test_envelope_of_blocks_is_that_of_samples() -> None:
    latency_ns = latencies(25_000, seed=3, worst_ns=9_000_000)
    digest = digest_of([latency_ns], period_ns=PERIOD_NS, activations=len(latency_ns))
    by_blocks, by_samples = of_digest(digest, 25), of_samples(latency_ns, 25)
    assert np.array_equal(by_blocks.high_ns, by_samples.high_ns)
    assert np.array_equal(by_blocks.low_ns, by_samples.low_ns)
    assert np.array_equal(by_blocks.end, by_samples.end)


def view(path: Path, latency_ns: Int64s, **changes: object) -> PageView:
    status = make_status("only", loops=len(latency_ns), **changes)
    run = make_run(path / "run", [TrialMaker(status=status, latency_ns=latency_ns)])
    return view_of(judge(read_run(run)))


def test_long_trial_keeps_its_extremes_and_its_latest(tmp_path: Path) -> None:
    latency_ns = latencies(20_000, seed=4, worst_ns=9_000_000)
    trial = view(tmp_path, latency_ns).trials[0].result.trial
    stored = json.loads(payload(trial, full=False))
    assert stored["kind"] == "blocks"
    assert np.array_equal(unpacked(stored["high"]), trial.digest.blocks.max_ns)
    assert np.array_equal(unpacked(stored["low"]), trial.digest.blocks.min_ns)
    places = np.cumsum(unpacked(stored["peak_step"]))
    peaks = unpacked(stored["peak"])
    assert len(places) == LONG_PEAKS
    assert np.array_equal(latency_ns[places], peaks)
    awake = np.sort(latency_ns[latency_ns != MISSED])
    assert np.array_equal(np.sort(peaks), awake[-LONG_PEAKS:])


def test_short_trials_are_kept_whole_before_long_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmjitter.report.html.view.FULL_ACTIVATIONS", 500)
    lengths = {"long": 400, "short": 100, "other": 300}
    trials = [
        TrialMaker(
            status=make_status(name, loops=count), latency_ns=np.full(count, 5_000, np.int64)
        )
        for name, count in lengths.items()
    ]
    seen = view_of(judge(read_run(make_run(tmp_path / "run", trials))))
    assert [trial.full for trial in seen.trials] == [False, True, True]


def test_heat_map_counts_every_wake_up(tmp_path: Path) -> None:
    latency_ns = latencies(5000, seed=6, worst_ns=4_000_000)
    trial = view(tmp_path, latency_ns).trials[0]
    counts = cell_counts(trial, upwards(1_000, 10_000_000, log=True))
    assert counts.sum() == np.count_nonzero(latency_ns != MISSED)
    worst_row = int(np.flatnonzero(counts.sum(axis=1))[0])
    column = int(np.flatnonzero(counts[worst_row])[0])
    assert column == int(np.argmax(latency_ns)) * counts.shape[1] // len(latency_ns)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=3000))
def test_exceedance_points_are_on_the_curve(values: list[int]) -> None:
    latency_ns = np.array(values, np.int64)
    edges, reaching = curve(histogram_of(latency_ns))
    for edge, count in zip(edges[:50], reaching[:50], strict=True):
        assert np.count_nonzero(latency_ns >= edge) == count
    assert edges[-1] == latency_ns.max()
    assert reaching[0] == len(latency_ns)


def test_projection_starts_at_the_rate_of_bursts_and_meets_its_levels(tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    latency_ns = (20_000 + random.exponential(3_000, 60_000)).astype(np.int64)
    tail = view(tmp_path, latency_ns).trials[0].result.analysis.tail
    assert tail.fit is not None
    fit = tail.fit
    start = burst_rate(tail, np.array([fit.chosen.threshold_ns], float))
    assert start[0] == pytest.approx(fit.clusters_per_activation)
    for level in tail.levels:
        if level.value_ns is not None:
            rate = burst_rate(tail, np.array([level.value_ns], float))[0]
            assert rate * level.horizon_ns / PERIOD_NS == pytest.approx(1, rel=0.01)


@given(st.integers(1, 10**11), st.integers(1, 5_000))
def test_bins_are_whole_bins_of_the_source(span_ns: int, resolution_ns: int) -> None:
    width = bin_width(span_ns, resolution_ns)
    assert width % resolution_ns == 0
    assert span_ns / width <= 281


def test_shift_of_quantiles(tmp_path: Path) -> None:
    one, ten = np.arange(1, 4001) * 1000, np.arange(1, 4001) * 100
    trials = [
        TrialMaker(status=make_status(name, loops=4000), latency_ns=latency_ns)
        for name, latency_ns in (("before", one), ("after", ten))
    ]
    run = make_run(tmp_path / "run", trials, pair=("before", "after"))
    seen = view_of(judge(read_run(run)))
    assert seen.pair is not None
    found = {one.label: (one.before_ns, one.after_ns) for one in shifts(*seen.pair)}
    assert found["p50"] == (2_000_000, 200_000)
    assert found["max"] == (4_000_000, 400_000)
    assert "p99.99" not in found


def test_loads_are_read_at_the_second_of_the_wake_up(tmp_path: Path) -> None:
    # The writer's synthetic rates are 998, 999, ... per second, so none is slow.
    calm = view(tmp_path / "calm", np.full(5000, 9_000, np.int64), loads=(make_load("shm"),))
    assert load_state(calm.trials[0], 1500) == "all 1 as usual"
    assert load_state(calm.trials[0], 999_999) == ""
    rising = view(
        tmp_path / "rising", np.full(5000, 9_000, np.int64), loads=(make_load("udp", rate=4),)
    )
    assert load_state(rising.trials[0], 500) == "udp (guest) 2 instead of 4"
    assert load_state(rising.trials[0], 3500) == "all 1 as usual"
    assert load_state(rising.trials[0], 4500) == "", "the last second was not over"


def test_settings_that_differ() -> None:
    differing, alike = compared(
        {"a": {"x": "1", "y": "p\nq"}, "b": {"x": "1", "y": "p\nr", "z": "new"}}
    )
    assert differing == {"y": ["q", "r"], "z": ["", "new"]}
    assert alike == {"x": "1", "y (common)": "p"}


def test_qemu_options_by_name() -> None:
    status = make_status(
        qemu_command=("qemu", "-m", "1G", "-device", "a", "-device", "b,c=1", "-nodefaults")
    )
    assert qemu_options(status) == {
        "qemu -m": "1G",
        "qemu -device": "a\nb,c=1",
        "qemu -nodefaults": "given",
    }


def test_guest_settings_leave_out_what_differs_by_chance(tmp_path: Path) -> None:
    seen = view(
        tmp_path,
        np.full(50, 9_000, np.int64),
        guest_facts={"kernel": "6.1", "ready_ns": "4868990860"},
        qemu_command=(
            *("taskset", "-c", "1", "/usr/bin/qemu-system-x86_64", "-netdev", "tap,fd=17"),
            *("-chardev", f"file,path={tmp_path}/run/trials/01-only/console.log"),
        ),
    )
    assert guest_settings_of(seen.trials[0]) == {
        "guest: kernel": "6.1",
        "qemu started by": "taskset -c 1",
        "qemu -netdev": "tap,fd=…",
        "qemu -chardev": "file,path=…/console.log",
    }


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12))
def test_ticks_lie_on_the_scale(low: float, span: float) -> None:
    scale = Scale(low=low, high=low + span, start=0, end=100)
    found = ticks(scale)
    assert 0 <= len(found) <= 8
    tolerance = (abs(low) + span) * 1e-9
    assert all(low - tolerance <= value <= low + span + tolerance for value in found)


@given(st.floats(1e-9, 1e9), st.floats(1.01, 1e9))
def test_logarithmic_ticks_lie_on_the_scale(low: float, ratio: float) -> None:
    scale = Scale(low=low, high=low * ratio, start=0, end=100, log=True)
    assert all(low * 0.999 <= value <= low * ratio * 1.001 for value in ticks(scale))


def test_scale_places_values() -> None:
    scale = Scale(low=1, high=100, start=0, end=10, log=True)
    assert scale.at(10) == pytest.approx(5)
    assert scale.at(0) == 0
    assert scale.at(1e9) == 10
    assert not scale.holds(101)


@pytest.mark.parametrize(
    ("value_ns", "words"),
    [
        (1_000_000, "1 ms"),
        (1_234_567, "1.234567 ms"),
        (500, "500 ns"),
        (0, "0 ns"),
        (10**10, "10 s"),
    ],
)
def test_settings_keep_their_digits(value_ns: int, words: str) -> None:
    assert setting(value_ns, space=" ") == words


def test_numbers_in_words() -> None:
    assert grouped(1234567) == "1\u202f234\u202f567"
    assert exact(None) == "\N{EN DASH}"
    assert exact(1500) == "1.50\N{NO-BREAK SPACE}µs"
    assert plain_number(0.5) == "0.5"
    assert power_label(1e-5) == "10⁻⁵"
    assert [power_label(value) for value in (1.0, 100.0, 1000.0, 2000.0)] == [
        "1",
        "100",
        "10³",
        "2000",
    ]
