"""The command line itself: help, mistakes, exit statuses."""

from __future__ import annotations

import json

import pytest

from vmjitter import __version__
from vmjitter.cli import run


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"vmjitter {__version__}\n"


@pytest.mark.parametrize("verb", [["run"], ["report"], ["guest", "build"], ["guest", "list"], []])
def test_help_of_every_verb(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: vmjitter" in text
    if verb and verb != ["guest", "list"]:
        assert "Example" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "papre"], "did you mean 'paper'?"),
        (["run", "paper", "--only", "kernal"], "did you mean 'kernel'?"),
        (["run", "paper", "--set", "probe.lops=3"], "did you mean 'probe.loops'?"),
        (["run", "paper", "--loops", "0"], "--loops: probe.loops: 0 is not between"),
        (["run", "paper", "--duration", "1 parsec"], "'1 parsec' is not a duration"),
        (["run", "paper", "--duration", "1s", "--loops", "3"], "exclude each other"),
        (["run", "paper", "--duration", "1us"], "--duration: probe.loops: 0 is not between"),
        (["run", "paper", "--interval", "1 parsec"], "--interval: probe.period"),
        (["run", "paper", "--kernel", "/none"], "/none"),
        (["run"], "Missing argument"),
        (["run", "paper", "--no-such-option"], "No such option"),
        (["guest", "build", "debian-rt-i368"], "debian-rt-i386"),
        (["guest", "build"], "either the NAME"),
        (["measure"], "No such command"),
    ],
)
def test_mistakes_are_usage_errors(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert words in " ".join(
        capsys.readouterr().err.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", "").split()
    )


def test_an_unreadable_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "/no/such/run"]) in (1, 2)
    assert "/no/such/run" in capsys.readouterr().err


def test_the_list_of_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["guest", "list", "--json"]) == 0
    names = [kernel["name"] for kernel in json.loads(capsys.readouterr().out)["kernels"]]
    assert names == [
        "debian-rt-i386", "debian-i386", "debian-amd64", "debian-rt-amd64", "debian-cloud-amd64"
    ]  # fmt: skip
    assert run(["guest", "list"]) == 0
    assert "debian-rt-i386" in capsys.readouterr().out
