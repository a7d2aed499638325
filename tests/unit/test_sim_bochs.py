"""The virtual clock: Bochs' configuration, command line and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.sim_parts import make_spec, make_tree
from vmjitter.errors import MissingCapability
from vmjitter.guest.tree import Tree
from vmjitter.sim import bochs
from vmjitter.sim.bochs import Media, bochs_argv, bochs_environment, bochsrc

TREE = Tree(root=Path("/tree"), packages={})
MEDIA = Media(
    disc=Path("/m/boot.iso"),
    system=Path("/m/system.img"),
    job=Path("/m/job.img"),
    result=Path("/m/result.img"),
    console=Path("/m/console.log"),
    log=Path("/m/simulator.log"),
)


def _configuration(*assignments: str, console: str = "/m/console.log") -> dict[str, str]:
    media = Media(**{**vars(MEDIA), "console": Path(console)})
    lines = bochsrc(make_spec(*assignments), media, TREE).splitlines()
    pairs = [line.partition(": ")[::2] for line in lines]
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


def test_nothing_looks_at_the_real_clock() -> None:
    configuration = _configuration()
    assert configuration["clock"] == "sync=none, time0=1000000000"
    assert "ips=1000000000" in configuration["cpu"].split(", ")


@pytest.mark.parametrize(("cpus", "quantum"), [(1, []), (2, ["quantum=9"]), (4, ["quantum=9"])])
def test_only_several_cpus_take_turns(cpus: int, quantum: list[str]) -> None:
    words = _configuration(f"sim.cpus={cpus}", "sim.quantum=9")["cpu"].split(", ")
    assert f"count={cpus}" in words
    assert [word for word in words if word.startswith("quantum")] == quantum


def test_processor_and_memory_are_the_machines() -> None:
    configuration = _configuration("sim.cpu_model=broadwell_ult", "sim.memory=1536M")
    assert configuration["cpu"].startswith("model=broadwell_ult, ")
    assert configuration["memory"] == "guest=1536, host=1536"


@pytest.mark.parametrize(
    ("console", "mode"), [("/m/console.log", "file"), ("/dev/pts/7", "term"), ("/devices", "file")]
)
def test_the_console_is_a_file_or_a_terminal(console: str, mode: str) -> None:
    text = _configuration(console=console)["com1"]
    assert text == f"enabled=1, mode={mode}, dev={console}"


def test_every_disk_has_its_place_and_the_shared_one_is_never_written() -> None:
    configuration = _configuration()
    assert configuration["ata0-master"] == "type=cdrom, path=/m/boot.iso, status=inserted"
    assert (
        configuration["ata0-slave"]
        == "type=disk, path=/m/system.img, mode=volatile, journal=/m/system.redolog"
    )
    assert configuration["ata1-master"] == "type=disk, path=/m/job.img, mode=flat"
    assert configuration["ata1-slave"] == "type=disk, path=/m/result.img, mode=flat"
    assert configuration["boot"] == "cdrom"
    assert configuration["log"] == "/m/simulator.log"


def test_firmware_comes_from_the_tree() -> None:
    configuration = _configuration()
    for key in ("romimage", "vgaromimage"):
        assert configuration[key].startswith("file=/tree/usr/share/bochs/")


def test_a_failure_ends_it_and_asks_nobody() -> None:
    configuration = _configuration()
    assert configuration["panic"] == "action=fatal"
    assert configuration["config_interface"] == "textconfig"


def test_it_is_started_with_our_library(tmp_path: Path) -> None:
    argv = bochs_argv(make_tree(tmp_path), Path("/m/bochsrc"))
    assert argv[argv.index("--preload") + 1].endswith("/_native/bochs-x86_64.so")
    assert argv[0].endswith("ld-linux-x86-64.so.2")
    assert argv[-4:] == [str(tmp_path / "usr/bin/bochs-bin"), "-q", "-f", "/m/bochsrc"]


def test_nothing_follows_the_wall_clock() -> None:
    configuration = _configuration()
    assert "realtime=0" in configuration["vga"]
    assert "sync=none" in configuration["clock"]


def test_without_the_library_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, arch: str) -> Path:
        raise MissingCapability(f"{name}-{arch} was not built")

    monkeypatch.setattr(bochs, "native_program", missing)
    with pytest.raises(MissingCapability, match=r"bochs-x86_64.so was not built"):
        bochs_argv(make_tree(tmp_path), Path("/m/bochsrc"))


def test_its_environment_is_the_trees_and_not_ours() -> None:
    environment = bochs_environment(make_spec("sim.cpus=3"), TREE)
    assert environment["VMJITTER_BOCHS_CPUS"] == "3"
    assert environment["TERM"] == "vt100"
    for name in ("LTDL_LIBRARY_PATH", "BXSHARE", "TERMINFO"):
        assert environment[name].startswith("/tree/usr/")
    assert "PATH" not in environment
