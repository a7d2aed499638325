"""The page of a traced run says what late wake-ups waited for."""

from __future__ import annotations

from pathlib import Path

from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from vmjitter.report.explain import Timeline
from vmjitter.report.html.charts.timeline import timeline_chart
from vmjitter.report.html.page import render_page
from vmjitter.report.result import judge
from vmjitter.store.reader import read_run
from vmjitter.trace.lanes import Bar, Lane


def test_every_lane_is_drawn_with_words_for_who_cannot_see_it() -> None:
    lanes = (
        Lane(group="causes", name="cause", bars=(Bar(1000, 301_000, "preempted"),)),
        Lane(
            group="host",
            name="main loop (<qemu-system-x86_64>, 148)",
            bars=(Bar(0, 1000, "halted"), Bar(1000, 301_000, "running")),
        ),
    )
    svg = timeline_chart(
        Timeline(
            number=1,
            title="wake-up 7, 301.00 µs late: virtual CPU preempted",
            start=0,
            end=400_000,
            planned=1000,
            actual=301_000,
            causes=(("preempted", 300_000),),
            lanes=lanes,
        )
    )
    assert 'aria-label="wake-up 7, 301.00 µs late: virtual CPU preempted: preempted 300.00' in svg
    assert svg.count("<path") == 3
    assert "planned" in svg
    assert "actual" in svg
    assert "&lt;qemu" in svg
    assert "<qemu" not in svg


def test_a_run_without_a_trace_has_no_such_section(tmp_path: Path) -> None:
    trial = TrialMaker(status=make_status(), latency_ns=latencies(1000, seed=1, worst_ns=10**6))
    page = render_page(judge(read_run(make_run(tmp_path / "run", [trial]))))
    assert 'id="causes"' not in page
