"""QMP over a socket pair: the good way and every way of breaking."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import pytest

from fakes.fake_qmp import FakeQmp
from vmjitter.errors import CommandFailed, QemuDied
from vmjitter.qmp.client import Qmp


def _answer(message: Mapping[str, object]) -> object:
    name = message["execute"]
    if name == "quit":
        return None
    if name == "wrong":
        error = {"class": "CommandNotFound", "desc": "The command wrong has not been found"}
        return {"error": error, "id": message["id"]}
    return {"return": [{"cpu-index": 0, "thread-id": 42}], "id": message["id"]}


def test_a_command_and_its_reply() -> None:
    ours, theirs = socket.socketpair()
    with FakeQmp(theirs, _answer), Qmp(ours) as qmp:
        qmp.connect()
        assert qmp.execute("query-cpus-fast") == [{"cpu-index": 0, "thread-id": 42}]
        assert qmp.events() == []


def test_a_refused_command() -> None:
    ours, theirs = socket.socketpair()
    with FakeQmp(theirs, _answer), Qmp(ours) as qmp:
        qmp.connect()
        with pytest.raises(CommandFailed, match="The command wrong has not been found"):
            qmp.execute("wrong")
        assert qmp.execute("query-cpus-fast")  # the session goes on


def test_a_connection_that_breaks_while_waiting() -> None:
    ours, theirs = socket.socketpair()
    with FakeQmp(theirs, _answer), Qmp(ours) as qmp:
        qmp.connect()
        with pytest.raises(QemuDied, match="broke"):
            qmp.execute("quit")


def test_no_greeting_before_the_end_of_file() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with Qmp(ours) as qmp, pytest.raises(QemuDied, match="the greeting"):
        qmp.connect()


def test_no_greeting_at_all() -> None:
    ours, theirs = socket.socketpair()
    refused = pytest.raises(QemuDied, match=r"did not answer on QMP within 0\.2 s")
    with theirs, Qmp(ours, timeout_s=0.2) as qmp, refused:
        qmp.connect()
