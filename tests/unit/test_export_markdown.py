"""Markdown for a CI page, rendered."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fakes.exportmaker import export, imported, judged, trial_of
from fakes.runmaker import TrialMaker, latencies, make_status
from vmjitter.model.run import TrialState
from vmjitter.report.exporters.markdown import escape
from vmjitter.report.exporters.words import plain
from vmjitter.stats.histogram import MISSED, binned

LATENCY = latencies(1000, seed=5, worst_ns=900_000)
GOOD = TrialMaker(status=make_status("good"), latency_ns=LATENCY)
RENDER = MarkdownIt("commonmark").enable("table")

printable = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp", "Cn"])
    | st.sampled_from(" *_`~|#<>&\\[]()!-+=.:1$@\"'"),
    max_size=40,
)


def shown(markdown: str) -> str:
    """The text that a reader sees, without any markup."""
    page = str(RENDER.render(markdown))
    return html.unescape(re.sub(r"<[^>]*>", "", page)).strip()


def cells(markdown: str) -> list[list[str]]:
    page = str(RENDER.render(markdown))
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [
        [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in rows
    ]


@given(words=printable)
def test_escaped_text_is_shown_as_it_is(words: str) -> None:
    wanted = " ".join(plain(words).split(" "))
    assert shown(f"x {escape(words)} y") == f"x {wanted} y".replace("\n", " ")
    item = RENDER.render(f"* {escape('a' if not wanted else words)}")
    assert item.count("<li>") == 1
    assert not re.search(r"<(?!/?(ul|li)\b)[a-z]", item)


@pytest.mark.parametrize("words", ["- a", "+ a", "1. a", "12) a", "= a", "# a", "> a", "* a"])
def test_no_text_begins_a_block(words: str) -> None:
    assert RENDER.render(f"* {escape(words)}") == f"<ul>\n<li>{html.escape(words)}</li>\n</ul>\n"


def test_summary(tmp_path: Path) -> None:
    text = export("markdown", judged(tmp_path, GOOD, deadline_ns=10_000_000))
    page = str(RENDER.render(text))
    assert page.startswith("<h2>PASS: Realtime evaluation of a guest OS on virtualization")
    assert "Deadline 10.00 ms, no miss allowed, confidence 95 %" in page
    assert "<strong>good: PASS.</strong>" in page
    assert "PASS.</strong> PASS" not in page
    head, row = cells(text)
    assert dict(zip(head, row, strict=True)) == {
        "trial": "good",
        "verdict": "PASS",
        "wake-ups": "1\N{NO-BREAK SPACE}000",
        "overruns": "0",
        "misses": "0",
        "p50": row[5],
        "p99": row[6],
        "p99.9": "\N{EN DASH}",
        "max": "900.00 µs",
    }
    assert "TCG: times are not those of a KVM host" in page
    assert "host CPU: Testcore 9000" in page


def test_the_worst_is_the_headline(tmp_path: Path) -> None:
    bad = trial_of([5, MISSED, -3], "bad")
    invalid = trial_of([5], "odd", invalid=("load shm stopped",))
    killed = trial_of([5], "killed", state=TrialState.RUNNING)
    result = judged(
        tmp_path, GOOD, bad, invalid, killed, deadline_ns=10**7, scenarios=("good", "later|x")
    )
    text = export("markdown", result)
    assert text.startswith("## FAIL: ")
    rows = {row[0]: row for row in cells(text)}
    assert rows["bad"][1:5] == ["FAIL", "2", "1", "1"]
    assert rows["odd"][1] == "INCONCLUSIVE, INVALID"
    assert rows["killed"][1] == "INCONCLUSIVE, incomplete"
    page = shown(text)
    assert "odd: INVALID: load shm stopped" in page
    assert "later|x not measured: the run ended before" in page
    assert "bad: wake-ups before their planned time: 1" in page


def test_a_condition_of_all_is_said_once(tmp_path: Path) -> None:
    other = TrialMaker(
        status=make_status("b", conditions=("warm", "TCG: slow")), latency_ns=LATENCY
    )
    text = export("markdown", judged(tmp_path, GOOD, GOOD, other))
    assert text.count("TCG: times are not") == 1
    assert "* b: warm\n" in text
    assert "No deadline was given." in text
    assert text.startswith("## NOT JUDGED: ")


def test_bins_of_another_tool() -> None:
    known = binned([(3000, 3999, 700)], overflow=20, overflow_from_ns=10_000, min_ns=3000)
    text = export("markdown", imported(known))
    _, row = cells(text)
    assert row[2:5] == ["720", "\N{EN DASH}", "\N{EN DASH}"]
    least = "\N{GREATER-THAN OR EQUAL TO}\N{NO-BREAK SPACE}10.00 µs"
    assert row[5:] == ["3.00 µs", least, "\N{EN DASH}", least]
    assert "wake-ups only known to be 10.00 µs late or more: 20" in text
    assert "latencies are known in bins of up to 1.00 µs only" in text
    assert "not known: missed activations" in text
