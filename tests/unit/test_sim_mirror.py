"""A growing directory arrives as it is, whenever one looks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vmjitter.errors import DataError
from vmjitter.sim.mirror import Mirror, receive
from vmjitter.sim.tape import Record, TapeReader, TapeWriter

_WHOLE = 64 << 10


class Pair:
    """A directory, its copy, and the tape between them."""

    def __init__(self, place: Path) -> None:
        self.source, self.copy = place / "source", place / "copy"
        self.source.mkdir()
        disk = place / "disk"
        with disk.open("wb") as stream:
            stream.truncate(64 << 20)
        self.tape, self.reader = TapeWriter(disk), TapeReader(disk)
        self.mirror = Mirror(self.source, self.tape)

    def arrived(self) -> list[tuple[str, int, int]]:
        """Take what has come; path, offset and length of each part."""
        parts = []
        for record in self.reader.take():
            path = record.text("path")
            receive(record, self.copy, path)
            parts.append((path, record.integer("offset"), len(record.payload)))
        return parts

    def content(self, root: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and path.suffix != ".tmp" and not path.name.startswith(".")
        }


@contextmanager
def pair_of_directories() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory() as place:
        pair = Pair(Path(place))
        with pair.tape, pair.reader:
            yield pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_of_directories() as made:
        yield made


steps = st.one_of(
    st.tuples(st.just("append"), st.sampled_from([16, 1600, _WHOLE - 64, _WHOLE])),
    st.tuples(st.just("replace"), st.sampled_from([0, 5, 900, 4096])),
    st.tuples(st.just("send"), st.just(0)),
)


@given(taken=st.lists(steps, max_size=12), header=st.binary(min_size=64, max_size=64))
@example(taken=[("append", 16), ("send", 0)], header=b"h" * 64)
@settings(max_examples=60, deadline=None)
def test_a_run_arrives_byte_for_byte(taken: list[tuple[str, int]], header: bytes) -> None:
    with pair_of_directories() as pair:
        raw = pair.source / "samples.raw"
        raw.write_bytes(bytes(64))
        for step, size in taken:
            if step == "append":
                with raw.open("ab") as stream:
                    stream.write(os.urandom(size))
            elif step == "replace":
                new = pair.source / "status.json.tmp"
                new.write_bytes(os.urandom(size))
                new.rename(pair.source / "status.json")
            else:
                pair.mirror.send()
                pair.arrived()
                assert pair.content(pair.copy) == pair.content(pair.source)
        with raw.open("r+b") as stream:
            stream.write(header)
        pair.mirror.finish()
        pair.arrived()
        assert pair.content(pair.copy) == pair.content(pair.source)


def test_a_header_rewritten_in_the_same_tick_of_the_clock_arrives(pair: Pair) -> None:
    """Kernels before 6.13 stamp files with the time of the last tick, up to 10 ms ago."""
    raw = pair.source / "samples.raw"
    raw.write_bytes(bytes(128))
    pair.mirror.send()
    status = raw.stat()
    with raw.open("r+b") as stream:
        stream.write(b"h" * 64)
    os.utime(raw, ns=(status.st_atime_ns, status.st_mtime_ns))
    pair.mirror.finish()
    pair.arrived()
    assert pair.content(pair.copy) == pair.content(pair.source)


def test_of_a_long_file_only_the_growth_is_sent(pair: Pair) -> None:
    path = pair.source / "deep" / "samples.raw"
    path.parent.mkdir()
    path.write_bytes(os.urandom(_WHOLE + 16))
    pair.mirror.send()
    assert pair.arrived() == [("deep/samples.raw", 0, _WHOLE + 16)]
    with path.open("ab") as stream:
        stream.write(os.urandom(32))
    pair.mirror.send()
    assert pair.arrived() == [("deep/samples.raw", _WHOLE + 16, 32)]
    pair.mirror.send()
    assert pair.arrived() == []
    pair.mirror.finish()
    assert pair.arrived() == [("deep/samples.raw", 0, 4096)]
    assert pair.content(pair.copy) == pair.content(pair.source)


def test_a_long_file_that_was_replaced_is_sent_as_a_whole(pair: Pair) -> None:
    path = pair.source / "log"
    path.write_bytes(os.urandom(_WHOLE + 5))
    pair.mirror.send()
    (pair.source / "log.tmp").write_bytes(os.urandom(_WHOLE + 50))
    (pair.source / "log.tmp").rename(path)
    pair.mirror.send()
    pair.arrived()
    assert pair.content(pair.copy) == pair.content(pair.source)


@pytest.mark.parametrize("before", [100, _WHOLE + 100])
@pytest.mark.parametrize("after", [0, 50])
def test_a_file_that_was_cut_is_cut_there(pair: Pair, before: int, after: int) -> None:
    path = pair.source / "log"
    path.write_bytes(os.urandom(before))
    pair.mirror.send()
    os.truncate(path, after)
    pair.mirror.send()
    pair.arrived()
    assert pair.content(pair.copy) == pair.content(pair.source)


def test_temporary_and_hidden_files_stay(pair: Pair) -> None:
    for name in ("status.json.tmp", ".scratch", "kept"):
        (pair.source / name).write_text(name)
    (pair.source / "directory").mkdir()
    pair.mirror.finish()
    assert {name for name, _, _ in pair.arrived()} == {"kept"}


def test_a_long_file_that_is_gone_does_not_stop_the_end(pair: Pair) -> None:
    (pair.source / "big").write_bytes(bytes(_WHOLE + 1))
    pair.mirror.send()
    (pair.source / "big").unlink()
    (pair.source / "status.json").write_text("{}")
    pair.mirror.finish()
    pair.arrived()
    assert (pair.copy / "status.json").read_text() == "{}"


def test_permissions_come_along(tmp_path: Path) -> None:
    head = {"path": "x", "offset": 0, "mode": 0o755, "last": True}
    receive(Record(kind="file", head=head, payload=b"#!"), tmp_path / "new", "a/x")
    assert (tmp_path / "new/a/x").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["../up", "a/../../up", "/up"])
def test_nothing_is_put_outside_the_directory(tmp_path: Path, name: str) -> None:
    name = f"{tmp_path}{name}" if name.startswith("/") else name
    record = Record(kind="file", head={"path": name, "offset": 0, "last": True})
    with pytest.raises(DataError, match="not below its directory"):
        receive(record, tmp_path / "root", name)
    assert not (tmp_path / "up").exists()
