"""Rings of our own in the kernel: they record, take turns, and leave nothing behind."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmjitter.effects.clock import now_ns
from vmjitter.effects.tracefs import (
    TRACEFS_PLACES,
    KernelTree,
    Ring,
    available_events,
    forget_stale,
    kernel_tree,
)
from vmjitter.errors import MissingCapability
from vmjitter.model.trace import TraceSpec
from vmjitter.tracing.host import HostTrace, affordable
from vmjitter.tracing.record import TraceRecord
from vmjitter.units import Ns

EVENT = re.compile(r"^\s*.+-\d+\s+\[\d{3}\]\s+\S+\s+(\d+\.\d{6}): (\w+): ", re.MULTILINE)


@pytest.fixture
def tree() -> Iterator[KernelTree]:
    """This kernel's tracefs."""
    try:
        with kernel_tree("tracefs", TRACEFS_PLACES, "available_events") as found:
            yield found
    except MissingCapability as error:
        pytest.skip(f"{error}; run the tests as root")


def test_a_directory_with_the_witness_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "available_events").write_text("sched:sched_switch\nkvm:kvm_exit\n")
    with kernel_tree("tracefs", [tmp_path / "none", tmp_path], "available_events") as found:
        assert found == KernelTree(root=tmp_path)
        assert found.inherit == ()
        assert available_events(found) == {"sched:sched_switch", "kvm:kvm_exit"}


def test_what_the_kernel_does_not_know_cannot_be_mounted() -> None:
    with (
        pytest.raises(MissingCapability, match="nofs cannot be used") as caught,
        kernel_tree("nofs", [], "x"),
    ):
        pass
    assert "root" in caught.value.hint


def test_stale_rings_are_known_by_their_dead_makers(tmp_path: Path) -> None:
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    ours = f"vmjitter-{os.getpid()}-{started}-a"
    names = (ours, f"vmjitter-{os.getpid()}-1-a", "vmjitter-999999999-1-b", "of-somebody-else")
    for name in names:
        (tmp_path / "instances" / name).mkdir(parents=True)
    removed = forget_stale(KernelTree(root=tmp_path))
    assert set(removed) == set(names[1:3])
    left = {path.name for path in (tmp_path / "instances").iterdir()}
    assert left == {ours, "of-somebody-else"}


@pytest.mark.root
def test_a_ring_records_while_it_is_on(tree: KernelTree) -> None:
    with Ring(tree, "test") as ring:
        events = ["sched:sched_switch", "no:such_event"]
        ring.configure(clock="mono", bytes_per_cpu=1 << 20)
        assert ring.enable(events) == events[1:]
        assert not EVENT.search(ring.text.read_text())
        begin_ns = now_ns()
        ring.on()
        time.sleep(0.01)
        ring.off()
        end_ns = now_ns()
        found = EVENT.findall(ring.text.read_text())
        assert {name for _, name in found} == {"sched_switch"}
        times_ns = [round(float(stamp) * 1e9) for stamp, _ in found]
        assert begin_ns - 1000 <= min(times_ns)
        assert max(times_ns) <= end_ns + 1000
        assert sum(int(one["entries"]) for one in ring.stats()) == len(found)
        ring.clear()
        assert not EVENT.search(ring.text.read_text())
        ring.disable()
        ring.on()
        time.sleep(0.01)
        assert not EVENT.search(ring.text.read_text())
        path = ring.path
    assert not path.exists()


@pytest.mark.root
def test_a_ring_of_a_killed_process_goes_away(tree: KernelTree) -> None:
    code = (
        "import sys, time\n"
        "from vmjitter.effects.tracefs import *\n"
        "with kernel_tree('tracefs', TRACEFS_PLACES, 'available_events') as tree:\n"
        "    ring = Ring(tree, 'x')\n"
        "    print(ring.name, flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    name = child.stdout.readline().strip()
    assert (tree.root / "instances" / name).exists()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    end = time.monotonic() + 10
    while (tree.root / "instances" / name).exists():
        assert time.monotonic() < end, "the ring is still there"
        time.sleep(0.02)


@pytest.mark.root
@pytest.mark.usefixtures("tree")
class TestFlightRecorder:
    """`HostTrace` on this machine."""

    def test_a_short_run_is_kept_whole(self, tmp_path: Path) -> None:
        record, output = TraceRecord(), tmp_path / "host.txt.gz"
        with HostTrace(TraceSpec(enabled=True, buffer_bytes=1 << 20), record, output) as trace:
            trace.on()
            _work()
            trace.look()
            trace.off()
            trace.finish(wanted=True)
        assert "sched:sched_switch" in record.host_events
        assert not set(record.host_events) & set(record.host_missing)
        [kept] = record.kept
        stamps = _stamps(output)
        assert stamps == sorted(stamps)
        assert kept.from_ns - 1000 <= stamps[0] <= stamps[-1] <= kept.to_ns
        assert record.lost["host"] == 0
        assert not record.own_actions  # nothing was done while it recorded

    def test_rings_take_turns_around_what_is_wanted(self, tmp_path: Path) -> None:
        record, output = TraceRecord(), tmp_path / "host.txt.gz"
        spec = TraceSpec(threshold_ns=Ns(1), buffer_bytes=64 << 10)
        with HostTrace(spec, record, output) as trace:
            trace.on()
            for number in range(3):
                trace.want(f"spike {number}")
                wanted = len(record.kept) + 1
                end = time.monotonic() + 20
                while len(record.kept) < wanted:
                    assert time.monotonic() < end, "no turn was taken"
                    _work()
                    trace.look()
            trace.off()
            trace.finish(wanted=False)
        assert [one.why for one in record.kept] == ["spike 0", "spike 1", "spike 2"]
        for before, after in zip(record.kept, record.kept[1:], strict=False):
            assert before.from_ns < before.to_ns <= after.from_ns
        stamps = _stamps(output)
        for kept in record.kept:  # each stretch has events
            assert any(kept.from_ns <= stamp <= kept.to_ns for stamp in stamps)
        assert "other trace ring" in {one.what for one in record.own_actions}

    def test_nothing_is_kept_without_a_late_wake_up(self, tmp_path: Path) -> None:
        record, output = TraceRecord(), tmp_path / "host.txt.gz"
        spec = TraceSpec(threshold_ns=Ns(10**9), buffer_bytes=64 << 10)
        with HostTrace(spec, record, output) as trace:
            trace.on()
            _work()
            trace.look()
            trace.off()
            trace.finish(wanted=False)
        assert not output.exists()
        assert record.kept == []

    def test_what_is_stored_has_a_limit(self, tmp_path: Path) -> None:
        record, output = TraceRecord(), tmp_path / "host.txt.gz"
        output.write_bytes(gzip.compress(b"# before\n"))
        with HostTrace(TraceSpec(enabled=True, keep_bytes=1), record, output) as trace:
            trace.on()
            trace.off()
            trace.want("a spike")
            trace.finish(wanted=True)
        assert record.kept == []
        assert any("trace.keep is used up" in note for note in record.notes)


def test_rings_leave_most_of_the_memory_to_others() -> None:
    assert affordable(16 << 20, 8 << 30, 4) == 16 << 20
    assert affordable(16 << 20, 8 << 30, 256) == 2 << 20  # 512 rings in 1 GiB
    assert affordable(16 << 20, 0, 4) == 16 << 20  # not known


_WITHOUT_RIGHTS = """
import sys
from pathlib import Path
from vmjitter.model.trace import TraceSpec
from vmjitter.tracing.host import host_trace
from vmjitter.tracing.record import TraceRecord
record = TraceRecord()
found = host_trace(TraceSpec(enabled=True), record, Path(sys.argv[1]), lambda one: one)
print(found, record.why)
"""


def test_without_rights_one_is_told_why_there_is_no_trace(tmp_path: Path) -> None:
    nobody = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    done = subprocess.run(
        [*nobody, sys.executable, "-c", _WITHOUT_RIGHTS, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("None "), done.stderr
    assert "no trace of the host: tracefs cannot be used" in done.stdout


def _work() -> None:
    """Some context switches."""
    for _ in range(300):
        time.sleep(0.00001)


def _stamps(output: Path) -> list[int]:
    text = gzip.decompress(output.read_bytes()).decode()
    return [round(float(stamp) * 1e9) for stamp, _ in EVENT.findall(text)]
