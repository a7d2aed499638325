"""The figures: every wake-up, the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from fakes.runmaker import TrialMaker, latencies, make_run, make_status
from vmjitter.errors import DataError
from vmjitter.guest.layout import MISSED
from vmjitter.model.run import TrialState
from vmjitter.report import figures
from vmjitter.report.figures import draw_figures
from vmjitter.store.reader import read_run

LATENCY = latencies(3000, seed=2, worst_ns=18_000_000)


def make(path: Path, **changes: object) -> Path:
    invalid = make_status("after", loops=3000, invalid=("x",), paper_max_ns=1_900_000)
    killed = make_status("killed", loops=3000, state=TrialState.RUNNING)
    return make_run(
        path / "run",
        [
            TrialMaker(status=make_status("before", loops=3000), latency_ns=LATENCY),
            TrialMaker(status=invalid, latency_ns=LATENCY // 10),
            TrialMaker(status=killed, latency_ns=np.array([-5_000], np.int64)),
            TrialMaker(status=make_status("silent"), begun=False),
        ],
        **{"pair": ("before", "after"), "deadline_ns": 17_000_000, **changes},
    )


def test_one_figure_per_trial_and_the_pair(tmp_path: Path) -> None:
    files = draw_figures(read_run(make(tmp_path)), tmp_path / "out")
    assert [file.name for file in files] == [
        f"{name}.{kind}"
        for name in ("latency-before", "latency-after", "latency-killed", "pair-before-after")
        for kind in ("png", "svg")
    ]
    assert all(file.stat().st_size < 300_000 for file in files)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = read_run(make(tmp_path))
    one = [file.read_bytes() for file in draw_figures(run, tmp_path / "one")]
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": None}):
        other = [file.read_bytes() for file in draw_figures(run, tmp_path / "other")]
        assert mpl.rcParams["font.size"] == 20
    assert one == other
    for data in one:
        assert b"Matplotlib" not in data[:2000]
        assert b"<dc:date>" not in data


@pytest.mark.parametrize("pair", [None, ("before", "nothing"), ("before", "silent")])
def test_no_pair_without_both(tmp_path: Path, pair: tuple[str, str] | None) -> None:
    files = draw_figures(read_run(make(tmp_path, pair=pair)), tmp_path / "out")
    assert not [file for file in files if file.name.startswith("pair")]


def drawn(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    caught: list[Figure] = []

    def keep(figure: Figure, _: Path) -> list[Path]:
        caught.append(figure)
        return []

    monkeypatch.setattr(figures, "save", keep)
    draw_figures(read_run(path), path / "figures")
    return caught


def test_every_wake_up_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, *_, pair = drawn(make(tmp_path), monkeypatch)
    points, missed = before.axes[0].lines[:2]
    awake = LATENCY != MISSED
    assert np.array_equal(points.get_xdata(), np.flatnonzero(awake) * 1e-3)
    assert np.array_equal(points.get_ydata(), LATENCY[awake] / 1e6)
    assert np.array_equal(missed.get_xdata(), np.flatnonzero(~awake) * 1e-3)
    assert len(np.asarray(pair.axes[0].lines[0].get_xdata())) == awake.sum()


def test_nothing_hides_a_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for figure in drawn(make(tmp_path), monkeypatch):
        for axes in figure.axes:
            highest = max(text.get_zorder() for text in axes.texts if text.get_bbox_patch())
            assert highest < axes.lines[0].get_zorder()


def test_before_and_after_have_one_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = drawn(make(tmp_path), monkeypatch)[-1].axes
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[1] >= 18


def text_of(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        texts += [text.get_text() for text in axes.texts]
    return "\n".join(texts).replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ")


def test_the_caption_says_what_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after, killed, _ = map(text_of, drawn(make(tmp_path), monkeypatch))
    for part in (
        "max 18.00 ms",
        "18 missed",
        "deadline 17.00 ms",
        "paper's worst 100.55 ms is above this scale",
        "period 1.00 ms",
        "TCG",
    ):
        assert part in before
    assert "INVALID: x." in after
    assert "deadline 17.00 ms is above" in after
    assert "Incomplete: 1 of 3000 activations." in killed


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="out"):
        draw_figures(read_run(make(tmp_path)), tmp_path / "out")


@pytest.mark.parametrize("latency", [[0], [-7], [MISSED, 5], [1 << 62, 3], [5, MISSED, 5]])
def test_odd_samples_can_be_drawn(tmp_path: Path, latency: list[int]) -> None:
    status = make_status("a", title="costs $1 [to] $2", loops=len(latency), conditions=("$x$",))
    trial = TrialMaker(status=status, latency_ns=np.array(latency, np.int64))
    path = make_run(tmp_path / "run", [trial])
    (path / "trials" / "01-a" / "status.json").write_text("{")
    assert len(draw_figures(read_run(path), tmp_path / "out")) == 2
