"""The archive writer against the format's text and against the host's cpio."""

from __future__ import annotations

import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.guest import cpio

HEADER = 110


def parse(archive: bytes) -> dict[str, tuple[list[int], bytes]]:
    """Read an archive independently of the writer: name to header fields and data."""
    found: dict[str, tuple[list[int], bytes]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name_at = at + HEADER
        name = archive[name_at : name_at + fields[11] - 1].decode()
        data_at = (name_at + fields[11] + 3) // 4 * 4
        data = archive[data_at : data_at + fields[6]]
        at = (data_at + fields[6] + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        assert name not in found
        found[name] = (fields, data)


ENTRIES = [
    cpio.file("init", b"\x7fELF", mode=0o755),
    cpio.symlink("bin/sh", "busybox"),
    cpio.file("bin/busybox", b"12345", mode=0o755),
    cpio.directory("proc"),
    cpio.character_device("dev/console", 5, 1),
]


def test_every_field_of_a_small_archive() -> None:
    found = parse(cpio.pack(ENTRIES))
    assert list(found) == ["bin", "bin/busybox", "bin/sh", "dev", "dev/console", "init", "proc"]
    fields, data = found["bin/busybox"]
    assert fields == [2, stat.S_IFREG | 0o755, 0, 0, 1, 0, 5, 0, 0, 0, 0, len("bin/busybox") + 1, 0]
    assert data == b"12345"
    assert found["bin/sh"][1] == b"busybox"
    assert found["dev/console"][0][9:11] == [5, 1]
    assert stat.S_ISCHR(found["dev/console"][0][1])
    assert stat.S_ISDIR(found["proc"][0][1])


def test_length_is_whole_blocks() -> None:
    assert len(cpio.pack(ENTRIES)) % 512 == 0


def test_order_of_the_entries_does_not_matter() -> None:
    shuffled = list(ENTRIES)
    random.Random(1).shuffle(shuffled)
    assert cpio.pack(shuffled) == cpio.pack(ENTRIES)


def test_a_directory_precedes_its_contents_despite_similar_names() -> None:
    names = list(parse(cpio.pack([cpio.file("a/z", b""), cpio.file("a-b/c", b"")])))
    assert names.index("a") < names.index("a/z")
    assert names.index("a-b") < names.index("a-b/c")


@pytest.mark.parametrize("name", ["/init", "", "a//b", "../etc", "a/./b", "TRAILER!!!"])
def test_wrong_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        cpio.pack([cpio.file(name, b"")])


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        cpio.pack([cpio.file("a", b""), cpio.directory("a")])


NAMES = st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3}){0,2}", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=20), max_size=12))
def test_what_goes_in_comes_out(files: dict[str, bytes]) -> None:
    # a file cannot be a directory at the same time
    kept = {n: d for n, d in files.items() if not any(o.startswith(n + "/") for o in files)}
    found = parse(cpio.pack(cpio.file(name, data) for name, data in kept.items()))
    assert {n: d for n, (f, d) in found.items() if stat.S_ISREG(f[1])} == kept
    inodes = [fields[0] for fields, _ in found.values()]
    assert len(set(inodes)) == len(inodes)


@pytest.mark.skipif(shutil.which("cpio") is None, reason="install cpio to compare with it")
def test_the_hosts_cpio_reads_it(tmp_path: Path) -> None:
    done = subprocess.run(
        ["cpio", "-tv", "--quiet", "--numeric-uid-gid"],
        input=cpio.pack(ENTRIES),
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 7
    assert any(line.startswith("crw") and line.endswith("dev/console") for line in lines)
    assert any(line.endswith("bin/sh -> busybox") for line in lines)
