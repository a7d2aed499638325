"""The proof that loads ran, from their counters per second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vmjitter.effects.scratch import anonymous_memory
from vmjitter.guest import layout
from vmjitter.guest.shm import SHM_BYTES, SharedMemory
from vmjitter.loads.progress import Counted, LoadMonitor, judge_load

S = 1_000_000_000


def _counted(history: list[int], start_ns: int = 100 * S) -> Counted:
    return Counted(
        name="x",
        side="guest",
        unit="u",
        rate=10,
        start_ns=start_ns,
        history=tuple(history),
        errors=0,
        state="running",
        message="",
    )


def test_only_whole_seconds_inside_the_phase_count() -> None:
    counted = _counted([1, 10, 20, 30, 5])
    result = judge_load(counted, 100 * S + S // 2, 103 * S + S // 2)
    assert (result.ops, result.seconds, result.min_per_s) == (30, 2, 10)
    exact = judge_load(counted, 101 * S, 104 * S)
    assert (exact.ops, exact.seconds) == (60, 3)


def test_a_phase_too_short_for_a_second_counts_those_it_touches() -> None:
    result = judge_load(_counted([1, 10, 20]), 101 * S + 1, 101 * S + 500)
    assert (result.ops, result.seconds) == (10, 1)
    running = judge_load(_counted([7]), 100 * S + 1, 100 * S + 500)
    assert (running.ops, running.seconds) == (7, 1)


def test_a_load_that_stopped_counting_stood_still() -> None:
    killed = judge_load(_counted([5, 5, 2]), 100 * S, 108 * S)
    assert (killed.ops, killed.seconds, killed.longest_stall_s) == (12, 8, 5)


def test_the_longest_stall_is_found() -> None:
    result = judge_load(_counted([5, 0, 0, 5, 0, 0, 0, 5, 5]), 100 * S, 109 * S)
    assert result.longest_stall_s == 3
    assert result.min_per_s == 0


@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=20),
    st.integers(0, 25 * S),
    st.integers(0, 25 * S),
)
def test_never_more_than_was_counted(history: list[int], begin: int, length: int) -> None:
    result = judge_load(_counted(history), 100 * S + begin, 100 * S + begin + length)
    assert 0 <= result.ops <= sum(history)
    assert result.longest_stall_s <= max(result.seconds, 0)


def test_the_monitor_follows_a_history_longer_than_its_ring() -> None:
    with anonymous_memory(SHM_BYTES) as fd, SharedMemory(fd) as shm:
        monitor = LoadMonitor(shm)
        monitor.add(3, "sem", "guest")
        slot = shm.loads[3]
        slot.state = layout.RUN_RUNNING
        assert monitor.waiting_for() == "sem (running)"
        for second in range(layout.LOAD_HISTORY + 10):
            slot.history[second % layout.LOAD_HISTORY] = second + 1
            slot.second = second
            slot.ops += 1
            if second % 1000 == 0:
                monitor.poll()
        (counted,) = monitor.snapshot()
        assert counted.history == tuple(range(1, layout.LOAD_HISTORY + 11))
        assert monitor.waiting_for() == ""
        slot.state = layout.RUN_FAILED
        slot.message = b"/mnt: No space left on device"
        assert monitor.failed() == "sem: /mnt: No space left on device"
        del slot
