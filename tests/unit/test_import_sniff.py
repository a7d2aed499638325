"""Which format a file has, and how it is opened."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from vmjitter.errors import DataError, UsageError
from vmjitter.report.importers import IMPORTERS, sniff
from vmjitter.report.importers.sniff import HEAD_BYTES, import_file, importer_named, recognise

GOLDEN = Path(__file__).parents[1] / "golden"
CYCLICTEST = GOLDEN / "cyclictest"
HISTOGRAM = CYCLICTEST / "2.4-histogram.txt"


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def test_names_are_unique_and_explained() -> None:
    names = [importer.name for importer in IMPORTERS]
    assert len(set(names)) == len(names) == 12
    assert all(importer.what and len(importer.what) < 100 for importer in IMPORTERS)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("cyclictest/*.json", "cyclictest-json"),
        ("cyclictest/*-hist*.txt", "cyclictest-histogram"),
        ("cyclictest/*-stopped.txt", "cyclictest-histogram"),
        ("cyclictest/*-running.txt", "cyclictest-lines"),
        ("cyclictest/*-verbose.txt", "cyclictest-lines"),
        ("oslat/*.json", "oslat"),
        ("oslat/*.txt", "oslat"),
        ("rtla/hist-6*.txt", "rtla-hist"),
        ("rtla/hist-7.2-[!b]*.txt", "rtla-hist"),
        ("rtla/top-*.txt", "rtla-top"),
        ("jitterdebugger/*.json", "jitterdebugger-json"),
        ("jitterdebugger/*.raw", "jitterdebugger-raw"),
    ],
)
def test_recordings_are_recognised(pattern: str, wanted: str) -> None:
    files = sorted(GOLDEN.glob(pattern))
    assert files
    for file in files:
        assert recognise(file.read_bytes()[:HEAD_BYTES], file.name, "x").name == wanted, file.name


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress, zstd])
def test_compressed_files(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = tmp_path / "histogram.txt.compressed"
    file.write_bytes(compress(HISTOGRAM.read_bytes()))
    plain = import_file(HISTOGRAM)
    packed = import_file(file)
    assert [series.histogram.total for series in packed.series] == [
        series.histogram.total for series in plain.series
    ]


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress, zstd])
def test_damaged_compression(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = tmp_path / "cut"
    file.write_bytes(compress(HISTOGRAM.read_bytes())[:-20])
    with pytest.raises(DataError, match="cannot be decompressed") as caught:
        import_file(file)
    assert caught.value.message.startswith(str(file))
    file.write_bytes(compress(b"")[:6] + b"\xff" * 60)
    with pytest.raises(DataError):
        import_file(file)


def test_a_small_file_that_decompresses_to_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sniff, "MAX_TEXT_BYTES", 4 << 20)
    file = tmp_path / "bomb.gz"
    file.write_bytes(gzip.compress(b" " * (32 << 20)))
    with pytest.raises(DataError, match="holds more than 4 MiB") as caught:
        import_file(file)
    assert caught.value.hint


def archive(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:bz2") as packed:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        packed.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_the_archive_of_rteval(tmp_path: Path) -> None:
    summary = next(iter(sorted((GOLDEN / "rteval").glob("*.xml"))))
    file = tmp_path / "rteval-20260131-1.tar.bz2"
    file.write_bytes(archive("rteval-20260131-1/summary.xml", summary.read_bytes()))
    assert [series.name for series in import_file(file).series] == [
        series.name for series in import_file(summary).series
    ]
    file.write_bytes(archive("other.txt", b"hello"))
    with pytest.raises(DataError, match=r"without a summary\.xml"):
        import_file(file)


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("hello\n")
    with pytest.raises(DataError, match=r"none of the formats .*oslat.*cyclictest-json") as caught:
        import_file(file)
    assert "--format" in caught.value.hint
    file.write_text("")
    with pytest.raises(DataError, match="the file is empty"):
        import_file(file)


def test_a_format_by_name(tmp_path: Path) -> None:
    assert importer_named("oslat").name == "oslat"
    with pytest.raises(UsageError, match="no format 'oslatt'") as caught:
        import_file(HISTOGRAM, "oslatt")
    assert "'oslat'" in caught.value.hint
    with pytest.raises(DataError, match="no table of oslat"):
        import_file(HISTOGRAM, "oslat")
    head = tmp_path / "late.txt"  # the histogram is not in its beginning
    head.write_bytes(b"# x\n" * HEAD_BYTES + HISTOGRAM.read_bytes())
    with pytest.raises(DataError, match="none of the formats"):
        import_file(head)
    assert import_file(head, "cyclictest-histogram").series[0].histogram.total == 500


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        import_file(tmp_path / "none")
    with pytest.raises(DataError, match="Is a directory"):
        import_file(tmp_path)
