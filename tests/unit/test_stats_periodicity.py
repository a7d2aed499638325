"""Periodic disturbers: found where they are, with the right period and phase, and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from vmjitter.stats.digest import PEAKS, Digest, digest_of, unordered
from vmjitter.stats.histogram import MISSED, histogram_of
from vmjitter.stats.periodicity import (
    FALSE_ALARM,
    SIGHTINGS,
    Period,
    Periodicity,
    format_period,
    periods,
)
from vmjitter.units import NS_PER_MS, NS_PER_S

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]


def usual(rng: np.random.Generator, size: int) -> Floats:
    """Wake-ups with a body and with late ones at random, one of 500."""
    body = 20_000 + rng.gamma(2, 1500, size)
    return body + (rng.random(size) < 0.002) * rng.exponential(20_000, size)


def disturb(
    latency_ns: Floats,
    *,
    every_ns: float,
    lasts_ns: float,
    first_ns: float = 0.0,
    delay_ns: tuple[float, float] = (80_000, 200_000),
    period_ns: int = NS_PER_MS,
    seed: int = 0,
) -> None:
    """Delay the wake-ups that fall into a disturbance, as a disturber would."""
    rng = np.random.default_rng(seed)
    begin = first_ns + every_ns * np.arange(int(len(latency_ns) * period_ns / every_ns) + 1)
    hit = np.ceil(begin / period_ns).astype(np.int64)
    met = (hit * period_ns - begin < lasts_ns) & (hit < len(latency_ns))
    latency_ns[hit[met]] += rng.uniform(*delay_ns, int(met.sum()))


def digest(latency_ns: Floats | Int64s, period_ns: int = NS_PER_MS) -> Digest:
    values = latency_ns.astype(np.int64)
    return digest_of([values], period_ns=period_ns, activations=len(values))


def look(
    latency_ns: Floats | Int64s,
    period_ns: int = NS_PER_MS,
    known: tuple[tuple[str, int], ...] = (),
) -> Periodicity:
    found = periods(digest(latency_ns, period_ns), known=known)
    assert found is not None
    return found


def only(result: Periodicity) -> Period:
    assert len(result.found) == 1, result.findings
    return result.found[0]


def test_a_disturber_every_ten_seconds() -> None:
    series = usual(np.random.default_rng(1), 240_000)
    disturb(series, every_ns=10e9, lasts_ns=2e6, first_ns=3.2e9)
    result = look(series)
    one = only(result)
    assert one.period_ns == pytest.approx(10e9, abs=one.uncertainty_ns)
    assert one.uncertainty_ns < 1e6
    assert one.phase_ns == pytest.approx(3.2e9, abs=1e6)
    assert one.cycles == 24
    assert one.occurrences >= 20
    assert one.strength > 0.9
    assert one.p_value < 1e-30
    assert one.spikes >= one.occurrences
    assert one.max_ns == int(series[3_200::10_000].max())
    assert one.matches == ("khugepaged",)
    assert one.aliases_ns == ()  # a disturber every 1.0001 ms would have to last longer
    assert result.findings[0].startswith("every 10 s (±")
    assert "first after 3.2 s" in result.findings[0]
    assert "known disturbers: khugepaged" in result.findings[0]
    assert result.findings[1].startswith("no further period")


def test_one_that_is_seen_through_aliasing() -> None:
    """100 ms, probed every 60 ms: only each third occurrence falls on a wake-up, 300 ms apart."""
    series = usual(np.random.default_rng(2), 20_000)
    disturb(series, every_ns=100e6, lasts_ns=2e6, period_ns=60 * NS_PER_MS)
    one = only(look(series, 60 * NS_PER_MS))
    assert one.period_ns == pytest.approx(300e6, rel=1e-5)
    assert min(abs(alias - 100e6) for alias in one.aliases_ns) < 1e3
    assert "CPU bandwidth control (CFS quota), if it is the alias 100 ms" in one.matches


def test_one_that_is_faster_than_the_probe() -> None:
    """A tick of 999.9 us, probed every millisecond, comes and goes every 10 s."""
    series = usual(np.random.default_rng(3), 240_000)
    disturb(series, every_ns=999_900, lasts_ns=200_000)
    result = look(series)
    one = only(result)
    assert one.period_ns == pytest.approx(9.999e9, rel=2e-3)
    assert min(abs(alias - 999_900) for alias in one.aliases_ns) < 1
    assert "timer tick of a kernel with HZ=1000, if it is the alias 999.9 µs" in one.matches
    assert "to a probe every 1 ms it looks the same as 1.0001 ms, 999.9 µs" in result.findings[0]


def test_a_second_trial_with_another_period_tells_aliases_apart() -> None:
    first = usual(np.random.default_rng(4), 100_000)
    disturb(first, every_ns=1_333_333, lasts_ns=150_000)
    other = usual(np.random.default_rng(5), 100_000)
    disturb(other, every_ns=1_333_333, lasts_ns=150_000, period_ns=1_013_000)
    seen = [only(look(first)), only(look(other, 1_013_000))]
    every = [{one.period_ns, *one.aliases_ns} for one in seen]
    shared = [a for a in every[0] for b in every[1] if abs(a / b - 1) < 1e-4]
    assert len(shared) == 1
    assert shared[0] == pytest.approx(1_333_333, rel=1e-4)


@pytest.mark.parametrize(
    ("every_ns", "lasts_ns", "delay_ns", "name"),
    [
        (4e6, 2e5, (3_000.0, 4_000.0), "timer tick of a kernel with HZ=250"),
        (100e6, 2e6, (80_000.0, 200_000.0), "CPU bandwidth control (CFS quota)"),
        (1.004e9, 2e6, (40_000.0, 60_000.0), "vmstat_update"),
        (30.003e9, 2e6, (200_000.0, 300_000.0), "btrfs commit"),
    ],
)
def test_known_periods_get_their_names(
    every_ns: float, lasts_ns: float, delay_ns: tuple[float, float], name: str
) -> None:
    series = usual(np.random.default_rng(6), 240_000)
    disturb(series, every_ns=every_ns, lasts_ns=lasts_ns, first_ns=0.9e6, delay_ns=delay_ns)
    one = only(look(series))
    assert one.period_ns == pytest.approx(every_ns, abs=one.uncertainty_ns)
    assert name in one.matches


def test_a_period_of_nobody_is_said_to_be_one() -> None:
    series = usual(np.random.default_rng(7), 240_000)
    disturb(series, every_ns=7e9, lasts_ns=2e6)
    result = look(series)
    assert only(result).matches == ()
    assert "known disturbers: none has this period" in result.findings[0]


def test_the_loads_of_the_trial_are_known() -> None:
    series = usual(np.random.default_rng(8), 60_000)
    disturb(series, every_ns=125.2e6, lasts_ns=1e6)
    known = (("load timer", 8 * NS_PER_MS), ("load disk-sync", 125 * NS_PER_MS))
    assert only(look(series, known=known)).matches == ("load disk-sync",)


def test_a_period_that_is_not_a_whole_number_of_activations() -> None:
    """Most of its occurrences fall between two wake-ups and are not seen."""
    series = usual(np.random.default_rng(9), 240_000)
    disturb(series, every_ns=100.3e6, lasts_ns=2e5)
    one = only(look(series))
    assert one.period_ns == pytest.approx(100.3e6, abs=one.uncertainty_ns)
    assert one.occurrences < one.cycles / 3
    assert one.strength > 0.8


@pytest.mark.parametrize("seed", range(2))
def test_two_disturbers_of_which_one_is_a_multiple_of_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    series = usual(rng, 240_000)
    disturb(series, every_ns=10e9, lasts_ns=2e6, first_ns=3.2e9)
    disturb(series, every_ns=1e9, lasts_ns=2e6, first_ns=0.7e9, delay_ns=(30_000, 40_000))
    found = sorted(look(series).found, key=lambda one: one.period_ns)
    assert [round(one.period_ns / 1e6) for one in found] == [1000, 10_000]
    assert found[0].phase_ns == pytest.approx(0.7e9, abs=1e6)
    assert found[1].phase_ns == pytest.approx(3.2e9, abs=1e6)


@pytest.mark.parametrize("seed", [9005, 9009])
def test_what_a_frequent_disturber_leaves_is_no_second_one(seed: int) -> None:
    """A tick in one wake-up of four: taken out, neither gap nor rest may look like another one."""
    series = usual(np.random.default_rng(seed), 240_000)
    disturb(series, every_ns=4e6, lasts_ns=2e5, delay_ns=(1_500.0, 2_500.0), seed=seed - 9000)
    assert only(look(series)).period_ns == pytest.approx(4e6, rel=1e-6)


def test_a_disturber_whose_clock_wanders_has_no_phase() -> None:
    rng = np.random.default_rng(10)
    series = usual(rng, 240_000)
    place = np.cumsum(rng.normal(50.0, 0.8, 4700)).astype(np.int64)
    series[place[place < 240_000]] += 100_000
    result = look(series)
    slowest = min(result.found, key=lambda one: one.p_value)
    assert slowest.period_ns == pytest.approx(50e6, rel=0.02)
    assert slowest.phase_ns is None
    assert "its phase wanders" in result.findings[0]


def test_jitter_and_failing_occurrences_do_not_hide_a_period() -> None:
    """Every 2 s give or take 5 ms, a third of the times not at all: found in each of 6 trials."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        series = usual(rng, 60_000)
        place = np.rint(500 + 2000 * np.arange(30) + rng.normal(0, 5, 30)).astype(np.int64)
        series[place[rng.random(30) < 0.67]] += rng.uniform(80_000, 200_000)
        one = only(look(series))
        assert one.period_ns == pytest.approx(2e9, rel=3e-3)


def test_the_longest_visible_period_is_visible() -> None:
    """`SIGHTINGS` occurrences, later than all else, are enough; so are they in a long trial."""
    for size in (10_000, 240_000):
        series = usual(np.random.default_rng(11), size)
        result = look(series)
        longest_ns = result.longest_visible_ns
        assert longest_ns == size // SIGHTINGS * NS_PER_MS
        disturb(series, every_ns=longest_ns, lasts_ns=1e6, delay_ns=(400_000, 500_000))
        assert only(look(series)).period_ns == pytest.approx(longest_ns, rel=1e-3)


def white(rng: np.random.Generator, size: int) -> Floats:
    return rng.normal(20_000, 3_000, size)


def flicker(rng: np.random.Generator, size: int) -> Floats:
    """Late wake-ups whose rate is 1/f noise: long quiet times and long bad ones."""
    frequency = np.fft.rfftfreq(size)
    frequency[0] = 1
    line = rng.normal(size=len(frequency)) + 1j * rng.normal(size=len(frequency))
    noise = np.fft.irfft(line / np.sqrt(frequency), size)
    rate = 0.002 * np.exp(2 * noise / noise.std())
    late = (rng.random(size) < rate) * rng.exponential(50_000, size)
    series: Floats = 20_000 + rng.gamma(2, 1500, size) + late
    return series


def stalls(rng: np.random.Generator, size: int) -> Floats:
    """After a stall the next wake-ups are late as well, less and less."""
    series = usual(rng, size)
    for place in rng.integers(0, size - 50, size // 500):
        length = int(rng.integers(5, 50))
        series[place : place + length] += np.linspace(200_000, 0, length)
    return series


def coarse(rng: np.random.Generator, size: int) -> Floats:
    """Whole microseconds, as several tools give them: many equal latencies."""
    whole: Floats = np.floor(usual(rng, size) / 1000) * 1000
    return whole


Maker = Callable[[np.random.Generator, int], Floats]


@pytest.mark.parametrize("make", [white, usual, flicker, stalls, coarse])
def test_false_alarms_are_rare(make: Maker) -> None:
    """At most one of a hundred trials without a period shows one; here 20 of each kind."""
    alarms = 0
    for seed in range(20):
        alarms += bool(look(make(np.random.default_rng(1000 + seed), 5_000)).found)
    assert alarms <= binom.ppf(0.999, 20, FALSE_ALARM)


def test_nothing_is_found_in_a_long_trial_without_periods() -> None:
    result = look(stalls(np.random.default_rng(13), 240_000))
    assert result.found == ()
    assert result.findings == (
        "no period among the latest wake-ups; this trial could show periods from 2 ms to 48 s",
    )


def test_missed_activations_are_no_spikes_of_their_own() -> None:
    rng = np.random.default_rng(14)
    series = usual(rng, 60_000).astype(np.int64)
    for place in rng.integers(0, 59_900, 60):
        series[place : place + 50] = MISSED
        series[place - 1] = 50_500_000
    assert look(series).found == ()


def test_a_trial_of_a_hundred_million_activations() -> None:
    """The digest is all that is needed: 28 h at 1 ms, of which the latest wake-ups are known."""
    span = 100_000_000
    rng = np.random.default_rng(15)
    index = np.sort(rng.choice(span, PEAKS, replace=False))
    latency_ns = np.sort(rng.integers(100_000, 300_000, PEAKS))[rng.permutation(PEAKS)]
    every_64_s = np.arange(1234, span, 64_000)[::3]
    place = np.searchsorted(index, every_64_s)
    index = np.unique(np.concatenate([np.delete(index, place % PEAKS), every_64_s]))
    latency_ns = latency_ns[: len(index)]
    latency_ns[np.searchsorted(index, every_64_s)] += 150_000
    small = digest(usual(rng, 1000))
    fields = {name: getattr(small, name) for name in small.__dataclass_fields__}
    fields |= {"activations": span, "peak_index": index, "peak_ns": latency_ns}
    begin = time.process_time()
    result = periods(Digest(**fields))
    assert time.process_time() - begin < 5
    assert result is not None
    one = only(result)
    assert one.period_ns == pytest.approx(192e9, rel=1e-6)
    assert result.longest_visible_ns == span // SIGHTINGS * NS_PER_MS


def test_without_order_or_period_nothing_is_said() -> None:
    assert periods(unordered(histogram_of(np.arange(1000)), period_ns=NS_PER_MS)) is None
    assert periods(digest(np.arange(1000), period_ns=0)) is None


@pytest.mark.parametrize("size", [0, 1, 63, 64, 200])
def test_short_trials_find_nothing_and_say_so(size: int) -> None:
    result = look(np.arange(size))
    assert result.found == ()
    too_short = size // SIGHTINGS <= 2
    assert ("too short" in result.findings[0]) == too_short


def test_equal_latencies_have_no_period() -> None:
    assert look(np.full(5000, 12_345)).found == ()


def test_the_same_trial_gives_the_same_periods() -> None:
    series = usual(np.random.default_rng(16), 60_000)
    disturb(series, every_ns=100.3e6, lasts_ns=2e5)
    disturb(series, every_ns=2e9, lasts_ns=2e6, first_ns=0.5e9)
    assert look(series) == look(series.copy())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.integers(-5_000, 90_000), st.just(MISSED), st.just(7)), max_size=300),
    st.sampled_from([1, 1000, NS_PER_MS, NS_PER_S]),
)
def test_any_trial_has_an_answer(values: list[int], period_ns: int) -> None:
    result = look(np.array(values, np.int64), period_ns)
    assert result.findings
    for one in result.found:
        assert 2 * period_ns * 0.99 <= one.period_ns
        assert 0 <= one.strength <= 1
        assert 0 < one.p_value <= FALSE_ALARM
        assert one.occurrences <= one.cycles
        assert all(alias < one.period_ns for alias in one.aliases_ns)


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [
        (999_900.0, "999.9 µs"),
        (1_000_100.0, "1.0001 ms"),
        (999_999_999.9, "1 s"),
        (1e10, "10 s"),
        (12.5, "12.5 ns"),
        (0.0, "0 ns"),
    ],
)
def test_periods_are_shown_with_the_digits_that_matter(value_ns: float, text: str) -> None:
    assert format_period(value_ns) == text
