"""The catalogue, and what a bzImage says about itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmjitter.errors import UsageError
from vmjitter.guest.kernels import KERNELS, custom_kernel, find_kernel, parse_header


def write_bzimage(
    release: str = "6.1.0-test",
    *,
    protocol: int = 0x20F,
    wide: bool = False,
    entry: bytes = b"",
) -> bytes:
    """The first sectors of a bzImage; Linux Documentation/arch/x86/boot.rst."""
    data = bytearray(0x4000)
    data[0x1F1] = 4
    data[0x202:0x206] = b"HdrS"
    data[0x206:0x208] = protocol.to_bytes(2, "little")
    data[0x20E:0x210] = (0x1000).to_bytes(2, "little")
    data[0x236] = 1 if wide else 0
    text = f"{release} (someone@somewhere) #1 SMP\0".encode()
    data[0x1200 : 0x1200 + len(text)] = text
    at = 5 * 512 + 0x200
    data[at : at + len(entry)] = entry
    return bytes(data)


def test_the_catalogue_has_the_documented_names() -> None:
    assert list(KERNELS) == [
        "debian-rt-i386",
        "debian-i386",
        "debian-amd64",
        "debian-rt-amd64",
        "debian-cloud-amd64",
    ]
    assert find_kernel("debian-rt-i386").package == "linux-image-rt-686-pae"


@pytest.mark.parametrize(
    ("wrong", "right"), [("debian-rt-i368", "debian-rt-i386"), ("cloud", "debian-cloud-amd64")]
)
def test_a_wrong_name_gets_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_kernel(wrong)
    assert repr(wrong) in caught.value.message
    assert f"did you mean {right!r}" in caught.value.hint


@pytest.mark.parametrize(
    ("image", "arch"),
    [
        (write_bzimage(), "i386"),
        (write_bzimage(wide=True), "x86_64"),
        # before protocol 2.12 the bit means nothing
        (write_bzimage(protocol=0x20A, wide=True), "i386"),
        (write_bzimage(protocol=0x20A, entry=bytes.fromhex("31c08ed88ec08ed0")), "x86_64"),
        (write_bzimage(protocol=0x20A, entry=bytes.fromhex("fcfa31c08ed88ec08ed0")), "x86_64"),
    ],
)
def test_header(image: bytes, arch: str) -> None:
    header = parse_header(image, "vmlinuz")
    assert header.release == "6.1.0-test"
    assert header.arch == arch


@pytest.mark.parametrize("data", [b"", b"\x7fELF" + bytes(0x1000), write_bzimage()[:0x204]])
def test_not_a_bzimage(data: bytes) -> None:
    with pytest.raises(UsageError, match="vmlinuz"):
        parse_header(data, "vmlinuz")


def test_custom_kernel_without_modules(tmp_path: Path) -> None:
    path = tmp_path / "bzImage"
    path.write_bytes(write_bzimage("2.6.32"))
    kernel = custom_kernel(path)
    assert (kernel.name, kernel.release, kernel.modules) == ("custom", "2.6.32", None)
    assert len(kernel.sha256) == 64


@pytest.mark.parametrize("below", ["", "2.6.32", "lib/modules/2.6.32"])
def test_custom_modules_are_found(tmp_path: Path, below: str) -> None:
    path = tmp_path / "bzImage"
    path.write_bytes(write_bzimage("2.6.32"))
    (tmp_path / "m" / below).mkdir(parents=True)
    assert custom_kernel(path, tmp_path / "m").modules == tmp_path / "m" / below


def test_custom_kernel_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        custom_kernel(tmp_path / "none")


def test_custom_modules_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "bzImage"
    path.write_bytes(write_bzimage())
    with pytest.raises(UsageError, match="no directory"):
        custom_kernel(path, tmp_path / "none")
