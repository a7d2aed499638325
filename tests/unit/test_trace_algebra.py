"""Intervals, clocks, merging, lift: what the sums and the order rest on."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import tracemaker as make
from fakes.tracemaker import MS, US, TraceMaker
from fakes.tracescene import scene_of, windows_of
from vmjitter.trace.attribute import attribute, visible
from vmjitter.trace.causality import check
from vmjitter.trace.clock import ClockMap, guest_clock, wall_clock
from vmjitter.trace.events import Entry, Event, Other, Source
from vmjitter.trace.intervals import Interval, common, inside, total, union, without
from vmjitter.trace.lift import table
from vmjitter.trace.merge import merge
from vmjitter.trace.rules import RULES, UNEXPLAINED
from vmjitter.trace.spans import Spans
from vmjitter.trace.thread_states import Doing, State

RAW = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 15)).map(lambda p: (p[0], p[0] + p[1])),
    max_size=8,
)
SETS = RAW.map(union)


def points(intervals: list[Interval]) -> set[int]:
    return {point for start, end in intervals for point in range(start, end)}


@given(RAW)
def test_union_is_that_of_the_points(raw: list[Interval]) -> None:
    found = union(raw)
    assert points(found) == points(raw)
    assert all(a[1] < b[0] for a, b in pairwise(found))
    assert total(found) == len(points(raw))


@given(SETS, SETS)
def test_common_and_without_split_the_points(a: list[Interval], b: list[Interval]) -> None:
    assert points(common(a, b)) == points(a) & points(b)
    assert points(without(a, b)) == points(a) - points(b)
    assert total(common(a, b)) + total(without(a, b)) == total(a)


@given(SETS, st.integers(-5, 90))
def test_inside(intervals: list[Interval], point: int) -> None:
    assert inside(point, intervals) == (point in points(intervals))


@given(RAW, st.integers(0, 80), st.integers(1, 30))
def test_spans_within_a_window(raw: list[Interval], start: int, length: int) -> None:
    spans = Spans([State(*one, doing=Doing.GUEST) for one in sorted(raw)])
    window = (start, start + length)
    found = [(one.start, one.end) for one in spans.within(window)]
    assert found == [one for one in sorted(raw) if one[1] > window[0] and one[0] < window[1]]


EVENTS = st.lists(
    st.builds(
        Event,
        st.integers(0, 5),
        st.sampled_from(Source),
        st.integers(0, 10**6),
        st.integers(0, 3),
        st.integers(0, 3),
        st.just("x"),
        st.sampled_from([Entry(), Other("a")]),
    ),
    max_size=30,
    unique_by=lambda event: (event.source, event.order),
)


@given(EVENTS, st.integers(0, 10), st.randoms())
def test_merging_does_not_depend_on_the_order(
    events: list[Event], cut: int, shuffler: random.Random
) -> None:
    once = merge(events)
    again = list(events)
    shuffler.shuffle(again)
    assert merge(again[:cut], again[cut:]) == once
    assert merge(again[cut:], again[:cut]) == once
    assert [event.time_ns for event in once] == sorted(event.time_ns for event in events)


@given(
    st.integers(-(10**12), 10**12),
    st.integers(-1000, 1000),
    st.integers(0, 10**12),
)
def test_the_clock_is_exact_at_its_points_and_between_them(
    offset_ns: int, drift_ns: int, at: int
) -> None:
    clock = guest_clock([(0, offset_ns, 40), (10**12, offset_ns + drift_ns, 70)])
    assert clock is not None
    assert clock.bound_ns == 70
    assert clock.to_host(offset_ns) == 0
    assert clock.to_host(10**12 + offset_ns + drift_ns) == 10**12
    guest = at + offset_ns + drift_ns * at // 10**12
    assert abs(clock.to_host(guest) - at) <= 1
    assert abs(clock.to_host(clock.from_host(at)) - at) <= 2


def test_one_offset_is_a_shift_that_says_so() -> None:
    clock = guest_clock([(500, 1000, 7)])
    assert clock is not None
    assert clock.to_host(1501) == 501
    assert "drift is not seen" in clock.note
    assert guest_clock([]) is None


def test_a_wall_clock_that_was_set_is_noticed() -> None:
    assert wall_clock([]) is None
    steady = wall_clock([(10**18, 0), (10**18 + 10**9 + 400, 10**9)])
    assert steady is not None
    assert not steady.note
    moved = wall_clock([(10**18, 0), (10**18 + 2 * 10**9, 10**9)])
    assert moved is not None
    assert "was set" in moved.note
    assert moved.to_host(10**18) == 0


def test_times_before_the_first_point_go_on_straight() -> None:
    clock = ClockMap(points=((100, 0), (200, 100)), bound_ns=1)
    assert clock.to_host(50) == -50


def _disturbed(count: int = 30) -> TraceMaker:
    maker = TraceMaker()
    for number in range(count):
        maker.wakeup(**({"host": make.preempted(MS)} if number % 10 == 5 else {}))
    return maker


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_lines_does_not_matter(seed: int) -> None:
    """Files of several CPUs, put together in another order, have the same explanation."""
    maker = _disturbed()
    rules, _ = visible(scene_of(maker).names, host=True)

    def by_cpu(_name: str, lines: list[str]) -> list[str]:
        other = sorted(lines, key=lambda line: "[000]" in line)
        return other if seed % 2 else lines

    straight = scene_of(maker)
    turned = scene_of(maker, edit=by_cpu)
    for window in windows_of(maker):
        assert attribute(straight, window, rules) == attribute(turned, window, rules)


def test_an_offset_that_is_wrong_is_found() -> None:
    maker = _disturbed()
    ends = [window.end for window in windows_of(maker)]
    assert check(scene_of(maker), ends).holds
    wrong = check(scene_of(maker, offset_ns=make.OFFSET_NS + 400 * US), ends)
    assert wrong.known
    assert not wrong.holds
    assert wrong.worst_ns > 100 * US


def test_too_few_events_show_nothing() -> None:
    found = check(scene_of(TraceMaker()), [])
    assert found.holds
    assert not found.known
    assert "not checked" in found.text


def test_without_the_hosts_rules_only_the_guests_are_asked() -> None:
    rules, unseen = visible(scene_of(_disturbed()).names, host=False)
    assert {rule.cause for rule in rules} == {rule.cause for rule in RULES if not rule.crosses}
    assert all("not aligned" in one.why or "not recorded" in one.why for one in unseen)


def test_a_window_shorter_than_the_bound_is_not_explained() -> None:
    maker = _disturbed()
    scene = scene_of(maker)
    rules, _ = visible(scene.names, host=True)
    window = windows_of(maker)[5]._replace(latency_ns=scene.bound_ns - 1)
    one = attribute(scene, window, rules)
    assert [share.cause for share in one.shares] == [UNEXPLAINED]
    assert one.shares[0].ns == scene.bound_ns - 1


def test_lost_events_leave_a_hole_and_blame_nobody() -> None:
    maker = TraceMaker()
    maker.wakeup()
    planned, _ = maker.wakeup(host=make.preempted(5 * MS))
    maker.wakeup()

    def drop(name: str, lines: list[str]) -> list[str]:
        if name != "host.txt":
            return lines
        kept = [line for line in lines if "hog" not in line]
        place = next(i for i, line in enumerate(kept) if "EXTERNAL_INTERRUPT" in line)
        return [*kept[: place + 1], "CPU:1 [LOST 2 EVENTS]", *kept[place + 1 :]]

    scene = scene_of(maker, edit=drop)
    rules, _ = visible(scene.names, host=True)
    late = attribute(scene, windows_of(maker)[1], rules)
    assert late.window.start == planned
    assert [share.cause for share in late.shares] == [UNEXPLAINED]
    assert ("not recorded", 5 * MS + 2 * US) in late.shares[-1].details


def test_the_table_counts_and_compares() -> None:
    maker = _disturbed()
    scene = scene_of(maker)
    rules, _ = visible(scene.names, host=True)
    every = [attribute(scene, window, rules) for window in windows_of(maker)]
    late = [one for one in every if one.window.latency_ns > MS]
    ordinary = [one for one in every if one.window.latency_ns <= MS]
    rows = table(late, ordinary)
    assert [row.cause for row in rows] == ["preempted", UNEXPLAINED]
    assert (rows[0].spikes, rows[0].share, rows[0].ns) == (3, 1.0, 3 * MS)
    assert (rows[0].controls, rows[0].lift, rows[0].lift_at_least) == (0, None, 28.0)
    assert sum(row.ns for row in rows) == sum(one.window.latency_ns for one in late)
    assert rows[0].worst_activation == 5
    assert table([], [])[0].cause == UNEXPLAINED
