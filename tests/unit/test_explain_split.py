"""Where the time of late wake-ups went, scenario beside scenario."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fakes import tracemaker as make
from fakes.explainmaker import explained_run, new_trace
from fakes.tracemaker import MAIN, MS, US, TraceMaker
from vmjitter.cli import explain_cmd
from vmjitter.report.explain import Options, explain_run
from vmjitter.report.explain_split import SplitRow, split
from vmjitter.report.html.charts.split import split_chart
from vmjitter.report.html.page import render_page
from vmjitter.report.result import judge
from vmjitter.store.reader import read_run
from vmjitter.trace.attribute import Attribution, Piece, Share
from vmjitter.trace.parties import Party, parties
from vmjitter.trace.rules import RULES, UNEXPLAINED
from vmjitter.trace.window import Window


def emulated() -> TraceMaker:
    """20 wake-ups: two late by a device, one by QEMU's main loop, one by a stranger."""
    maker = new_trace()
    disturb = {
        3: make.emulated(900 * US),
        7: make.emulated(500 * US),
        11: make.preempted(400 * US, by=f"qemu-system-x86-{MAIN}-120"),
        15: make.preempted(300 * US),
    }
    for number in range(20):
        maker.wakeup(host=disturb[number]) if number in disturb else maker.wakeup()
    return maker


def mitigated() -> TraceMaker:
    maker = new_trace()
    for number in range(20):
        maker.wakeup(host=make.kvm_exit(120 * US)) if number == 9 else maker.wakeup()
    return maker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return explained_run(tmp_path / "run", emulated(), others={"mitigated": mitigated()})


def rows_of(path: Path) -> tuple[SplitRow, ...]:
    return split(explain_run(read_run(path), Options()))


def test_device_lock_and_contention_are_told_apart(path: Path) -> None:
    before, after = rows_of(path)
    assert (before.scenario, before.spikes) == ("kernel-io", 4)
    assert before.of(Party.EMULATION).ns == 1400 * US
    assert before.of(Party.QEMU_THREADS).ns == 400 * US
    # each wake-up's timer has 3 us of the host, too little to be named
    assert before.of(Party.HOST).ns == (300 + 4 * 3) * US
    assert [before.of(party).largest for party in (Party.EMULATION, Party.QEMU_THREADS)] == [2, 1]
    assert before.contention == pytest.approx(712 * US / before.latency_ns)
    assert (after.scenario, after.of(Party.KVM).ns) == ("mitigated", 123 * US)
    assert after.contention == pytest.approx(3 * US / after.latency_ns)


def test_parts_sum_to_the_whole(path: Path) -> None:
    for row in rows_of(path):
        assert sum(one.ns for one in row.parties) == row.latency_ns
        assert sum(one.share for one in row.parties) == pytest.approx(1.0)
        assert sum(one.largest for one in row.parties) == row.spikes


@given(
    st.lists(
        st.tuples(st.sampled_from([rule.cause for rule in RULES]), st.integers(1, 10 * MS)),
        max_size=8,
    ),
    st.integers(0, MS),
    st.sampled_from([rule.cause for rule in RULES]),
)
def test_every_cause_has_a_party(found: list[tuple[str, int]], rest: int, small: str) -> None:
    shares = [
        Share(
            cause=cause, ns=ns, pieces=(Piece(start=0, end=ns, detail="x"),), details=(("x", ns),)
        )
        for cause, ns in [*found, (UNEXPLAINED, rest)]
    ]
    total = sum(share.ns for share in shares)
    little = Share(cause=small, ns=rest // 2, pieces=(), details=(("x", rest // 2),))
    window = Window(activation=0, start=0, latency_ns=total)
    had = parties(Attribution(window=window, shares=tuple(shares), small=(little,)))
    assert sum(had.values()) == total
    assert had[Party.UNEXPLAINED] == rest - rest // 2


def call(path: Path, *arguments: str, columns: int = 160) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    explain_cmd.register(app)
    done = CliRunner().invoke(
        app, ["explain", str(path), *arguments], env={"COLUMNS": str(columns)}
    )
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("columns", [80, 160])
def test_several_scenarios_are_set_beside_each_other(path: Path, columns: int) -> None:
    text = call(path, columns=columns)
    beside = text[text.index("Where the time of late wake-ups went") :]
    for word in ("emulation", "QEMU threads", "host", "KVM", "unexplained", "mitigated"):
        assert word in beside
    assert max(map(len, text.splitlines())) <= 200  # commands stay on one line


def test_one_scenario_has_nothing_beside_it(tmp_path: Path) -> None:
    text = call(explained_run(tmp_path / "run", emulated()))
    assert "Where the time of late wake-ups went" not in text


def test_json_has_it_always(path: Path) -> None:
    data = json.loads(call(path, "--json"))
    assert [row["scenario"] for row in data["split"]] == ["kernel-io", "mitigated"]
    for row in data["split"]:
        assert sum(one["ns"] for one in row["parties"]) == row["latency_ns"]


def test_picture_and_page(path: Path) -> None:
    rows = rows_of(path)
    svg = split_chart(rows)
    assert "kernel-io: " in svg
    assert "emulation" in svg
    page = render_page(judge(read_run(path)))
    assert "Where the time of late wake-ups went" in page


def test_every_key_is_explained(path: Path) -> None:
    data = json.loads(call(path, "--json"))
    page = (Path(__file__).parents[2] / "docs/reference/explain.md").read_text()
    first = data["trials"][0]
    parts = [data, first, first["alignment"], first["causes"][0], first["next"]]
    parts += [data["spikes"][0], data["spikes"][0]["causes"][0], data["split"][0]]
    parts += data["split"][0]["parties"]
    assert {key for part in parts for key in part if f"`{key}`" not in page} == set()
