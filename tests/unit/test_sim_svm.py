"""The real clock: QEMU's command line for a simulated host."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.sim_parts import make_spec
from vmjitter.sim.bochs import Media
from vmjitter.sim.host import kernel_arguments
from vmjitter.sim.svm import svm_argv


def _argv(*assignments: str, console: str = "/m/console.log") -> list[str]:
    media = Media(
        disc=Path("/m/boot.iso"),
        system=Path("/m/system.img"),
        job=Path("/m/job.img"),
        result=Path("/m/result.img"),
        console=Path(console),
        log=Path("/m/simulator.log"),
    )
    return svm_argv(
        "qemu",
        make_spec("sim.clock=real", *assignments),
        media,
        kernel=Path("/k/vmlinuz"),
        initramfs=Path("/k/initrd"),
        append=("quiet", "panic=-1"),
    )


def _after(argv: list[str], option: str) -> list[str]:
    return [argv[place + 1] for place, word in enumerate(argv) if word == option]


def test_processors_have_svm_and_a_thread_each() -> None:
    argv = _argv("sim.cpus=3", "sim.memory=1536M")
    assert _after(argv, "-accel") == ["tcg,thread=multi"]
    assert _after(argv, "-cpu") == ["max,+svm"]
    assert _after(argv, "-smp") == ["3"]
    assert _after(argv, "-m") == ["1536M"]


def test_the_kernel_is_started_directly() -> None:
    argv = _argv()
    assert _after(argv, "-kernel") == ["/k/vmlinuz"]
    assert _after(argv, "-initrd") == ["/k/initrd"]
    assert _after(argv, "-append") == ["quiet panic=-1"]
    assert not [word for word in argv if "boot.iso" in word]


def test_disks_stand_where_bochs_has_them_and_the_shared_one_is_never_written() -> None:
    assert _after(_argv(), "-drive") == [
        "file=/m/system.img,format=raw,if=ide,index=1,snapshot=on",
        "file=/m/job.img,format=raw,if=ide,index=2,cache=writethrough",
        "file=/m/result.img,format=raw,if=ide,index=3,cache=writethrough",
    ]


@pytest.mark.parametrize(
    ("console", "kind"),
    [("/m/console.log", "file"), ("/dev/pts/7", "serial"), ("/devices", "file")],
)
def test_the_console_is_a_file_or_a_terminal(console: str, kind: str) -> None:
    argv = _argv(console=console)
    assert _after(argv, "-chardev") == [f"{kind},id=console,path={console}"]
    assert _after(argv, "-serial") == ["chardev:console"]


def test_a_panic_ends_it() -> None:
    assert "-no-reboot" in _argv()


def test_the_kernel_is_told_seed_and_clock() -> None:
    virtual = kernel_arguments(make_spec("sim.seed=7", "sim.append=a=1 b"))
    assert virtual[-3:] == ("vmjitter.seed=7", "a=1", "b")
    assert "vmjitter.pio" in virtual
    real = kernel_arguments(make_spec("sim.clock=real"))
    assert "vmjitter.pio" not in real
    assert {"rdinit=/init", "nokaslr", "tsc=reliable"} <= {*real} & {*virtual}
