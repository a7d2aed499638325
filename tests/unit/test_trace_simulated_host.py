"""A late wake-up of a guest under KVM, as it was recorded in the simulated host.

What happened, read from the recording by eye: the network card's interrupt came shortly before the
planned time.  On the way into it and out of it, with interrupts off, the guest accesses its I/O
APIC and its local APIC, each access an exit to KVM; the timer's interrupt, which KVM had at 9 us,
could be taken only after 137 us.  QEMU's main loop had the CPU for 16 us of that.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from vmjitter.trace.attribute import Attribution, attribute, visible
from vmjitter.trace.causality import check
from vmjitter.trace.clock import guest_clock
from vmjitter.trace.events import Source
from vmjitter.trace.meta import parse_meta
from vmjitter.trace.parsers import Parsed
from vmjitter.trace.parsers.ftrace import parse_ftrace
from vmjitter.trace.scene import Material, Scene, build_scene
from vmjitter.trace.window import Window

GOLDEN = Path(__file__).parents[1] / "golden" / "trace" / "simulated-host"
OFFSETS = [(9891304667, -8160265855, 2132), (13489309289, -8151077839, 1974)]
T0_NS, PERIOD_NS, ACTIVATION, LATENCY_NS = 4_935_486_000, 1_000_000, 298, 158_514


def recorded(name: str, source: Source) -> Parsed:
    return parse_ftrace((GOLDEN / name).read_text().splitlines(), source)


@pytest.fixture(name="scene", scope="module")
def _scene() -> Scene:
    host, guest = recorded("host.txt", Source.HOST), recorded("guest.txt", Source.GUEST)
    assert (host.broken, guest.broken) == (0, 0)
    meta = parse_meta((GOLDEN / "meta.json").read_text(), "meta.json")
    clock = guest_clock(OFFSETS)
    return build_scene(Material(meta=meta, host=host, guest=guest, guest_clock=clock))


@pytest.fixture(name="late", scope="module")
def _late(scene: Scene) -> Attribution:
    clock = guest_clock(OFFSETS)
    assert clock is not None
    start = clock.to_host(T0_NS + ACTIVATION * PERIOD_NS)
    rules, _ = visible(scene.names, host=True)
    return attribute(scene, Window(ACTIVATION, start, LATENCY_NS), rules)


def test_the_guest_did_everything_while_it_ran(scene: Scene, late: Attribution) -> None:
    found = check(scene, [late.window.end])
    assert found.holds
    assert found.checked > 80
    assert found.outside == 0


def test_the_parts_and_their_names(late: Attribution) -> None:
    assert sum(share.ns for share in late.shares) == LATENCY_NS
    assert {share.cause: share.ns for share in late.shares} == {
        "kvm-exit": 60_000,
        "guest-irq-off": 54_294,
        "preempted": 16_000,
        "host-irq": 10_000,
        "unexplained": 18_220,
    }
    details = {share.cause: [detail for detail, _ in share.details] for share in late.shares}
    assert details["preempted"] == ["by main loop (qemu-system-x86, 148), nice 0"]
    assert details["guest-irq-off"] == [
        "an interrupt was there, but was not taken; around that of eth0"
    ]
    assert "EPT_MISCONFIG: I/O APIC, write at 0xfec00010" in details["kvm-exit"]
    assert "EPT_VIOLATION: local APIC, write at 0xfee000b0" in details["kvm-exit"]


def test_what_was_not_recorded_is_named(scene: Scene) -> None:
    _, unseen = visible(scene.names, host=True)
    assert {one.cause for one in unseen} == {"idle-exit"}
