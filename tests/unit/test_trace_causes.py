"""A built trace of each cause is attributed to that cause, with its exact time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import tracemaker as make
from fakes.tracemaker import MS, US, Disturb, TraceMaker
from fakes.tracescene import scene_of, windows_of
from vmjitter.trace.attribute import Attribution, attribute, visible
from vmjitter.trace.causality import check
from vmjitter.trace.rules import RULES, UNEXPLAINED

PLACES: dict[str, tuple[str, Disturb]] = {
    "preempted": ("host", make.preempted(2 * MS)),
    "run-queue": ("queue", make.queued(700 * US)),
    "timer-late": ("timer", make.timer_late(600 * US)),
    "idle-exit": ("timer", make.idle_exit(300 * US)),
    "host-irq": ("host", make.host_irq(250 * US)),
    "host-softirq": ("host", make.host_irq(250 * US, softirq=True)),
    "kvm-exit": ("host", make.kvm_exit(120 * US)),
    "page-fault": ("host", make.kvm_exit(120 * US, "EPT_VIOLATION")),
    "device-emulation": ("host", make.emulated(450 * US)),
    "lock-wait": ("host", make.lock_wait(900 * US)),
    "disk": ("host", make.lock_wait(8 * MS, {"state": "D"})),
    "starved": ("host", make.lock_wait(3 * MS, {"state": "R"})),
    "swap": ("host", make.swapped(5 * MS)),
    "guest-irq-off": ("irq", make.guest_irqs_off(1 * MS)),
    "guest-irq": ("irq", make.guest_served(400 * US, softirq=False)),
    "guest-softirq": ("task", make.guest_served(400 * US, softirq=True)),
    "guest-task": ("task", make.guest_task(800 * US)),
    "below": ("host", make.stands_still(500 * US)),
    "own-action": ("host", make.own_action(300 * US)),
    "qemu-work": ("host", make.kicked(200 * US)),
}
TOOK = {
    "preempted": 2 * MS, "run-queue": 700 * US, "idle-exit": 300 * US, "host-irq": 250 * US,
    "host-softirq": 250 * US, "kvm-exit": 120 * US, "page-fault": 120 * US,
    "device-emulation": 450 * US, "lock-wait": 900 * US, "disk": 8 * MS, "starved": 3 * MS,
    "swap": 5 * MS, "guest-softirq": 400 * US, "guest-task": 800 * US, "own-action": 300 * US,
    "qemu-work": 200 * US, "timer-late": 600 * US, "guest-irq-off": MS, "guest-irq": 400 * US,
    "below": 500 * US,
}  # fmt: skip
SLACK_NS = 6 * US
"""Steps around a disturbance that are of the same kind, a few microseconds long."""


def explained(maker: TraceMaker) -> list[Attribution]:
    scene = scene_of(maker)
    rules, unseen = visible(scene.names, host=True)
    assert not unseen
    return [attribute(scene, window, rules) for window in windows_of(maker)]


def three(place: str, disturb: Disturb) -> TraceMaker:
    """An ordinary wake-up, a disturbed one, and an ordinary one."""
    maker = TraceMaker()
    maker.wakeup()
    maker.wakeup(**{place: disturb})
    maker.wakeup()
    return maker


def test_there_is_a_trace_for_every_cause_but_the_overrun() -> None:
    assert set(PLACES) == {rule.cause for rule in RULES} - {"overrun"}


@pytest.mark.parametrize("cause", PLACES)
def test_each_cause_is_found_with_its_time(cause: str) -> None:
    before, late, after = explained(three(*PLACES[cause]))
    assert [share.cause for share in late.shares] == [cause, UNEXPLAINED]
    assert TOOK[cause] <= late.of(cause) + SLACK_NS
    assert late.of(cause) <= TOOK[cause] + SLACK_NS
    assert [share.cause for share in before.shares] == [UNEXPLAINED]
    assert [share.cause for share in after.shares] == [UNEXPLAINED]


def test_an_interrupts_ordinary_way_is_not_blamed_on_the_guest() -> None:
    _, late, _ = explained(three("irq", make.guest_irqs_off(14 * US)))
    assert [share.cause for share in late.shares] == [UNEXPLAINED]


def test_an_interrupt_that_kvm_could_not_hand_over_was_there_all_the_same() -> None:
    _, late, _ = explained(three("kvm", make.handed_over_late(MS)))
    assert late.main.cause == "guest-irq-off"
    assert abs(late.of("guest-irq-off") - MS) <= SLACK_NS


@pytest.mark.parametrize("moved", [0, 1])
def test_a_guest_that_was_entered_and_left_at_once_has_not_run(moved: int) -> None:
    """A storm of interrupts: KVM enters the guest, and each time the next one is there already."""

    def storm(maker: TraceMaker, at: int) -> int:
        for _ in range(40):
            maker.host(at + US, "kvm_entry", "vcpu 0, rip 0x81000000")
            rip = 0x81000000 + moved
            maker.host(at + 7 * US, "kvm_exit", f"vcpu 0 reason EXTERNAL_INTERRUPT rip 0x{rip:x}")
            at += 10 * US
        return at

    _, late, _ = explained(three("kvm", storm))
    assert late.main.cause == ("guest-irq-off" if moved else "kvm-exit")


@pytest.mark.parametrize(
    ("cause", "detail"),
    [
        ("preempted", "by hog (4711), real-time 50"),
        ("run-queue", "by hog (4711), real-time 50"),
        ("host-irq", "eth0-rx-0"),
        ("kvm-exit", "CPUID"),
        ("device-emulation", "IDE, primary, write at 0x1f7"),
        (
            "lock-wait",
            (
                "the big lock; holder: main loop (qemu-system-x86, 100), "
                "taken at softmmu/main-loop.c:297"
            ),
        ),
        (
            "disk",
            "main loop (qemu-system-x86, 100) held QEMU's lock and waited for disk 8,0 (FWS)",
        ),
        (
            "starved",
            "main loop (qemu-system-x86, 100) held QEMU's lock; its CPU ran nightly (900)",
        ),
        ("swap", "a page of the guest was read from disk 8,0 (R)"),
        ("guest-irq-off", "an interrupt was there, but was not taken; in the idle task"),
        ("guest-task", "watchdogd (55), real-time 98, above the probe"),
        ("timer-late", "apic_timer_fn came late"),
        ("qemu-work", 'a monitor command: {"execute": "query-stats"}'),
    ],
)
def test_who_and_what_is_named(cause: str, detail: str) -> None:
    _, late, _ = explained(three(*PLACES[cause]))
    assert late.main.details[0][0] == detail


def test_two_at_once_are_told_apart() -> None:
    disturb = make.both(make.preempted(2 * MS), make.emulated(MS))
    _, late, _ = explained(three("host", disturb))
    assert late.of("preempted") == 2 * MS
    assert late.of("device-emulation") == MS


def test_many_short_accesses_count_together() -> None:
    access = make.emulated(8 * US)
    several: Disturb = access
    for _ in range(49):
        several = make.both(several, access)
    _, late, _ = explained(three("host", several))
    assert late.main.cause == "device-emulation"
    assert late.of("device-emulation") == 50 * 8 * US


def test_the_device_is_named_by_qemu_where_it_was_asked() -> None:
    _, late, _ = explained(three("host", make.emulated(450 * US, named=True)))
    assert late.main.details[0][0] == "ide, write at 0x1f7"


def test_a_task_of_low_priority_did_not_let_go() -> None:
    _, late, _ = explained(three("task", make.guest_task(800 * US, prio=120)))
    assert late.main.details[0][0].endswith("nice 0, did not let go: preemption off")


def test_undisturbed_runs_have_no_cause() -> None:
    maker = TraceMaker()
    for _ in range(200):
        maker.wakeup()
    for one in explained(maker):
        assert [share.cause for share in one.shares] == [UNEXPLAINED]


def test_the_alignment_of_a_built_trace_holds() -> None:
    maker = TraceMaker()
    for _ in range(20):
        maker.wakeup(host=make.preempted(MS))
    scene = scene_of(maker)
    found = check(scene, [window.end for window in windows_of(maker)])
    assert found.holds
    assert found.outside == 0
    assert found.checked > 100


_DISTURBANCES = st.sampled_from(sorted(PLACES.items()))


@settings(max_examples=40, deadline=None)
@given(st.lists(_DISTURBANCES, min_size=1, max_size=6), st.integers(0, 20_000_000))
def test_whatever_happens_the_parts_sum_to_the_latency(
    disturbed: list[tuple[str, tuple[str, Disturb]]], shift_ns: int
) -> None:
    maker = TraceMaker()
    for _, (place, disturb) in disturbed:
        maker.wakeup(**{place: disturb})
    scene = scene_of(maker)
    rules, _ = visible(scene.names, host=True)
    for window in windows_of(maker):
        for moved in (window, window._replace(start=window.start + shift_ns)):
            one = attribute(scene, moved, rules)
            assert sum(share.ns for share in one.shares) == window.latency_ns
            assert all(share.ns >= 0 for share in one.shares)
            pieces = sorted((p.start, p.end) for share in one.shares for p in share.pieces)
            assert pieces[0][0] == moved.start
            assert pieces[-1][1] == moved.end
            assert all(a[1] == b[0] for a, b in pairwise(pieces))


@settings(max_examples=30, deadline=None)
@given(st.lists(_DISTURBANCES, min_size=1, max_size=5))
def test_each_of_several_is_found(disturbed: list[tuple[str, tuple[str, Disturb]]]) -> None:
    maker = TraceMaker()
    maker.wakeup()  # what came before the first event is not known
    for _, (place, disturb) in disturbed:
        maker.wakeup(**{place: disturb})
    for (cause, _), one in zip(disturbed, explained(maker)[1:], strict=True):
        assert one.main.cause == cause


def test_work_that_is_interrupted_stays_that_of_the_same_register() -> None:
    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at, "kvm_exit", "vcpu 0 reason IO_INSTRUCTION rip 0x1 info1 0x1f70000")
        maker.host(at + US, "kvm_pio", "pio_write at 0x1f7 size 1 count 1 val 0x20 ")
        maker.host(at + 2 * US, "kvm_userspace_exit", "reason KVM_EXIT_IO (2)")
        maker.switch(at + 32 * US, make.VCPU_TASK, "R", make.HOG_TASK)
        maker.switch(at + 132 * US, make.HOG_TASK, "S", make.VCPU_TASK)
        maker.host(at + 182 * US, "kvm_entry", "vcpu 0, rip 0x1")
        return at + 182 * US

    _, late, _ = explained(three("host", write))
    shares = {share.cause: share for share in late.shares}
    assert shares["preempted"].ns == 100 * US
    assert shares["device-emulation"].details == (("IDE, primary, write at 0x1f7", 80 * US),)


def test_an_access_to_a_register_is_no_page_fault() -> None:
    def write(maker: TraceMaker, at: int) -> int:
        maker.host(at, "kvm_exit", "vcpu 0 reason EPT_VIOLATION rip 0x1 info1 0x182")
        where = "address 0x00000000febc00d0 error_code 0x182"
        maker.host(at + US, "kvm_page_fault", f"vcpu 0 rip 0x1 {where}")
        maker.switch(at + 11 * US, make.VCPU_TASK, "R", make.HOG_TASK)
        maker.switch(at + 31 * US, make.HOG_TASK, "S", make.VCPU_TASK)
        maker.host(at + 41 * US, "kvm_mmio", "mmio write len 4 gpa 0xfebc00d0 val 0x1")
        maker.host(at + 61 * US, "kvm_entry", "vcpu 0, rip 0x1")
        return at + 61 * US

    _, late, _ = explained(three("host", write))
    register = "EPT_VIOLATION: PCI device, memory, write at 0xfebc00d0"
    shares = {share.cause: share for share in late.shares}
    assert shares["kvm-exit"].details[0] == (register, 41 * US)
    assert "page-fault" not in shares
