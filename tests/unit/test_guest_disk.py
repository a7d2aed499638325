"""The scratch disk, checked with the host's e2fsprogs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vmjitter.effects import process
from vmjitter.errors import MissingCapability, UsageError
from vmjitter.guest.disk import make_scratch_disk

SIZE = 64 << 20
# "Filesystem features" of dumpe2fs that Linux 2.6.32 refuses or mounts read-only
TOO_NEW = {"metadata_csum", "metadata_csum_seed", "64bit", "orphan_file", "inline_data", "bigalloc"}


def has(name: str) -> bool:
    try:
        process.find_program(name, hint="")
    except MissingCapability:
        return False
    return True


needs_e2fsprogs = pytest.mark.skipif(not has("mke2fs"), reason="install e2fsprogs")


@needs_e2fsprogs
def test_an_old_kernel_can_mount_it(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    make_scratch_disk(path, SIZE)
    dumpe2fs = process.find_program("dumpe2fs", hint="")
    text = subprocess.run([dumpe2fs, "-h", path], check=True, capture_output=True, text=True).stdout
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    features = set(fields["Filesystem features"].split())
    assert {"has_journal", "extent"} <= features
    assert not features & TOO_NEW
    assert int(fields["Block count"]) * int(fields["Block size"]) == SIZE
    e2fsck = process.find_program("e2fsck", hint="")
    subprocess.run([e2fsck, "-fn", path], check=True, capture_output=True)


@needs_e2fsprogs
def test_it_is_sparse_and_always_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    make_scratch_disk(first, SIZE)
    second.write_bytes(b"something before")
    make_scratch_disk(second, SIZE)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size == SIZE
    assert first.stat().st_blocks * 512 < SIZE // 2


@needs_e2fsprogs
def test_what_the_host_configures_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_scratch_disk(tmp_path / "one", SIZE)
    configuration = tmp_path / "mke2fs.conf"
    configuration.write_text(
        "[defaults]\n base_features = sparse_super,metadata_csum,64bit\n inode_ratio = 4096\n"
        "[fs_types]\n ext4 = {\n features = has_journal,64bit,metadata_csum\n }\n"
    )
    monkeypatch.setenv("MKE2FS_CONFIG", str(configuration))
    make_scratch_disk(tmp_path / "two", SIZE)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_too_small(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too small"):
        make_scratch_disk(tmp_path / "disk", 1 << 20)


def test_without_e2fsprogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(MissingCapability, match="mke2fs") as caught:
        make_scratch_disk(tmp_path / "disk", SIZE)
    assert "e2fsprogs" in caught.value.hint
