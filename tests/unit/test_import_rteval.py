"""rteval: the histograms of its CPUs, without what it adds up, and no XML that could harm."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from vmjitter.errors import DataError
from vmjitter.model.judge import Lack
from vmjitter.report.importers.base import Imported
from vmjitter.report.importers.rteval import IMPORTER

GOLDEN = Path(__file__).parents[1] / "golden/rteval"
CYCLICTEST = (GOLDEN / "cyclictest.xml").read_text()
US = 1000


def golden(name: str) -> Imported:
    return IMPORTER.read((GOLDEN / name).read_bytes(), name)


def read(text: str) -> Imported:
    return IMPORTER.read(text.encode(), "summary.xml")


@pytest.mark.parametrize(("name", "tool"), [("cyclictest", "cyclictest"), ("timerlat", "timerlat")])
def test_buckets_of_each_cpu(name: str, tool: str) -> None:
    root = ET.parse(GOLDEN / f"{name}.xml").getroot()
    found = golden(f"{name}.xml").series
    cores = root.findall(f"Measurements/{tool}/core")
    assert [series.name for series in found] == [f"{tool}-cpu-{core.get('id')}" for core in cores]
    for series, core in zip(found, cores, strict=True):
        buckets = [
            (int(each.get("index", "")), int(each.get("value", ""))) for each in core.iter("bucket")
        ]
        histogram = series.histogram
        assert histogram.low_ns.tolist() == [index * US for index, _ in buckets]
        assert histogram.count.tolist() == [count for _, count in buckets]
        assert histogram.total == int(core.findtext("statistics/samples", ""))
        assert histogram.resolution_ns == US


def test_cyclictest() -> None:
    imported = golden("cyclictest.xml")
    series = imported.series[0]
    assert (series.period_ns, series.title) == (100 * US, "cyclictest on CPU 0")
    assert (series.histogram.min_ns, series.histogram.max_ns) == (2 * US, 61 * US)
    assert series.lacks == {Lack.ORDER, Lack.OVERRUNS}
    assert imported.tool == "rteval 3.10"
    assert imported.command.startswith("cyclictest -i100 ")
    assert any("100000 periods, the shortest series has 99980" in note for note in imported.notes)


def test_facts_of_the_machine_and_its_loads() -> None:
    imported = golden("cyclictest.xml")
    assert imported.facts["clocksource"] == "tsc"
    assert imported.facts["realtime_kernel"] == "yes"
    assert imported.facts["load hackbench"] == "not started"
    assert "lab7" not in imported.facts.values()
    assert any("not whether they kept running" in note for note in imported.notes)


def test_timerlat_is_a_mixture_without_maximum() -> None:
    imported = golden("timerlat.xml")
    for series in imported.series:
        assert series.histogram.max_ns is None
        # three entries per period: as wake-ups of one thread they would take three times as long
        assert (series.period_ns, series.facts["period_us"]) == (0, "100")
        assert series.lacks == set(Lack)
        assert "added up" in series.title
    assert any("three entries per period" in note for note in imported.notes)


def test_a_maximum_outside_the_buckets() -> None:
    (series,) = golden("cyclictest-edge.xml").series
    assert (series.histogram.overflow, series.histogram.max_ns) == (1, 3500 * US)
    assert Lack.OVERFLOW in series.lacks


def test_lost_wake_ups_may_be_as_late_as_the_latest() -> None:
    series = read(CYCLICTEST.replace('<bucket index="3" value="39000"/>', "")).series[0]
    assert (series.histogram.total, series.histogram.overflow) == (99981, 39000)
    assert series.histogram.overflow_from_ns == 0


def test_only_extremes() -> None:
    root = ET.fromstring(CYCLICTEST)
    for core in root.findall(".//core"):
        core.remove(core.findall("histogram")[0])
    histogram = read(ET.tostring(root, encoding="unicode")).series[0].histogram
    assert (histogram.total, histogram.overflow, histogram.max_ns) == (99981, 99980, 61 * US)


def test_all_cpus_together_only_if_there_is_nothing_else() -> None:
    root = ET.fromstring(CYCLICTEST)
    tool = root.findall(".//cyclictest")[0]
    for core in tool.findall("core"):
        tool.remove(core)
    (series,) = read(ET.tostring(root, encoding="unicode")).series
    assert (series.title, series.histogram.total) == ("cyclictest on all CPUs", 199_961)


def test_two_measurements_have_names_of_their_own() -> None:
    start, end = CYCLICTEST.index("    <cyclictest"), CYCLICTEST.index("  </Measurements>")
    imported = read(CYCLICTEST[:end] + CYCLICTEST[start:end] + CYCLICTEST[end:])
    assert [series.name for series in imported.series] == [
        "cyclictest-cpu-0", "cyclictest-cpu-1", "cyclictest-2-cpu-0", "cyclictest-2-cpu-1",
    ]  # fmt: skip


BOMB = (
    '<!DOCTYPE rteval [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "{"&a;" * 10 if n == 0 else f"&a{n - 1};" * 10}">' for n in range(9))
    + "]><rteval>&a8;</rteval>"
)
FILE = '<!DOCTYPE rteval [<!ENTITY x SYSTEM "file:///etc/passwd">]><rteval>&x;</rteval>'
WIDE = FILE.encode("utf-16")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "line 1: the XML is damaged or cut: no element found"),
        (CYCLICTEST[:2000].encode(), "line 56: the XML is damaged or cut"),
        (b"<html></html>", "this is <html>, not <rteval>"),
        (b"<rteval/>", "no results of cyclictest or timerlat"),
        (BOMB.encode(), "line 1: it has a document type"),
        (FILE.encode(), "line 1: it has a document type"),
        (WIDE, "line 1: it has a document type"),
        (b"<rteval>&a;</rteval>", "undefined entity"),
        (b'<?xml version="1.0" encoding="UTF-800"?><rteval/>', "line 1: its encoding cannot"),
        (b'<?xml version="1.0" encoding="Shift-JIS"?><rteval/>', "line 1: its encoding cannot"),
        (b"<rteval>" * 100_000, "more than 64 elements within each other"),
        (CYCLICTEST.replace('index="17"', 'index="-7"').encode(), "index '-7'"),
        (CYCLICTEST.replace('value="80"', 'value="8e9"').encode(), "value '8e9'"),
        (CYCLICTEST.replace('index="17"', 'index="4"').encode(), "overlap"),
        (CYCLICTEST.replace('unit="us">61', 'unit="ns">61').encode(), "<maximum> is '61' ns"),
        (CYCLICTEST.replace(">99981<", ">x<").encode(), "<samples> is 'x'"),
        (CYCLICTEST.replace('core id="1"', 'core id="0"').encode(), "a CPU is twice"),
    ],
)
def test_refuses_with_reason_and_remedy(content: bytes, why: str) -> None:
    with pytest.raises(DataError) as caught:
        IMPORTER.read(content, "summary.xml")
    assert why in caught.value.message
    assert caught.value.message.startswith("summary.xml")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cyclictest-skipped.xml", "cyclictest stopped at 5211 us, above its limit of 4000 us"),
        ("timerlat-stopped.xml", "timerlat stopped at a latency above its limit"),
    ],
)
def test_says_why_there_are_no_statistics(name: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        golden(name)
    assert "more buckets" in caught.value.hint


def test_sniffs() -> None:
    for path in GOLDEN.iterdir():
        assert IMPORTER.matches(path.read_bytes(), "x") == (path.suffix == ".xml")
