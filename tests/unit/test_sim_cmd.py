"""`vmjitter sim`: help, mistakes, exit statuses; the simulated host itself is a stand-in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from fakes.sim_parts import make_build
from vmjitter.cli import run, sim_cmd
from vmjitter.effects.terminal import Console
from vmjitter.errors import SimulationLost
from vmjitter.model.sim import Clock, SimSpec
from vmjitter.sim.build import HostBuild
from vmjitter.sim.doctor import Finding


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Parts are made at once; the calls, each with kernel and refresh."""
    calls: list[tuple[str, bool]] = []

    def build(kernel: str, *, say: Callable[[str], None], refresh: bool = False) -> HostBuild:
        say("packages")
        calls.append((kernel, refresh))
        return make_build(tmp_path / str(len(calls)))

    monkeypatch.setattr(sim_cmd, "build_host", build)
    return calls


@pytest.mark.parametrize("verb", ["build", "shell", "exec"])
def test_help_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: vmjitter sim {verb}" in text
    assert f"vmjitter sim {verb} -" in text
    assert "--machine" in text


def test_help_of_the_doctor_says_what_its_status_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "doctor", "--help"]) == 0
    assert "Exit status: 0 it can be used, 1 it cannot" in capsys.readouterr().out


def test_help_of_the_group_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--help"]) == 0
    text = capsys.readouterr().out
    for verb in ("build", "shell", "exec", "doctor"):
        assert verb in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "--machine", "paper-2021"], "did you mean 'paper-2012'?"),
        (["build", "--set", "sim.cpu=3"], "did you mean 'sim.cpus'?"),
        (["exec", "--clock", "reel", "--", "true"], "reel"),
        (["exec", "--set", "sim.cpus=0", "--", "true"], "0 is not between 1 and 16"),
        (["exec"], "Missing argument"),
        (["dance"], "No such command"),
    ],
)
def test_mistakes_are_usage_errors(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sim", *arguments]) == 2
    assert words in " ".join(
        capsys.readouterr().err.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", "").split()
    )


@pytest.mark.usefixtures("built")
def test_a_shell_without_a_terminal_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(["sim", "shell"]) == 2
    err = capsys.readouterr().err
    assert "a shell needs a terminal" in err
    assert "vmjitter sim exec -- COMMAND" in err


@pytest.mark.parametrize(("end", "status"), [(0, 0), (5, 5), (KeyboardInterrupt(), 130)])
@pytest.mark.usefixtures("built")
def test_the_shells_exit_status_is_ours(
    monkeypatch: pytest.MonkeyPatch, end: int | BaseException, status: int
) -> None:
    seen: list[object] = []
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))

    @contextmanager
    def raw_console() -> Iterator[Console]:
        yield Console(device=Path("/dev/pts/7"), size=(24, 80), master_fd=-1)
        seen.append("restored")

    def shell(_build: HostBuild, spec: SimSpec, device: Path, size: object, _pump: object) -> int:
        seen.extend([spec.cpus, device, size])
        if isinstance(end, BaseException):
            raise end
        return end

    monkeypatch.setattr(sim_cmd, "raw_console", raw_console)
    monkeypatch.setattr(sim_cmd, "run_shell", shell)
    assert run(["sim", "shell", "--set", "sim.cpus=4"]) == status
    assert seen[:3] == [4, Path("/dev/pts/7"), (24, 80)]


class Executed:
    """What was asked of a simulated host, and what it answers."""

    def __init__(self) -> None:
        self.spec: SimSpec | None = None
        self.argv: Sequence[str] = ()
        self.status = 0
        self.out = b"out\n"
        self.error: BaseException | None = None

    def __call__(
        self,
        _build: HostBuild,
        spec: SimSpec,
        argv: Sequence[str],
        output: Callable[[int, bytes], None],
    ) -> int:
        self.spec, self.argv = spec, list(argv)
        output(1, self.out)
        output(2, b"err\n")
        if self.error is not None:
            raise self.error
        return self.status


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, built: object) -> Executed:
    assert built == []
    made = Executed()
    monkeypatch.setattr(sim_cmd, "execute", made)
    return made


@pytest.mark.parametrize("status", [0, 3, 137])
def test_a_commands_status_and_output_are_passed_on(
    executed: Executed, status: int, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    executed.status, executed.out = status, b"not UTF-8: \xff\n"
    command = ["--clock", "real", "--machine", "fast-nvme", "--", "ls", "--all", "-l"]
    assert run(["sim", "exec", *command]) == status
    out, err = capfdbinary.readouterr()
    assert (out, err) == (executed.out, b"err\n")
    assert executed.argv == ["ls", "--all", "-l"]
    assert executed.spec is not None
    assert (executed.spec.clock, executed.spec.machine) == (Clock.REAL, "fast-nvme")


def test_variables_choose_the_machine_too(
    executed: Executed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMJITTER_SIM_CPUS", "3")
    assert run(["sim", "exec", "--", "true"]) == 0
    assert executed.spec is not None
    assert executed.spec.cpus == 3


def test_a_lost_host_is_an_error_with_evidence(
    executed: Executed, capsys: pytest.CaptureFixture[str]
) -> None:
    executed.error = SimulationLost("it is gone", hint="look", evidence="Kernel panic")
    assert run(["sim", "exec", "--", "true"]) == 1
    err = capsys.readouterr().err
    for words in ("vmjitter: it is gone", "| Kernel panic", "hint: look"):
        assert words in err


def test_an_interrupted_command(executed: Executed) -> None:
    executed.error = KeyboardInterrupt()
    assert run(["sim", "exec", "--", "true"]) == 130


def test_a_build_as_json(built: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "build", "--json", "--refresh"]) == 0
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert facts["format"] == 1
    assert (facts["bochs"], facts["qemu-system-x86"]) == ("3.0", "1:7.2")
    assert facts["system_disk"].endswith("/system.img")
    assert "packages ..." in said.err
    assert built == [("debian-cloud-amd64", True)]


def test_a_build_as_text(built: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "build", "--set", "sim.kernel=debian-amd64"]) == 0
    assert "bochs              3.0\n" in capsys.readouterr().out
    assert built == [("debian-amd64", False)]


def _findings(*, needed: bool) -> tuple[Finding, ...]:
    return (
        Finding(id="good", ok=True, evidence="it is there"),
        Finding(id="bad", ok=False, evidence="it is not", cure="get it", needed=needed),
    )


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(("needed", "status"), [(True, 1), (False, 0)])
def test_the_doctors_status_is_about_what_is_needed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    *,
    needed: bool,
    as_json: bool,
) -> None:
    monkeypatch.setattr("vmjitter.sim.doctor.examine", lambda *_: _findings(needed=needed))
    assert run(["sim", "doctor", *(["--json"] if as_json else [])]) == status
    text = capsys.readouterr().out
    if as_json:
        said = json.loads(text)
        assert said["format"] == 1
        bad = {"id": "bad", "ok": False, "evidence": "it is not", "cure": "get it"}
        assert said["findings"][1] == {**bad, "needed": needed}
    else:
        lines = [line.split() for line in text.splitlines() if line.strip()]
        assert ["ok", "good", "it", "is", "there"] in lines
        assert ["missing", "bad", "it", "is", "not", "get", "it"] in lines
