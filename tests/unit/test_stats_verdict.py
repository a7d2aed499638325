"""The verdict: the three outcomes, what each of them needs, and the words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmjitter.model.judge import Lack, Target
from vmjitter.stats.digest import Digest, digest_of, unordered
from vmjitter.stats.histogram import MISSED, Histogram, binned, histogram_of
from vmjitter.stats.verdict import Outcome, Verdict, judge
from vmjitter.stats.verdict_words import at_least, at_most, per_million, span_needed

MS = 1_000_000
DEADLINE = 5 * MS
NO_LACK: frozenset[Lack] = frozenset()


def target(rate: float | None = None, *, deadline_ns: int | None = DEADLINE) -> Target:
    return Target(deadline_ns=deadline_ns, max_misses_per_hour=rate)


def trial(count: int, *late: int, period_ns: int = MS) -> Digest:
    """Wake-ups of 20 us, at some places later than the deadline."""
    latency_ns = np.full(count, 20_000)
    latency_ns[list(late)] = 6 * MS
    return digest_of([latency_ns], period_ns=period_ns, activations=count, deadline_ns=DEADLINE)


def decide(
    digest: Digest,
    rate: float | None = None,
    *,
    lacks: frozenset[Lack] = NO_LACK,
    invalid: tuple[str, ...] = (),
) -> Verdict:
    return judge(digest, target(rate), lacks=lacks, invalid=invalid)


def test_too_short_names_the_further_time() -> None:
    found = decide(trial(240_000), 1)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.sentence == (
        "INCONCLUSIVE: too short to tell, at most 45 misses per hour with 95 % confidence, 1 is "
        "allowed; no miss of the deadline of 5.00 ms in 240 000 activations (4 min); 2.93 h more "
        "without a miss would be enough for a PASS."
    )
    assert found.share_upper == pytest.approx(1.25e-5, rel=0.01)
    assert found.further_ns == pytest.approx((2.9957 - 4 / 60) * 3600e9, rel=1e-4)
    assert found.reasons == ()


def test_three_hours_without_a_miss_show_one_per_hour() -> None:
    found = decide(trial(1_080_000, period_ns=10 * MS), 1)
    assert found.outcome is Outcome.PASS
    assert found.sentence == (
        "PASS: at most 0.999 misses per hour with 95 % confidence, 1 is allowed; no miss of the "
        "deadline of 5.00 ms in 1 080 000 activations (3 h)."
    )
    assert (found.misses, found.episodes, found.misses_per_hour) == (0, 0, 0)
    assert found.further_ns is None
    assert len(found.assumptions) == 6


def test_many_misses_fail() -> None:
    found = decide(trial(240_000, *range(1000, 240_000, 20_000)), 1)
    assert found.outcome is Outcome.FAIL
    assert found.sentence == (
        "FAIL: at least 103 misses per hour with 95 % confidence, 1 is allowed; 12 misses of the "
        "deadline of 5.00 ms, in 12 episodes, in 240 000 activations (4 min): 1 in 20 000."
    )


def test_a_burst_is_one_episode_and_widens_the_upper_limit() -> None:
    scattered = decide(trial(240_000, *range(0, 240_000, 24_000)), 1000)
    burst = decide(trial(240_000, *range(1000, 1010)), 1000)
    assert (scattered.misses, burst.misses) == (10, 10)
    assert (scattered.episodes, burst.episodes) == (10, 1)
    assert scattered.outcome is Outcome.PASS
    assert burst.outcome is Outcome.PASS
    assert scattered.misses_per_hour_upper == pytest.approx(16.96 * 15, rel=1e-3)
    assert burst.misses_per_hour_upper == pytest.approx(4.744 * 10 * 15, rel=1e-3)
    assert burst.episodes_per_hour_upper == pytest.approx(4.744 * 15, rel=1e-3)
    assert burst.episodes_per_hour_lower == pytest.approx(0.0513 * 15, rel=1e-3)


def test_a_trial_that_always_misses_fails_although_it_is_one_episode() -> None:
    found = decide(trial(240_000, *range(240_000)), 1)
    assert (found.outcome, found.episodes) == (Outcome.FAIL, 1)
    assert found.misses_per_hour_upper == 3_600_000
    assert found.sentence.endswith("(4 min): 100 %.")


def test_more_misses_than_allowed_may_still_be_chance() -> None:
    found = decide(trial(240_000, 5, 100_000), 10)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.misses_per_hour == 30
    assert "misses were seen more often than allowed" in found.reasons[0]
    assert "without another miss would be enough" in found.sentence


def test_without_a_rate_any_miss_fails() -> None:
    found = decide(trial(240_000, 77))
    assert found.outcome is Outcome.FAIL
    assert found.sentence == (
        "FAIL: 1 miss of the deadline of 5.00 ms, in 240 000 activations (4 min): 1 in 240 000; "
        "none is allowed."
    )


def test_without_a_rate_the_rate_that_was_shown_is_stated() -> None:
    found = decide(trial(240_000))
    assert found.outcome is Outcome.PASS
    assert found.sentence == (
        "PASS: no miss of the deadline of 5.00 ms in 240 000 activations (4 min); with 95 % "
        "confidence at most 12.5 misses per million activations and 45 misses per hour."
    )


def test_overruns_are_misses() -> None:
    latency_ns = np.full(10_000, 20_000)
    latency_ns[500:504] = MISSED
    digest = digest_of([latency_ns], period_ns=MS, activations=10_000, deadline_ns=DEADLINE)
    found = decide(digest)
    assert (found.outcome, found.misses, found.activations) == (Outcome.FAIL, 4, 10_000)


def test_without_a_deadline_nothing_is_judged() -> None:
    latency_ns = np.array([1, 2, MISSED, 4])
    digest = digest_of([latency_ns], period_ns=MS, activations=4)
    found = judge(digest, target(deadline_ns=None), lacks=NO_LACK, invalid=("bad",))
    assert found.outcome is Outcome.NONE
    assert found.sentence == (
        "NOT JUDGED: no deadline was given; 4 activations (4.00 ms), 1 overrun."
    )
    assert (found.share_lower, found.share_upper, found.misses_per_hour_upper) == (None,) * 3


@pytest.mark.parametrize("rate", [None, 1.0])
def test_an_invalid_measurement_is_no_evidence(rate: float | None) -> None:
    for late in ((), (7,)):
        found = decide(trial(1000, *late), rate, invalid=("page faults", "clock changed"))
        assert found.outcome is Outcome.INCONCLUSIVE
        assert found.sentence.startswith("INCONCLUSIVE: page faults; clock changed; ")
        assert found.further_ns is None


def test_nothing_recorded_is_no_pass() -> None:
    found = decide(trial(0))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "no activation was recorded" in found.sentence
    assert found.share_upper is None


def one_us(latency_us: list[int], **more: int) -> Histogram:
    """Bins of 1 us, as cyclictest has them."""
    return binned([(us * 1000, us * 1000 + 999, 1) for us in latency_us], min_ns=0, **more)


def test_bins_that_hold_the_deadline_are_possible_misses() -> None:
    digest = unordered(one_us([10, 5000], max_ns=DEADLINE), period_ns=MS)
    found = decide(digest)
    assert (found.outcome, found.misses, found.misses_possible) == (Outcome.INCONCLUSIVE, 0, 1)
    assert "1 wake-up may be late: the deadline lies within their bin" in found.sentence
    assert decide(unordered(one_us([10, 4999], max_ns=4_999_000), period_ns=MS)).outcome == "pass"
    assert decide(unordered(one_us([10, 5001], max_ns=5_001_000), period_ns=MS)).outcome == "fail"


def test_a_last_bin_before_the_deadline_tells_nothing() -> None:
    cut = one_us([10, 20], overflow=3, overflow_from_ns=1_000_000)
    found = decide(unordered(cut, period_ns=MS), lacks=frozenset({Lack.EXTREMES}))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "last bin of the source ends before the deadline and the maximum" in found.sentence


def test_missed_activations_that_are_not_told_forbid_a_pass_but_no_fail() -> None:
    lacks = frozenset({Lack.OVERRUNS})
    for rate in (None, 1e6):
        found = decide(trial(240_000), rate, lacks=lacks)
        assert found.outcome is Outcome.INCONCLUSIVE
        assert found.further_ns is None
        assert "does not tell missed activations" in found.sentence
    assert decide(trial(240_000, 7), lacks=lacks).outcome is Outcome.FAIL
    assert decide(trial(240_000, *range(0, 240_000, 200)), 1, lacks=lacks).outcome is Outcome.FAIL


def test_latencies_beyond_the_last_bin_that_are_not_told() -> None:
    lacks = frozenset({Lack.OVERFLOW})
    short = unordered(one_us([10], max_ns=10_000), period_ns=MS)
    assert decide(short, lacks=lacks).outcome is Outcome.PASS  # the maximum says it
    assert decide(short, lacks=lacks | {Lack.EXTREMES}).outcome is Outcome.INCONCLUSIVE
    late = decide(unordered(one_us([10, 10], max_ns=9 * MS), period_ns=MS), lacks=lacks)
    assert (late.outcome, late.misses) == (Outcome.FAIL, 1)  # the latest wake-up itself
    edge = unordered(one_us([10], max_ns=DEADLINE), period_ns=MS)
    assert decide(edge, lacks=lacks).outcome is Outcome.INCONCLUSIVE


def test_without_a_period_nothing_is_said_per_hour() -> None:
    lacks = frozenset({Lack.PERIOD})
    found = decide(trial(240_000), 1, lacks=lacks)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "the period is not known" in found.sentence
    assert (found.hours, found.misses_per_hour_upper, found.episodes_per_hour_upper) == (None,) * 3
    shown = decide(trial(240_000), lacks=lacks)
    assert shown.outcome is Outcome.PASS
    assert "per hour" not in shown.sentence
    assert shown.share_upper is not None


def test_without_an_order_misses_are_one_episode() -> None:
    ordered = trial(3_600_000, *range(0, 3_600_000, 900_000), period_ns=10 * MS)
    known = unordered(ordered.histogram, period_ns=10 * MS)
    for rate, with_order, without in ((1.0, "pass", "inconclusive"), (0.01, "fail", "fail")):
        assert decide(ordered, rate).outcome == with_order
        found = decide(known, rate)
        assert found.outcome == without
        assert found.episodes is None
        assert "the order of the wake-ups is not known" in found.reasons[0]
    assert decide(known, 1.0).further_ns == pytest.approx((4 * 4.7439 - 10) * 3600e9, rel=1e-3)


def test_the_histogram_counts_if_places_do_not_fit_it() -> None:
    whole = histogram_of(np.array([1, 6 * MS, 7 * MS, 8 * MS]))
    cut = digest_of([np.array([1, 6 * MS])], period_ns=MS, activations=2, deadline_ns=DEADLINE)
    found = decide(replace(cut, histogram=whole))
    assert (found.outcome, found.misses, found.activations) == (Outcome.FAIL, 3, 4)
    assert found.episodes is None


@given(
    count=st.integers(1, 40),
    late=st.sets(st.integers(0, 39), max_size=4),
    rate=st.floats(1.0, 1e5),
    percent=st.sampled_from([90.0, 95.0, 99.0]),
)
@settings(max_examples=50, deadline=None)
def test_the_further_time_is_just_enough(
    count: int, late: set[int], rate: float, percent: float
) -> None:
    places = [place for place in late if place < count]
    wanted = Target(deadline_ns=DEADLINE, max_misses_per_hour=rate, confidence_percent=percent)

    def after(more: int) -> Verdict:
        latency_ns = np.full(count, 20_000)
        latency_ns[places] = 6 * MS
        histogram = histogram_of(latency_ns)
        longer = binned(
            [(20_000, 20_000, count - len(places) + more), (6 * MS, 6 * MS, len(places))],
            min_ns=histogram.min_ns or 0,
            max_ns=histogram.max_ns or 0,
        )
        return judge(unordered(longer, period_ns=MS), wanted, lacks=NO_LACK, invalid=())

    found = after(0)
    if found.further_ns is None:
        assert found.outcome is not Outcome.INCONCLUSIVE
        return
    more = found.further_ns // MS
    assert found.further_ns == more * MS
    assert after(more).outcome is Outcome.PASS
    assert more == 1 or after(more - 1).outcome is not Outcome.PASS


@given(
    count=st.integers(1, 3000),
    late=st.sets(st.integers(0, 2999), max_size=60),
    rate=st.none() | st.floats(0.001, 1e7),
)
@settings(max_examples=50, deadline=None)
def test_what_holds_for_every_verdict(count: int, late: set[int], rate: float | None) -> None:
    found = decide(trial(count, *(place for place in late if place < count)), rate)
    assert found == decide(trial(count, *(place for place in late if place < count)), rate)
    assert found.sentence.startswith(f"{found.outcome.value.upper()}: ")
    assert found.sentence.endswith(".")
    assert f"{count:,} activation".replace(",", " ") in found.sentence
    assert found.share_lower is not None
    assert found.share_upper is not None
    assert found.share_lower <= found.misses / count <= found.share_upper
    low, seen, high = (
        found.misses_per_hour_lower,
        found.misses_per_hour,
        found.misses_per_hour_upper,
    )
    assert low is not None
    assert seen is not None
    assert high is not None
    assert low <= seen <= high * (1 + 1e-9)
    if rate is not None:
        assert (found.outcome is Outcome.FAIL) == (low > rate)
        assert (found.outcome is Outcome.PASS) == (high <= rate)


def test_limits_are_rounded_away_from_what_was_seen() -> None:
    assert (at_most(44.936), at_least(44.936)) == ("45", "44.9")
    assert (at_most(1.0), at_least(1.0), at_most(0.3), at_least(0.3)) == ("1", "1", "0.3", "0.3")
    assert (at_most(12_341.0), at_least(12_341.0)) == ("12 400", "12 300")
    assert per_million(2.5e-6) == "2.5 misses per million activations"
    assert per_million(0.0123) == "1.23 % of the activations missed"
    assert [span_needed(ns) for ns in (1500, 90 * 10**9, 10_784_637 * MS, 200_000 * 10**9)] == [
        "1.5e-06 s",
        "1.5 min",
        "3 h",
        "2.32 d",
    ]
