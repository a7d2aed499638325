"""Modules: what they say about themselves, and the order they are loaded in."""

from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmjitter.errors import DataError, UsageError
from vmjitter.guest.modules import load_order, parse_modinfo, resolve_modules


def write_module(*, bits: int = 32, info: Sequence[str] = ()) -> bytes:
    """An ELF file with nothing but section headers, names and ``.modinfo``."""
    wide = bits == 64
    head, entry = (64, 64) if wide else (52, 40)
    text = b"".join(item.encode() + b"\0" for item in info)
    names = b"\0.shstrtab\0.modinfo\0"
    sections_at = head + len(names) + len(text)
    layout = "<16sHHIQQQIHHHHHH" if wide else "<16sHHIIIIIHHHHHH"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    start = struct.pack(layout, ident, 1, 3, 1, 0, 0, sections_at, 0, head, 0, 0, entry, 3, 1)
    section = "<IIQQQQIIQQ" if wide else "<IIIIIIIIII"
    table = b"".join(
        struct.pack(section, name, 1, 0, 0, at, size, 0, 0, 1, 0)
        for name, at, size in (
            (0, 0, 0),
            (1, head, len(names)),
            (11, head + len(names), len(text)),
        )
    )
    return start + names + text + table


Tree = Callable[[Mapping[str, Sequence[str]]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make a directory like /lib/modules/RELEASE: path of a module to its modinfo strings."""

    def make(modules: Mapping[str, Sequence[str]]) -> Path:
        (tmp_path / "modules.builtin").write_text("kernel/lib/crc-itu-t.ko\n")
        (tmp_path / "modules.builtin.modinfo").write_bytes(
            b"crc_itu_t.license=GPL\0sha256_generic.alias=crypto-sha256\0"
        )
        for name, info in modules.items():
            path = tmp_path / "kernel" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = write_module(info=info)
            if name.endswith(".gz"):
                data = gzip.compress(data)
            elif name.endswith(".xz"):
                data = lzma.compress(data)
            path.write_bytes(data)
        return tmp_path

    return make


def names(directory: Path, *wanted: str) -> list[str]:
    return [module.name for module in resolve_modules(directory, wanted)]


@pytest.mark.parametrize("bits", [32, 64])
def test_modinfo_of_both_widths(bits: int) -> None:
    lines = [
        "license=GPL",
        "alias=fs-ext4",
        "alias=ext3",
        "softdep=pre: crc32c post: late",
        "depends=jbd2,crc-16,mbcache",
    ]
    info = parse_modinfo(write_module(bits=bits, info=lines), "ext4.ko")
    assert info.depends == ("jbd2", "crc_16", "mbcache")
    assert info.soft_before == ("crc32c",)
    assert info.aliases == ("fs-ext4", "ext3")


@given(st.binary(max_size=200))
def test_garbage_is_refused_not_crashed_on(data: bytes) -> None:
    for start in (b"", b"\x7fELF\x01", b"\x7fELF\x02"):
        with pytest.raises(DataError):
            parse_modinfo(start + data, "x.ko")


def test_dependencies_come_first(tree: Tree) -> None:
    directory = tree(
        {
            "fs/ext4/ext4.ko": ["softdep=pre: crc32c", "depends=jbd2,crc16"],
            "fs/jbd2.ko": ["depends="],
            "lib/crc16.ko": ["depends="],
            "crypto/crc32c-intel.ko": ["alias=crc32c", "depends="],
            "crypto/crc32c_generic.ko": ["alias=crc32c", "depends="],
        }
    )
    assert names(directory, "ext4") == ["crc32c_generic", "jbd2", "crc16", "ext4"]


def test_dash_and_underscore_are_the_same(tree: Tree) -> None:
    directory = tree({"drivers/virtio-pci.ko": ["depends="]})
    assert names(directory, "virtio_pci", "virtio-pci") == ["virtio_pci"]


def test_builtin_modules_are_left_out(tree: Tree) -> None:
    directory = tree({"a.ko": ["depends=crc-itu-t", "softdep=pre: crypto-sha256 unknown"]})
    assert names(directory, "a", "crc_itu_t") == ["a"]


def test_compressed_modules_are_uncompressed(tree: Tree) -> None:
    directory = tree({"a.ko.xz": ["depends=b"], "b.ko.gz": ["depends="]})
    found = resolve_modules(directory, ["a"])
    assert [module.relative for module in found] == ["kernel/b.ko", "kernel/a.ko"]
    assert all(module.read().startswith(b"\x7fELF") for module in found)


def test_zstd_says_what_to_do(tree: Tree) -> None:
    directory = tree({"a.ko.zst": []})
    with pytest.raises(DataError, match="zstd") as caught:
        resolve_modules(directory, ["a"])
    assert "unzstd" in caught.value.hint


def test_a_damaged_module_is_an_error(tree: Tree) -> None:
    directory = tree({})
    (directory / "kernel").mkdir()
    (directory / "kernel/a.ko.xz").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"a\.ko\.xz"):
        resolve_modules(directory, ["a"])


def test_an_unknown_module_is_named(tree: Tree) -> None:
    with pytest.raises(UsageError, match="'e1000'"):
        resolve_modules(tree({}), ["e1000"])


def test_no_directory_means_all_built_in() -> None:
    assert resolve_modules(None, ["ext4"]) == ()


def test_without_a_list_of_built_in_modules_a_missing_one_is_taken_for_built_in(
    tmp_path: Path,
) -> None:
    assert resolve_modules(tmp_path, ["ext4"]) == ()


NODES = [f"m{number}" for number in range(12)]
# every node needs only ones with a smaller number: no circle
GRAPHS = st.tuples(*(st.lists(st.sampled_from(NODES[:i] or ["-"]), max_size=4) for i in range(12)))


@given(GRAPHS, st.lists(st.sampled_from(NODES)))
def test_every_dependency_precedes_and_nothing_is_there_twice(
    graph: tuple[list[str], ...], wanted: list[str]
) -> None:
    needs = {name: [n for n in graph[i] if n != "-"] for i, name in enumerate(NODES)}
    order = load_order(wanted, needs.__getitem__)
    assert len(set(order)) == len(order)
    assert set(wanted) <= set(order)
    for place, name in enumerate(order):
        assert set(needs[name]) <= set(order[:place])
    # and nothing that nobody asked for
    reached = set(wanted)
    for name in reversed(NODES):
        if name in reached:
            reached |= set(needs[name])
    assert set(order) == reached


def test_a_circle_is_an_error() -> None:
    circle = {"a": ["b"], "b": ["c"], "c": ["a"]}
    with pytest.raises(UsageError, match="need each other"):
        load_order(["a"], circle.__getitem__)
