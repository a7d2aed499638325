"""Every load as it is shipped: it makes progress, proves it, and cleans up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from native.conftest import Memory, wait_until

LOCAL_LOADS = [
    "shm", "mem", "sched", "timer", "sem", "cpu", "disk-rw", "disk-sync", "disk-meta"
]  # fmt: skip
SLOT = "vmj_load_slot"


def start(*command: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ipc_objects() -> list[str]:
    """Ids of all System V objects."""
    found = []
    for kind in ("shm", "sem"):
        lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
        found += [f"{kind} {line.split()[1]}" for line in lines]
    return found


@pytest.mark.parametrize("name", LOCAL_LOADS)
def test_progress(name: str, load: str, memory: Memory, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    command = (load, name, "-q", "--dir", work, "--shm", memory.path, "--slot", "3")
    with start(*command) as process:
        wait_until(
            lambda: process.poll() is not None or memory.number(SLOT, "second", slot=3) >= 1,
            what=f"the first second of {name}",
        )
        assert memory.number(SLOT, "state", slot=3) == memory.constants["VMJ_RUN_RUNNING"]
        memory.set("vmj_control", "load_stop", 1)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert memory.text(SLOT, "name", slot=3) == name
    assert memory.number(SLOT, "state", slot=3) == memory.constants["VMJ_RUN_DONE"]
    assert memory.number(SLOT, "ops", slot=3) == sum(memory.history(3)) > 0
    assert memory.number(SLOT, "errors", slot=3) == 0
    assert memory.number(SLOT, "start_ns", slot=3) > 0
    assert memory.text(SLOT, "unit", slot=3) in output
    assert list(work.iterdir()) == []


def test_no_system_v_object_is_left(load: str) -> None:
    before = ipc_objects()
    for name in ("shm", "sem"):
        subprocess.run([load, name, "-D", "100ms", "-q"], check=True, capture_output=True)
    assert [made for made in ipc_objects() if made not in before] == []


@pytest.mark.parametrize("name", ["shm", "sched", "sem"])
def test_helpers_die_with_the_load(name: str, load: str) -> None:
    before = ipc_objects()
    with start(load, name) as process:
        assert process.stdout
        process.stdout.readline()
        helpers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
    assert helpers
    wait_until(lambda: not any(map(alive, helpers)), what="the helpers' end")
    wait_until(lambda: set(ipc_objects()) <= set(before), what="the end of System V objects")


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("name", ["shm", "sched", "sem"])
def test_a_dead_helper_is_a_failure(name: str, load: str) -> None:
    with start(load, name) as process:
        assert process.stdout
        process.stdout.readline()
        os.kill(children(process.pid)[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "helper process" in errors


def test_udp_counts_both_ends(load: str, memory: Memory) -> None:
    shared = ("-q", "--shm", memory.path, "--slot")
    with start(load, "udp-peer", "--listen", "127.0.0.1:0", *shared, "5") as peer:
        assert peer.stdout
        port = int(peer.stdout.readline())
        with start(load, "udp", "--peer", f"127.0.0.1:{port}", *shared, "7") as near:
            wait_until(
                lambda: all(memory.number(SLOT, "ops", slot=slot) > 20 for slot in (5, 6, 7, 8)),
                what="datagrams in both directions",
            )
            memory.set("vmj_control", "load_stop", 1)
            assert near.wait(timeout=20) == 0
        assert peer.wait(timeout=20) == 0
    names = [memory.text(SLOT, "name", slot=slot) for slot in (5, 6, 7, 8)]
    assert names == ["udp-peer-send", "udp-peer-recv", "udp-send", "udp-recv"]
    sent, received = (memory.number(SLOT, "ops", slot=slot) for slot in (7, 6))
    assert received <= sent


def test_udp_without_a_peer_counts_errors(load: str) -> None:
    with start(load, "udp-peer", "--listen", "127.0.0.1:0") as peer:  # a port now free
        assert peer.stdout
        port = int(peer.stdout.readline())
        peer.terminate()
        peer.communicate(timeout=20)
    command = [load, "udp", "--peer", f"127.0.0.1:{port}", "-D", "300ms", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    sent, received = json.loads(done.stdout)["loads"]
    assert sent["errors"] > 0
    assert received["ops"] == 0


@pytest.mark.root
def test_udp_peer_enters_a_network_namespace(load: str) -> None:
    with subprocess.Popen(["unshare", "--net", "sleep", "60"]) as holder:
        try:
            namespace = Path(f"/proc/{holder.pid}/ns/net")
            own = Path("/proc/self/ns/net").readlink()
            with contextlib.suppress(OSError):  # it ended meanwhile
                wait_until(
                    lambda: holder.poll() is not None or namespace.readlink() != own,
                    what="the namespace",
                )
            if holder.poll() is not None:
                pytest.skip("network namespaces need root; run the tests as root")
            handle = os.open(namespace, os.O_RDONLY)
            command = [load, "udp-peer", "--listen", "0.0.0.0:0", "--netns-fd", str(handle)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[handle]) as peer:
                assert peer.stdout
                peer.stdout.readline()
                inside = Path(f"/proc/{peer.pid}/ns/net").readlink()
                peer.terminate()
            os.close(handle)
            assert inside == namespace.readlink() != own
        finally:
            holder.kill()


def test_summary_as_json(load: str) -> None:
    command = [load, "mem", "-D", "300ms", "--json", "--rate", "100"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    summary = json.loads(done.stdout)
    assert (summary["format"], summary["exit_status"], summary["message"]) == (1, 0, "")
    assert summary["loads"][0]["ops"] > 0
    assert summary["loads"][0]["rate"] == 100


@pytest.mark.parametrize("name", ["disk-rw", "disk-sync", "disk-meta"])
def test_unusable_directory(name: str, load: str, memory: Memory, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with start(load, name, "--dir", missing, "--shm", memory.path, "--slot", "0") as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert memory.number(SLOT, "state") == memory.constants["VMJ_RUN_FAILED"]
    assert memory.number(SLOT, "exit_status") == 1
    message = memory.text(SLOT, "message")
    assert "missing" in message
    assert "No such file or directory" in message
    assert message in errors


@pytest.mark.root
def test_full_disk(load: str, tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs needs root; run the tests as root")
    try:
        command = [load, "disk-rw", "--dir", str(tmp_path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        left = list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert left == []


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["nothing"],
        ["mem", "sem"],
        ["mem", "--rate", "-1"],
        ["mem", "--size", "1"],
        ["sem", "--size", "4096"],
        ["cpu", "--size", "4096"],
        ["mem", "--pairs", "2"],
        ["mem", "--slot", "1"],
        ["udp"],
        ["udp", "--peer", "host:1"],
        ["udp-peer", "--peer", "127.0.0.1:1"],
        ["mem", "--dura", "1"],
    ],
)
def test_usage(load: str, options: list[str]) -> None:
    done = subprocess.run([load, *options], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr


def test_udp_needs_two_slots(load: str, memory: Memory) -> None:
    command = [load, "udp", "--peer", "127.0.0.1:9", "--shm", str(memory.path), "--slot", "31"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2


def test_list(load: str) -> None:
    done = subprocess.run([load, "--list"], check=True, capture_output=True, text=True)
    for name in [*LOCAL_LOADS, "udp", "udp-peer"]:
        assert f"\n{name} " in "\n" + done.stdout
