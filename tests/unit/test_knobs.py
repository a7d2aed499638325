"""Every knob: what it says of itself, what it wants, and that it can be taken back."""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.fake_qemu import NAMES, fake_qemu
from fakes.killing import Fragile, FragileMedium, Fuse, Killed
from vmjitter.effects.systree import SysTree
from vmjitter.effects.threads import read_cpus, read_policy, threads
from vmjitter.errors import MissingCapability, UsageError
from vmjitter.model.plan import Accel, Disk, Network
from vmjitter.qemu.cmdline import Machine
from vmjitter.tuning.byhand import how
from vmjitter.tuning.change import Change
from vmjitter.tuning.journal import Journal
from vmjitter.tuning.knob import FileKnob, Host, Knob, ModuleKnob, Needs, Target, ThreadKnob
from vmjitter.tuning.knobs import KNOBS
from vmjitter.tuning.media import media
from vmjitter.tuning.media.thread import thread_place
from vmjitter.tuning.reference import knobs_page
from vmjitter.tuning.target import find_target, host_with, starves_main_loop
from vmjitter.tuning.tuner import How, Tuner

POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB"
MEMORY = Path("/dev/shm")
CONTENT = {
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "/sys/devices/virtual/workqueue/cpumask": "f\n",
    "/sys/devices/system/cpu/smt/control": "on\n",
    "/sys/module/kvm/parameters/nx_huge_pages": "Y\n",
    "/proc/sys/kernel/sched_rt_runtime_us": "950000\n",
}
EVERY_PLACE = {
    f"{POOL}/nr_hugepages": "3\n",
    f"{POOL}/free_hugepages": "1\n",
    "/proc/self/cgroup": "4:cpu:/user/mine\n0::/user/mine\n",
    "/sys/fs/cgroup/cpu/cpu.rt_runtime_us": "950000\n",
    "/sys/fs/cgroup/cpu/beside/cpu.rt_runtime_us": "100000\n",
    "/sys/fs/cgroup/cpu/user/cpu.rt_runtime_us": "0\n",
    "/sys/fs/cgroup/cpu/user/mine/cpu.rt_runtime_us": "0\n",
    "/sys/fs/cgroup/cpu/user/mine/cpu.cfs_quota_us": "50000\n",
    "/sys/fs/cgroup/cpu/user/cpu.cfs_quota_us": "-1\n",
    "/sys/fs/cgroup/user/mine/cpu.max": "50000 100000\n",
    "/sys/fs/cgroup/user/cpu.max": "max 100000\n",
    "/sys/module/kvm/initstate": "live\n",
    "/sys/module/kvm_intel/initstate": "live\n",
    "/sys/module/kvm/parameters/kvmclock_periodic_sync": "Y\n",
    "/sys/module/kvm_intel/parameters/ple_gap": "128\n",
    "/sys/devices/system/cpu/online": "0-3\n",
    "/proc/net/udp": "",
}


def host(root: Path = Path("/"), *, own_cpu: bool = True) -> Host:
    cpus = frozenset({2, 3}) if own_cpu else frozenset(range(4))
    others = frozenset({0, 1}) if own_cpu else cpus
    return Host(tree=SysTree(root=root), guest_cpus=cpus, other_cpus=others, guest_bytes=64 << 20)


def build(root: Path) -> None:
    """A machine that has every file that any knob knows."""
    files = dict(EVERY_PLACE)
    for knob in KNOBS.values():
        if isinstance(knob, FileKnob):
            for pattern, _ in knob.files:
                for path in paths_of(pattern):
                    files.setdefault(path, CONTENT.get(path, "7\n"))
    for path, text in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (root / "etc/modprobe.d").mkdir(parents=True)
    (root / "dev").mkdir()
    (root / "dev/cpu_dma_latency").write_bytes(struct.pack("=i", 2_000_000_000))
    (root / "dev/kvm").touch()


def paths_of(pattern: str) -> list[str]:
    """Two paths that match."""
    return [
        re.sub(r"\[(\d)-\d\]\*", rf"{number or ''}\1", pattern).replace("*", str(number))
        for number in (0, 1)
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    build(tmp_path)
    return tmp_path


def places(root: Path) -> dict[tuple[str, str], str | None]:
    """What is set in every place that any knob may change."""
    every = media(SysTree(root=root))
    fresh = [one for knob in KNOBS.values() for one in host_changes(knob, root)]
    return {(one.medium, one.place): every[one.medium].read(one.place) for one in fresh}


def host_changes(knob: Knob, root: Path) -> tuple[Change, ...]:
    return knob.on_host(host(root))


HOST_KNOBS = sorted(
    name
    for name, knob in KNOBS.items()
    if isinstance(knob, FileKnob | ModuleKnob)
    or name in {"huge-pages", "cgroup-quota-off", "rt-group-budget", "pm-qos", "timestamp-guard"}
)


@settings(max_examples=100, deadline=None)
@given(
    names=st.lists(st.sampled_from(HOST_KNOBS), min_size=1, max_size=8),
    die_at=st.integers(1, 90),
    die_again=st.integers(1, 60),
)
def test_any_knobs_in_any_order_killed_at_any_point_are_taken_back(
    names: list[str], die_at: int, die_again: int
) -> None:
    root = Path(mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    try:
        build(root)
        before = places(root)
        fuse = Fuse(die_at)
        with suppress(Killed):
            tuner = fragile_tuner(root, fuse)
            for name in names:
                tuner.apply(name, host_changes(KNOBS[name], root))
        with suppress(Killed):
            tuner = fragile_tuner(root, Fuse(die_again))
            tuner.revert(tuner.outstanding())
        tuner = Tuner(Journal(root / "state"), media(SysTree(root=root)))
        undone = tuner.revert(tuner.outstanding())
        after = {key: media(SysTree(root=root))[key[0]].read(key[1]) for key in before}
        assert after == before
        assert {one.how for one in undone} <= {How.RESTORED, How.UNCHANGED}
        assert tuner.outstanding() == ()
        assert list((root / "etc/modprobe.d").iterdir()) == []
    finally:
        shutil.rmtree(root)


def fragile_tuner(root: Path, fuse: Fuse) -> Tuner:
    real = media(SysTree(root=root))
    return Tuner(
        Fragile(root / "state", fuse),
        {name: FragileMedium(medium, fuse) for name, medium in real.items()},
    )


def test_all_of_them_at_once_change_something_and_are_taken_back(root: Path) -> None:
    before = places(root)
    tuner = Tuner(Journal(root / "state"), media(SysTree(root=root)))
    for name in HOST_KNOBS:
        assert KNOBS[name].missing(host(root)) == "" or isinstance(KNOBS[name], ModuleKnob)
        made = tuner.apply(name, host_changes(KNOBS[name], root))
        assert made, f"{name} wants nothing of a machine that has everything"
        assert [one for one in made if one.read_back != one.wanted] == []
    assert places(root) != before
    tuner.revert(tuner.outstanding())
    every = media(SysTree(root=root))
    assert {key: every[key[0]].read(key[1]) for key in before} == before


@pytest.mark.parametrize("name", HOST_KNOBS)
def test_a_machine_that_lacks_it_says_why(name: str, tmp_path: Path) -> None:
    knob = KNOBS[name]
    why = knob.missing(host(tmp_path))
    if name in {"cgroup-quota-off", "rt-group-budget"}:
        assert (why, knob.on_host(host(tmp_path))) == ("", ()), "no limit is no obstacle"
    else:
        assert why


@pytest.mark.parametrize("knob", KNOBS.values(), ids=KNOBS)
def test_what_a_knob_says_of_itself(knob: Knob) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", knob.name)
    assert knob.effect
    assert not knob.effect.endswith(".")
    assert knob.undo
    assert knob.worth or knob.risk, "why would anybody use it, or not"
    words = how(knob, host())
    assert bool(words) == (knob.needs is not Needs.NOTHING or bool(knob.on_guest()))


def test_each_knob_is_in_a_file_of_its_own_under_its_name() -> None:
    assert [name for name, knob in KNOBS.items() if knob.name != name] == []
    directory = Path(__file__).parents[2] / "src/vmjitter/tuning/knobs"
    assert len(list(directory.glob("[a-z]*.py"))) == len(KNOBS)


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs/reference/knobs.md"
    assert page.read_text() == knobs_page(), "run script/docs"
    for name in KNOBS:
        assert f"### {name}\n" in page.read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cpu-pm", "-overcommit cpu-pm=on"),
        ("cpu-rt-flags", "+tsc-deadline,+invtsc,pmu=off"),
        ("iothread", "-object iothread,id=io0"),
        ("aio-io-uring", "aio=io_uring"),
        ("huge-pages", "hugetlb=on,hugetlbsize=2M"),
        ("guest-idle-poll", "the guest's kernel command line idle=poll"),
        ("guest-printk-quiet", "in the guest, '3 1 1 7' in /proc/sys/kernel/printk"),
        ("pause-loop-exits-off", "modprobe -r kvm_intel kvm; modprobe kvm_intel"),
        ("vhost-net", "vhost=on"),
    ],
)
def test_what_to_write_where_something_starts_again(name: str, words: str) -> None:
    assert words in how(KNOBS[name], host())


def test_a_module_that_is_part_of_the_kernel_needs_the_boot_line(root: Path) -> None:
    knob = KNOBS["kvmclock-sync-off"]
    [change] = knob.on_host(host(root))
    assert change.wanted == "options kvm kvmclock_periodic_sync=0\n"
    assert "load kvm again" in knob.missing(host(root))
    (root / "sys/module/kvm/initstate").unlink()
    assert knob.on_host(host(root)) == ()
    assert "kvm.kvmclock_periodic_sync=0 on the kernel's command line" in knob.missing(host(root))
    (root / "sys/module/kvm/parameters/kvmclock_periodic_sync").write_text("N\n")
    assert (knob.missing(host(root)), knob.on_host(host(root))) == ("", ())


def test_what_is_so_already_need_not_be_writable(root: Path) -> None:
    knob = KNOBS["watchdog-off"]
    for name in ("nmi_watchdog", "soft_watchdog"):
        (root / "proc/sys/kernel" / name).write_text("0\n")
    tree = _ReadOnly(root=root)
    assert knob.missing(replace(host(root), tree=tree)) == ""
    (root / "proc/sys/kernel/soft_watchdog").write_text("1\n")
    assert "soft_watchdog cannot be written to" in knob.missing(replace(host(root), tree=tree))


class _ReadOnly(SysTree):
    def usable(self, path: str) -> bool:  # noqa: ARG002
        return False


def test_a_file_that_nobody_may_write_is_no_knob_even_for_root(root: Path) -> None:
    (root / "sys/module/kvm/parameters/halt_poll_ns").chmod(0o444)
    assert "is 7, and read-only in this kernel" in KNOBS["halt-polling-off"].missing(host(root))


def test_what_does_the_same_is_enough(root: Path) -> None:
    for path, text, name in (
        ("sys/devices/system/cpu/smt/control", "forceoff\n", "smt-off"),
        ("sys/module/kvm/parameters/nx_huge_pages", "never\n", "nx-huge-pages-off"),
    ):
        (root / path).write_text(text)
        assert (KNOBS[name].missing(host(root)), KNOBS[name].on_host(host(root))) == ("", ())


def test_elsewhere_needs_an_elsewhere(root: Path) -> None:
    shared = host(root, own_cpu=False)
    for name in ("irqs-elsewhere", "workqueues-elsewhere", "vcpu-fifo", "emulator-fifo"):
        assert "no CPU of its own" in KNOBS[name].missing(shared)
    assert KNOBS["qemu-fifo-max"].missing(shared) == "", "the paper had one CPU"


def test_budgets_and_quotas_of_control_groups(root: Path) -> None:
    budgets = KNOBS["rt-group-budget"].on_host(host(root))
    assert [(one.place, one.wanted) for one in budgets] == [
        ("/sys/fs/cgroup/cpu/user/cpu.rt_runtime_us", "850000"),
        ("/sys/fs/cgroup/cpu/user/mine/cpu.rt_runtime_us", "850000"),
    ]
    quotas = KNOBS["cgroup-quota-off"].on_host(host(root))
    assert [(one.place, one.wanted) for one in quotas] == [
        ("/sys/fs/cgroup/user/mine/cpu.max", "max 100000"),
        ("/sys/fs/cgroup/cpu/user/mine/cpu.cfs_quota_us", "-1"),
    ]
    (root / "sys/fs/cgroup/cpu/cpu.rt_runtime_us").write_text("-1\n")  # throttling is off
    assert KNOBS["rt-group-budget"].on_host(host(root))[0].wanted == "850000"
    (root / "sys/fs/cgroup/cpu/user/mine/cpu.rt_runtime_us").write_text("7\n")
    assert len(KNOBS["rt-group-budget"].on_host(host(root))) == 1, "what has some keeps it"


GROUP = Path("/sys/fs/cgroup/cpu/vmjitter-test")


@pytest.fixture
def group_of_qemu(qemu: int) -> Iterator[int]:
    """The fake QEMU in a new control group, which has no real-time budget."""
    if not (GROUP.parent / "cpu.rt_runtime_us").exists() or os.geteuid() != 0:
        pytest.skip("needs root, CONFIG_RT_GROUP_SCHED and cgroup version 1 for the CPU controller")
    GROUP.mkdir()
    (GROUP / "cgroup.procs").write_text(str(qemu))
    yield qemu
    (GROUP.parent / "cgroup.procs").write_text(str(qemu))
    GROUP.rmdir()


@pytest.mark.root
def test_a_real_group_without_budget_refuses_real_time_until_it_has_some(
    group_of_qemu: int, tmp_path: Path
) -> None:
    target = find_target(replace(host(), tree=SysTree()), group_of_qemu)
    tuner = Tuner(Journal(tmp_path), media())
    priorities = KNOBS["vcpu-fifo"].on_threads(target)
    with pytest.raises(MissingCapability, match="fifo 1 was refused"):
        tuner.apply("vcpu-fifo", priorities)
    [made] = tuner.apply("rt-group-budget", KNOBS["rt-group-budget"].on_threads(target))
    assert (made.before, int(made.read_back) > 0) == ("0", True)
    tuner.apply("vcpu-fifo", priorities)
    undone = tuner.revert(tuner.outstanding())
    assert {one.how for one in undone} == {How.RESTORED}
    assert (GROUP / "cpu.rt_runtime_us").read_text() == "0\n"


def test_too_few_huge_pages_are_said(root: Path) -> None:
    [change] = KNOBS["huge-pages"].on_host(host(root))
    assert change.wanted == str(3 + 32 - 1)
    with pytest.raises(MissingCapability, match="only 1 of 32 huge pages are free"):
        KNOBS["huge-pages"].on_machine(_machine(), host(root))


def _machine() -> Machine:
    return Machine(
        accel=Accel.KVM,
        kernel=Path(),
        initramfs=Path(),
        append="",
        memory_bytes=64 << 20,
        vcpus=1,
        disk=Disk.NONE,
        network=Network.NONE,
        vhost=False,
    )


@pytest.fixture
def qemu() -> Iterator[int]:
    with fake_qemu() as pid:
        yield pid


def test_a_running_qemu_is_found_by_the_names_of_its_threads(qemu: int) -> None:
    target = find_target(host(), qemu)
    assert [one.name for one in target.vcpus] == ["CPU 0/KVM", "CPU 1/KVM"]
    assert [one.name for one in target.iothreads] == ["IO io0"]
    assert [one.name for one in target.vhost] == ["vhost-1"]
    assert len(target.threads) == 6
    assert target.host.accel is Accel.KVM


def test_what_each_knob_wants_of_its_threads(qemu: int) -> None:
    target = find_target(host(), qemu)
    wanted = {
        name: {change.title.rpartition(" (")[0]: change.wanted for change in changes}
        for name, knob in KNOBS.items()
        if (changes := knob.on_threads(target)) and name != "kthreads-fifo"
    }
    main = target.threads[0].name
    assert wanted == {
        "vcpu-pin": {"CPU 0/KVM": "2", "CPU 1/KVM": "3"},
        "vcpu-fifo": {"CPU 0/KVM": "fifo 1", "CPU 1/KVM": "fifo 1"},
        "emulator-pin": {main: "0-1", "IO io0": "0-1", "vhost-1": "0-1", "worker": "0-1"},
        "emulator-fifo": {main: "fifo 1", "worker": "fifo 1"},
        "iothread-fifo": {"IO io0": "fifo 2"},
        "vhost-fifo": {"vhost-1": "fifo 2"},
        "vhost-pin": {"vhost-1": "0-1"},
        "qemu-fifo-max": dict.fromkeys((main, *NAMES), "fifo 99"),
    }


def test_a_process_that_is_no_qemu() -> None:
    with pytest.raises(UsageError, match="named as a virtual CPU") as caught:
        find_target(host(), os.getpid())
    assert "debug-threads=on" in caught.value.hint
    with pytest.raises(UsageError, match="there is no process 0"):
        find_target(host(), 0)


@pytest.mark.parametrize(
    ("cpus", "message"),
    [("2-x", "no list of CPUs"), ("2,9", "there is no CPU 9"), ("0-3", "no CPU is left")],
)
def test_cpus_that_cannot_be_the_guests(root: Path, cpus: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        host_with(cpus, host(root))


def test_cpus_for_the_guest(root: Path) -> None:
    found = host_with("1-2", host(root))
    assert (set(found.guest_cpus), set(found.other_cpus)) == ({1, 2}, {0, 3})
    assert host_with("", host(root)).shared


def test_a_priority_that_would_starve_the_main_loop_is_refused(qemu: int) -> None:
    cpu = min(os.sched_getaffinity(0))
    target = find_target(host(), qemu)
    changes = KNOBS["vcpu-fifo"].on_threads(target)
    for one in target.threads:
        os.sched_setaffinity(one.tid, {cpu})
    assert "emulator-pin" in starves_main_loop(target, changes)
    everything = KNOBS["qemu-fifo-max"].on_threads(target)
    assert starves_main_loop(target, everything) == "", "the main loop gets the same"
    assert starves_main_loop(target, KNOBS["vcpu-pin"].on_threads(target)) == ""
    others = os.sched_getaffinity(0) - {cpu}
    if others:
        os.sched_setaffinity(qemu, others)
        assert starves_main_loop(target, changes) == ""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for real-time: run as root")
def test_threads_get_policies_and_cpus_and_lose_them_again(qemu: int, tmp_path: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    mine = Host(guest_cpus=frozenset(cpus[-1:]), other_cpus=frozenset(cpus[:-1] or cpus))
    target = find_target(mine, qemu)
    before = state_of(target)
    tuner = Tuner(Journal(tmp_path), media())
    knobs = [knob for knob in KNOBS.values() if isinstance(knob, ThreadKnob)]
    for knob in knobs:
        if knob.name != "kthreads-fifo":  # they are not ours to play with
            made = tuner.apply(knob.name, knob.on_threads(target))
            assert [one for one in made if one.read_back != one.wanted] == []
    assert state_of(target) != before
    undone = tuner.revert(tuner.outstanding())
    assert {one.how for one in undone} <= {How.RESTORED, How.UNCHANGED}
    assert state_of(target) == before


def state_of(target: Target) -> list[tuple[str, str, str]]:
    return [
        (thread_place(one), read_policy(one.tid), read_cpus(one.tid)) for one in threads(target.pid)
    ]
