"""What the doctor says about a QEMU that runs, from a tree of /proc."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import hosttrees
from fakes.hosttrees import FakeThread, Files, qemu, tuned_rhel
from vmjitter.doctor.check import diagnose
from vmjitter.doctor.finding import Diagnosis, Finding, Severity
from vmjitter.doctor.vm import VM_CHECKS
from vmjitter.doctor.vm.options import parse
from vmjitter.doctor.vm.view import look_at
from vmjitter.errors import UsageError
from vmjitter.tuning.knobs import KNOBS

PID = 4711
FIFO = 1
_GOOD_ARGUMENTS = (
    *("-name", "rt,debug-threads=on", "-nodefaults", "-no-user-config", "-display", "none"),
    *("-machine", "q35,hpet=off,mem-merge=off,memory-backend=ram", "-accel", "kvm"),
    *("-cpu", "host,+tsc-deadline,+invtsc,pmu=off", "-overcommit", "mem-lock=on,cpu-pm=on"),
    *("-object", "memory-backend-memfd,id=ram,size=1G,hugetlb=on,prealloc=on"),
    *("-object", "iothread,id=io0,poll-max-ns=0"),
    *("-blockdev", "driver=file,node-name=f,filename=/d,,isk.raw,cache.direct=on,aio=native"),
    *("-device", "virtio-blk-pci,drive=f,iothread=io0"),
    *("-netdev", "tap,id=n,fd=9,vhost=on", "-device", "virtio-net-pci,netdev=n"),
    *("-global", "kvm-pit.lost_tick_policy=discard", "-append", ""),
)
_GOOD_THREADS = (
    FakeThread(tid=PID, name="qemu-system-x86", cpus="0-1"),
    FakeThread(tid=4720, name="IO io0", cpus="0-1"),
    FakeThread(tid=4721, name="CPU 0/KVM", cpus="2", policy=FIFO, priority=1, minor_faults=12),
    FakeThread(tid=4722, name="vhost-4711", cpus="1", policy=2, priority=1),
)
_PIT = FakeThread(tid=90, name=f"kvm-pit/{PID}", policy=2, priority=1, parent=2)


def _good() -> Files:
    return tuned_rhel() | qemu(PID, _GOOD_ARGUMENTS, _GOOD_THREADS, kernel=(_PIT,))


def _examine(root: Path, files: Files) -> Diagnosis:
    view = look_at(hosttrees.host(root, files), PID)
    return diagnose(f"QEMU {PID}", VM_CHECKS, view)


def _finding(root: Path, files: Files, check: str) -> Finding:
    return {one.id: one for one in _examine(root, files).findings}[check]


def _with(*arguments: str, without: str = "", threads: tuple[FakeThread, ...] = ()) -> Files:
    """The good one with options added, options that contain a text left out, threads replaced."""
    pairs: list[str] = []
    for option in parse(["qemu", *_GOOD_ARGUMENTS]):
        if not without or without not in str(option):
            pairs += [f"-{option.name}", *([option.text] if option.text else [])]
    names = {thread.tid for thread in threads}
    kept = tuple(thread for thread in _GOOD_THREADS if thread.tid not in names)
    return tuned_rhel() | qemu(PID, [*pairs, *arguments], (*kept, *threads), kernel=(_PIT,))


def test_a_guest_by_the_book_has_nothing_against_it(tmp_path: Path) -> None:
    found = _examine(tmp_path, _good())
    assert [one for one in found.findings if one.severity is not Severity.OK] == []
    assert found.unknown == ()
    assert found.exit_status == 0
    assert {check.id for check in VM_CHECKS} - {one.id for one in found.findings} == {"vm-hyperv"}


_VCPU = _GOOD_THREADS[2]
_CASES: list[tuple[str, Files, Severity, str]] = [
    (
        "vm-main-loop-starved",
        _with(threads=(FakeThread(tid=PID, name="qemu-system-x86", cpus="2"),)),
        Severity.BLOCKER,
        "CPU 0/KVM (4721): fifo 1, CPUs 2",
    ),
    (
        "vm-main-loop-starved",
        _with(threads=(FakeThread(tid=PID, name="qemu-system-x86", cpus="0-7"),)),
        Severity.PROBLEM,
        "CPUs 0-7",
    ),
    (
        "vm-main-loop-starved",
        _with(
            threads=(
                FakeThread(tid=PID, name="qemu-system-x86", cpus="2", policy=FIFO, priority=2),
            )
        ),
        Severity.OK,
        "fifo 2",
    ),
    (
        "vm-vcpus-pinned",
        _with(threads=(FakeThread(tid=4721, name="CPU 0/KVM", cpus="2-3"),)),
        Severity.WARNING,
        "CPUs 2-3",
    ),
    (
        "vm-vcpus-pinned",
        _with(threads=(FakeThread(tid=4723, name="CPU 1/KVM", cpus="2"),)),
        Severity.PROBLEM,
        "4723",
    ),
    (
        "vm-vcpus-realtime",
        _with(threads=(FakeThread(tid=4721, name="CPU 0/KVM", cpus="2"),)),
        Severity.WARNING,
        "other",
    ),
    (
        "vm-vcpus-isolated",
        _with(threads=(FakeThread(tid=4721, name="CPU 0/KVM", cpus="1"),)),
        Severity.WARNING,
        "CPUs 1",
    ),
    (
        "vm-emulator-cpus",
        _with(threads=(FakeThread(tid=4720, name="IO io0", cpus="0-7"),)),
        Severity.WARNING,
        "IO io0",
    ),
    (
        "vm-vhost-cpus",
        _with(threads=(FakeThread(tid=4722, name="vhost-4711", cpus="2"),)),
        Severity.WARNING,
        "vhost-4711",
    ),
    (
        "vm-vhost-realtime",
        _with(threads=(FakeThread(tid=4722, name="vhost-4711", cpus="1"),)),
        Severity.WARNING,
        "vhost-4711 (4722): other",
    ),
    (
        "vm-vcpus-interrupted",
        _good() | {"/proc/interrupts": "  CPU0 CPU1 CPU2\n 24: 1 2 333 MSI eth0\n"},
        Severity.NOTE,
        "24 (eth0): 333",
    ),
    (
        "vm-cpu-quota",
        _good() | {"/sys/fs/cgroup/machine.slice/cpu.max": "50000 100000"},
        Severity.PROBLEM,
        "cpu.max = 50000 100000",
    ),
    (
        "vm-swap",
        _good() | {f"/proc/{PID}/status": "VmSwap:\t4900000 kB\nVmLck:\t0 kB\n"},
        Severity.PROBLEM,
        "VmSwap = 4900000 kB",
    ),
    (
        "vm-swap",
        _with(without="mem-lock") | {"/proc/swaps": "Filename\n/dev/sda2 partition 1 0 -2\n"},
        Severity.WARNING,
        "VmLck = 0 kB",
    ),
    ("vm-prealloc", _with(without="-o"), Severity.WARNING, "faults of the vCPUs"),
    ("vm-huge-pages", _with(without="memfd"), Severity.NOTE, "/status"),
    (
        "vm-page-merging",
        _with(without="mem-merge") | {"/sys/kernel/mm/ksm/run": "1"},
        Severity.WARNING,
        "mem-merge=off",
    ),
    ("vm-balloon", _with("-device", "virtio-balloon-pci"), Severity.NOTE, "virtio-balloon-pci"),
    (
        "vm-balloon",
        _with("-device", "virtio-balloon-pci,free-page-reporting=on"),
        Severity.PROBLEM,
        "free-page-reporting=on",
    ),
    ("vm-disk-device", _with("-device", "ide-hd,drive=f"), Severity.PROBLEM, "ide-hd"),
    ("vm-disk-device", _with("-drive", "file=/a,if=ide"), Severity.PROBLEM, "if=ide"),
    ("vm-disk-unsafe", _with("-drive", "file=/a,cache=unsafe"), Severity.PROBLEM, "cache=unsafe"),
    ("vm-disk-cache", _with("-drive", "file=/a,if=virtio"), Severity.WARNING, "file=/a"),
    ("vm-disk-iothread", _with("-device", "virtio-scsi-pci,id=s"), Severity.NOTE, "virtio-scsi"),
    (
        "vm-disk-polling",
        _with("-object", "iothread,id=io1") | {"/sys/devices/system/cpu/online": "0-1"},
        Severity.NOTE,
        "id=io1",
    ),
    (
        "vm-disk-process",
        _with("-device", "virtio-blk-pci,drive=f", without="iothread=io0"),
        Severity.NOTE,
        "virtio-blk-pci,drive=f",
    ),
    ("vm-disk-process", _with("-drive", "file=/a,if=virtio"), Severity.NOTE, "file=/a,if=virtio"),
    (
        "vm-disk-process",
        _with(
            *("-chardev", "socket,id=s,path=/run/disk.sock"),
            *("-device", "vhost-user-blk-pci,chardev=s"),
        ),
        Severity.OK,
        "vhost-user-blk-pci,chardev=s; -chardev socket,id=s,path=/run/disk.sock",
    ),
    (
        "vm-disk-throttled",
        _with("-object", "throttle-group,id=g,limits.iops-total=100"),
        Severity.NOTE,
        "throttle-group,id=g",
    ),
    (
        "vm-disk-throttled",
        _with("-blockdev", "driver=throttle,node-name=t,throttle-group=g,file=f"),
        Severity.NOTE,
        "driver=throttle",
    ),
    (
        "vm-disk-throttled",
        _with("-drive", "file=/a,throttling.bps-total=1000000"),
        Severity.NOTE,
        "throttling.bps-total=1000000",
    ),
    ("vm-disk-throttled", _with("-drive", "file=/a,iops=100"), Severity.NOTE, "iops=100"),
    ("vm-disk-throttled", _with("-drive", "file=/a,iops=0"), Severity.OK, "no throttle-group"),
    ("vm-disk-format", _with("-drive", "file=/a.qcow2,cache=none"), Severity.NOTE, "a.qcow2"),
    ("vm-network-device", _with("-device", "e1000,netdev=n"), Severity.PROBLEM, "e1000"),
    ("vm-vhost", _with("-netdev", "user,id=u"), Severity.NOTE, "user,id=u"),
    ("vm-vhost", _with("-netdev", "passt,id=p"), Severity.NOTE, "passt,id=p"),
    (
        "vm-vhost",
        _with("-netdev", "stream,id=s,addr.type=unix,addr.path=/p"),
        Severity.NOTE,
        "stream,id=s",
    ),
    (
        "vm-vhost",
        _with("-chardev", "socket,id=c,path=/p", "-netdev", "vhost-user,id=v,chardev=c"),
        Severity.OK,
        "vhost-user,id=v,chardev=c; -chardev socket,id=c,path=/p",
    ),
    ("vm-vhost", _with("-netdev", "passt,id=p,vhost-user=on"), Severity.OK, "vhost-user=on"),
    ("vm-vhost", _with("-netdev", "vhost-vdpa,id=v,vhostdev=/d"), Severity.OK, "vhost-vdpa"),
    ("vm-console", _with("-serial", "stdio"), Severity.NOTE, "-serial stdio"),
    (
        "vm-console",
        _with("-serial", "stdio", "-append", "console=ttyS0", without="append"),
        Severity.WARNING,
        "no quiet",
    ),
    ("vm-spare-devices", _with("-device", "qemu-xhci"), Severity.NOTE, "qemu-xhci"),
    ("vm-spare-devices", _with(without="nodefaults"), Severity.NOTE, "no -nodefaults"),
    ("vm-hpet", _with(without="hpet"), Severity.NOTE, "hpet=off"),
    ("vm-lost-ticks", _with(without="kvm-pit"), Severity.NOTE, "not set, so delay"),
    ("vm-clock-drift", _with("-rtc", "base=utc,driftfix=slew"), Severity.NOTE, "slew"),
    (
        "vm-accelerator",
        _with(threads=(FakeThread(tid=4721, name="CPU 0/TCG", cpus="2"),)),
        Severity.BLOCKER,
        "CPU 0/TCG",
    ),
    (
        "vm-interrupt-controller",
        _with("-machine", "kernel-irqchip=off"),
        Severity.PROBLEM,
        "kernel-irqchip=off",
    ),
    (
        "vm-interrupt-controller",
        _with("-accel", "kvm,kernel-irqchip=split"),
        Severity.NOTE,
        "kernel-irqchip=split",
    ),
    ("vm-cpu-flags", _with("-cpu", "host", without="tsc-deadline"), Severity.NOTE, "+invtsc"),
    ("vm-cpu-flags", _with("-cpu", "qemu64", without="tsc-deadline"), Severity.NOTE, "qemu64"),
    ("vm-hyperv", _with("-cpu", "host,hv-time", without="tsc-deadline"), Severity.NOTE, "hv-time"),
    ("vm-cpu-pm", _with(without="cpu-pm"), Severity.NOTE, "cpu-pm=on"),
]


@pytest.mark.parametrize(
    ("check", "files", "severity", "words"),
    _CASES,
    ids=[f"{case[0]}-{number}" for number, case in enumerate(_CASES)],
)
def test_one_thing_differs(
    tmp_path: Path, check: str, files: Files, severity: Severity, words: str
) -> None:
    finding = _finding(tmp_path, files, check)
    assert finding.severity is severity
    assert words in finding.evidence


def test_every_check_of_a_vm_is_seen_bad_in_some_test() -> None:
    seen = {case[0] for case in _CASES if case[2] is not Severity.OK}
    assert {check.id for check in VM_CHECKS} - seen == {"vm-thread-names", "vm-pit-thread"}


def test_threads_of_the_kernel_work_for_a_guest_before_linux_6_4(tmp_path: Path) -> None:
    vhost = FakeThread(tid=91, name=f"vhost-{PID}", cpus="2", parent=2)
    pit = FakeThread(tid=90, name=f"kvm-pit/{PID}", parent=2)
    foreign = FakeThread(tid=92, name="vhost-1234", cpus="2", parent=2)
    pretends = FakeThread(tid=93, name=f"vhost-{PID}", cpus="2", parent=1)
    files = tuned_rhel() | qemu(
        PID, _GOOD_ARGUMENTS, _GOOD_THREADS[:3], kernel=(vhost, pit, foreign, pretends)
    )
    assert _finding(tmp_path, files, "vm-vhost-cpus").evidence == f"vhost-{PID} (91): other, CPUs 2"
    assert _finding(tmp_path, files, "vm-pit-thread").severity is Severity.NOTE


def test_threads_without_names_are_not_guessed_at(tmp_path: Path) -> None:
    threads = [FakeThread(tid=tid, name="qemu-system-x86") for tid in (PID, PID + 1)]
    found = _examine(tmp_path, tuned_rhel() | qemu(PID, ["-enable-kvm"], threads))
    assert {one.id for one in found.findings if one.id == "vm-thread-names"}
    unknown = {one.id: one.why for one in found.unknown}
    assert set(unknown) == {
        "vm-main-loop-starved",
        "vm-vcpus-pinned",
        "vm-vcpus-realtime",
        "vm-vcpus-isolated",
        "vm-emulator-cpus",
    }
    assert all("debug-threads=on" in why for why in unknown.values())


def test_who_moves_the_packets_is_said(tmp_path: Path) -> None:
    kernel = _finding(tmp_path / "kernel", _good(), "vm-vhost")
    assert kernel.title.endswith("the kernel moves them")
    arguments = ("-netdev", "vhost-user,id=v,chardev=c", "-device", "virtio-net-pci,netdev=v")
    process = _finding(tmp_path / "process", _with(*arguments, without="netdev"), "vm-vhost")
    assert process.title.endswith("a process of its own moves them")


def test_options_of_another_process_are_not_guessed_at(tmp_path: Path) -> None:
    arguments = ("-device", "vhost-user-blk-pci,chardev=c")
    found = _examine(tmp_path, _with(*arguments, without="drive=f"))
    assert found.unknown == ()  # there is still an image of QEMU's own
    files = qemu(PID, ["-enable-kvm", *arguments], _GOOD_THREADS)
    unknown = {one.id: one.why for one in _examine(tmp_path, tuned_rhel() | files).unknown}
    assert set(unknown) == {"vm-disk-unsafe", "vm-disk-cache", "vm-disk-throttled"}
    assert all("options of the process that does" in why for why in unknown.values())


def test_limits_in_json_are_seen(tmp_path: Path) -> None:
    group = {"qom-type": "throttle-group", "id": "g", "limits": {"iops-total": 7}}
    node = {"driver": "throttle", "throttle-group": "g", "file": {"driver": "file"}}
    files = _with("-object", json.dumps(group), "-blockdev", json.dumps(node))
    finding = _finding(tmp_path, files, "vm-disk-throttled")
    assert finding.severity is Severity.NOTE
    assert '"iops-total": 7' in finding.evidence
    assert '"driver": "throttle"' in finding.evidence


def test_libvirt_writes_devices_as_json(tmp_path: Path) -> None:
    node = {"driver": "file", "filename": "/a.qcow2", "cache": {"direct": True, "no-flush": True}}
    device = {"driver": "virtio-balloon-pci", "free-page-reporting": True}
    files = _with("-blockdev", json.dumps(node), "-device", json.dumps(device))
    found = {one.id: one for one in _examine(tmp_path, files).findings}
    assert found["vm-disk-unsafe"].severity is Severity.PROBLEM
    assert found["vm-disk-cache"].severity is Severity.OK
    assert found["vm-balloon"].severity is Severity.PROBLEM


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"/proc/1/comm": "x"}, "no process 4711"),
        ({f"/proc/{PID}/cmdline": "/bin/bash\0-l\0"}, "is bash, not QEMU"),
        ({f"/proc/{PID}/cmdline": ""}, "is a thread of the kernel, not QEMU"),
        ({f"/proc/{PID}/cmdline": "qemu-system-x86_64\0"}, "has ended"),
    ],
)
def test_what_is_no_qemu_is_a_usage_error(tmp_path: Path, files: Files, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        look_at(hosttrees.host(tmp_path, files), PID)
    assert "pgrep" in caught.value.hint


def test_options_are_taken_apart() -> None:
    words = [
        "qemu",
        "-S",
        "--enable-kvm",
        "-m",
        "1G",
        "-device",
        "a,b=c,,d,e=",
        "img",
        "-append",
        "",
    ]
    name, kvm, memory, device, image, append = parse(words)
    assert (name.name, kvm.name, memory.text) == ("S", "enable-kvm", "1G")
    assert (device.driver, dict(device.keys)) == ("a", {"b": "c,d", "e": ""})
    assert (image.name, image.text) == ("", "img")
    assert (append.name, append.text) == ("append", "")


_WORD = st.text(st.characters(exclude_characters=",={-\0", exclude_categories=["Cs"]), min_size=1)


@given(first=_WORD, keys=st.dictionaries(_WORD, _WORD, max_size=4))
def test_what_is_written_as_keys_is_read_back(first: str, keys: dict[str, str]) -> None:
    text = ",".join([first, *(f"{key}={value}" for key, value in keys.items())])
    (option,) = parse(["qemu", "-device", text])
    assert option.first == first
    assert dict(option.keys) == keys


@given(words=st.lists(st.text(max_size=12), max_size=8))
def test_any_command_line_can_be_taken_apart(words: list[str]) -> None:
    options = parse(["qemu", *words])
    assert len(options) <= len(words)


def test_checks_of_a_vm_name_knobs_that_exist() -> None:
    assert len({check.id for check in VM_CHECKS}) == len(VM_CHECKS)
    for check in VM_CHECKS:
        assert check.id.startswith("vm-")
        assert not check.knob or check.knob in KNOBS
