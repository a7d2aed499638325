"""Records on a raw disk: complete ones arrive once and in order, torn ones not at all."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmjitter.errors import DataError
from vmjitter.sim.tape import SECTOR, Record, TapeReader, TapeWriter, encode

_MIB = 1 << 20

values = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20)
records = st.builds(
    Record,
    kind=st.text(max_size=10),
    head=st.dictionaries(st.text(max_size=5), values, max_size=2),
    payload=st.binary(max_size=3 * SECTOR),
)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with path.open("wb") as stream:
        stream.truncate(4 * _MIB)
    return path


@given(written=st.lists(st.lists(records, max_size=4), max_size=4))
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_once_and_in_order(written: list[list[Record]]) -> None:
    with tempfile.NamedTemporaryFile() as file, TapeReader(Path(file.name)) as reader:
        os.truncate(file.name, _MIB)
        with TapeWriter(Path(file.name)) as tape:
            for batch in written:
                for record in batch:
                    tape.write(record)
                assert list(reader.take()) == batch
        assert list(reader.take()) == []
    with tempfile.NamedTemporaryFile() as file, TapeWriter(Path(file.name)) as tape:
        for record in (record for batch in written for record in batch):
            tape.write(record)
        with TapeReader(Path(file.name)) as reader:
            assert list(reader.take()) == [record for batch in written for record in batch]


def test_a_record_has_whole_sectors() -> None:
    assert len(encode(Record(kind="tick"), 0)) == SECTOR
    assert len(encode(Record(kind="x", payload=b"1"), 0)) == 2 * SECTOR
    assert len(encode(Record(kind="x", payload=bytes(SECTOR)), 0)) == 2 * SECTOR


@pytest.mark.parametrize("before", [0, 1, 300])
@pytest.mark.parametrize("blank", [True, False], ids=["on a disk", "at a file's end"])
def test_a_torn_record_is_not_delivered_until_it_is_complete(
    tmp_path: Path, before: int, *, blank: bool
) -> None:
    record = Record(kind="file", head={"path": "a", "n": 12}, payload=b"\xff" * (SECTOR + 9))
    begin = b"".join(encode(Record(kind="tick"), number) for number in range(before))
    data = encode(record, before)
    needed = 2 * SECTOR + 9  # what follows are the zeros up to the sector's end
    path = tmp_path / "disk"
    path.write_bytes(begin + data)
    for cut in range(len(data) + 1):
        os.truncate(path, len(begin) + cut)
        if blank:
            os.truncate(path, len(begin) + len(data))
        with TapeReader(path) as reader, path.open("r+b", buffering=0) as stream:
            got = list(reader.take())[before:]
            assert got == ([record] if cut >= needed else []), cut
            os.pwrite(stream.fileno(), data, len(begin))
            assert got + list(reader.take()) == [record], cut


@pytest.mark.parametrize("place", [0, 8, 16, 20, 24, 30, SECTOR, SECTOR + 99])
def test_a_damaged_record_is_not_delivered(tmp_path: Path, place: int) -> None:
    data = bytearray(encode(Record(kind="file", head={"path": "a"}, payload=b"x" * 100), 0))
    data[place] ^= 0x80
    path = tmp_path / "disk"
    path.write_bytes(bytes(data))
    with TapeReader(path) as reader:
        assert list(reader.take()) == []


def test_records_of_an_older_tape_do_not_follow(disk: Path) -> None:
    with TapeWriter(disk) as tape:
        for number in range(5):
            tape.write(Record(kind="old", head={"n": number}))
    with TapeWriter(disk) as tape, TapeReader(disk) as reader:
        tape.write(Record(kind="new", payload=b"1"))
        assert [record.kind for record in reader.take()] == ["new"]


def test_a_payload_larger_than_one_request(disk: Path) -> None:
    record = Record(kind="output", payload=os.urandom(_MIB + _MIB // 2 + 3))
    with TapeWriter(disk) as tape, TapeReader(disk) as reader:
        tape.write(record)
        tape.write(Record(kind="end"))
        assert list(reader.take()) == [record, Record(kind="end")]


@pytest.mark.parametrize("size", [0, 1, _MIB, _MIB + 1])
def test_a_large_file_comes_in_parts_of_which_one_is_the_last(disk: Path, size: int) -> None:
    data = os.urandom(size)
    with TapeWriter(disk) as tape, TapeReader(disk) as reader:
        tape.write_file("a/b", data, 7, mode=0o600)
        got = list(reader.take())
    assert b"".join(record.payload for record in got) == data
    assert [record.head["last"] for record in got] == [False] * (len(got) - 1) + [True]
    assert got[-1].head["offset"] == 7 + (len(got) - 1) * _MIB
    assert {record.head["mode"] for record in got} == {0o600}
    assert len(got) == max(1, -(-size // _MIB))


def test_part_of_a_file_has_no_last_record(disk: Path) -> None:
    with TapeWriter(disk) as tape, TapeReader(disk) as reader:
        tape.write_file("a", b"x", whole=False)
        assert [record.head["last"] for record in reader.take()] == [False]


def test_a_head_that_does_not_fit_is_refused_and_leaves_no_gap(disk: Path) -> None:
    with TapeWriter(disk) as tape, TapeReader(disk) as reader:
        with pytest.raises(ValueError, match="head of a file record is too long: 6"):
            tape.write_file("x" * 600, b"")
        tape.write(Record(kind="tick"))
        assert list(reader.take()) == [Record(kind="tick")]


@pytest.mark.parametrize("value", [None, "1", [1]])
def test_a_record_without_what_it_needs_is_an_error(value: object) -> None:
    record = Record(kind="end", head={"status": value})
    with pytest.raises(DataError, match="a end record without the number 'status'"):
        record.integer("status")
    with pytest.raises(DataError, match="without the text 'path'"):
        record.text("path")


def test_reading_while_it_is_written(disk: Path) -> None:
    sent = [
        Record(kind="output", head={"n": number}, payload=os.urandom(number * 97 % 5000))
        for number in range(300)
    ]

    def write() -> None:
        with TapeWriter(disk) as tape:
            for record in sent:
                tape.write(record)

    writer = threading.Thread(target=write)
    got: list[Record] = []
    with TapeReader(disk) as reader:
        writer.start()
        while writer.is_alive():
            got += reader.take()
        writer.join()
        got += reader.take()
    assert got == sent


@contextmanager
def _no_file_longer_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_record_that_only_half_fits_on_the_disk_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.touch()
    with TapeWriter(path) as tape, _no_file_longer_than(2 * SECTOR), pytest.raises(OSError):  # noqa: PT011
        tape.write(Record(kind="end", payload=bytes(2 * SECTOR)))


def test_past_the_page_cache(tmp_path: Path, disk: Path) -> None:
    try:
        os.close(os.open(disk, os.O_WRONLY | os.O_DIRECT))
    except OSError:
        pytest.skip(f"no O_DIRECT on the file system of {tmp_path}; set TMPDIR to another one")
    with TapeWriter(disk, direct=True) as tape, TapeReader(disk) as reader:
        tape.write(Record(kind="x", payload=b"1" * (_MIB + 5)))
        assert [len(record.payload) for record in reader.take()] == [_MIB + 5]
