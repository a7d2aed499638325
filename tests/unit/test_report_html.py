"""The page: what is in it for every kind of run, and that nothing hostile gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from fakes.runmaker import TrialMaker, latencies, make_knob, make_load, make_run, make_status
from vmjitter.errors import DataError
from vmjitter.guest.layout import MISSED
from vmjitter.model.judge import Lack
from vmjitter.model.run import TrialState
from vmjitter.report.html.page import render_page, write_page
from vmjitter.report.result import RunResult, judge
from vmjitter.stats.digest import unordered
from vmjitter.stats.histogram import binned
from vmjitter.store.reader import Run, read_run
from vmjitter.store.samples import no_samples
from vmjitter.store.seal import seal_run

COUNT = 3000
LATENCY = latencies(COUNT, seed=2, worst_ns=18_000_000)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<!--"
SECTIONS = (
    *("verdict", "results", "series", "distribution", "shift", "quantiles", "time", "worst"),
    *("findings", "projection", "loads", "configuration", "assumptions", "recompute"),
)


class Page(HTMLParser):
    """A page, taken apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open[-1:]):
            self.words.append(data)

    @property
    def shown(self) -> str:
        """Everything that can be read, with plain spaces."""
        return re.sub(r"\s+", " ", " ".join(self.words))

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def pair(path: Path, **changes: object) -> RunResult:
    trials = [
        TrialMaker(status=make_status("before", loops=COUNT), latency_ns=LATENCY),
        TrialMaker(
            status=make_status("after", loops=COUNT, knobs=(make_knob(),)),
            latency_ns=LATENCY // 10,
        ),
    ]
    settings = {"pair": ("before", "after"), "deadline_ns": 17_000_000, **changes}
    return judge(read_run(make_run(path / "run", trials, **settings)))


def one(
    path: Path, latency_ns: np.ndarray[tuple[int], np.dtype[np.int64]], **changes: object
) -> Page:
    status = make_status("only", **{"loops": len(latency_ns), **changes})
    run = make_run(path / "run", [TrialMaker(status=status, latency_ns=latency_ns)])
    return Page(render_page(judge(read_run(run))))


def test_every_section_is_there_and_linked(tmp_path: Path) -> None:
    page = Page(render_page(pair(tmp_path)))
    assert [one["id"] for one in page.having("section")] == list(SECTIONS)
    links = [one["href"] for one in page.having("a")]
    assert links == ["#verdict", *(f"#{name}" for name in SECTIONS)]
    assert page.tags[0][0] == "html"
    assert page.shown.index("FAIL") < page.shown.index("Latency: actual minus planned")


def test_says_what_was_measured(tmp_path: Path) -> None:
    shown = Page(render_page(pair(tmp_path))).shown
    for words in (
        "Deadline 17 ms, any miss fails, 95 % confidence",
        "18.00 ms",
        "100.55 ms",
        "Testcore 9000",
        "vCPU 0 (1234)",
        "not supported",
        "max 18.00 ms",
        "TCG: times are not those of a KVM host",
        "vmjitter report run --deadline 17ms --confidence 95",
        "qemu-system-x86_64",
    ):
        assert words in shown, words


def test_loads_nothing_and_allows_nothing(tmp_path: Path) -> None:
    page = Page(render_page(pair(tmp_path)))
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "xlink:href", "srcset"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,", "data:,")), value
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    style = "".join(re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style


def test_policy_names_exactly_its_own_style_and_script(tmp_path: Path) -> None:
    page = Page(render_page(pair(tmp_path)))
    policy = next(m["content"] for m in page.having("meta") if "http-equiv" in m) or ""
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    script = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    style = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert len(script) == len(style) == 1
    for text in (*script, *style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_hostile_names_stay_words(tmp_path: Path) -> None:
    status = make_status(
        HOSTILE.replace("/", "|"),
        loops=COUNT,
        title=HOSTILE,
        conditions=(HOSTILE,),
        deviations=(HOSTILE,),
        invalid=(HOSTILE,),
        loads=(make_load(HOSTILE, message=HOSTILE),),
        qemu_command=("qemu", f"-{HOSTILE}", HOSTILE),
        guest_facts={HOSTILE: HOSTILE},
    )
    trial = TrialMaker(status=status, latency_ns=LATENCY)
    run = make_run(tmp_path / "run", [trial], title=HOSTILE, host={HOSTILE: HOSTILE})
    page = Page(render_page(judge(read_run(run))))
    assert len(page.having("img")) == 0
    assert len(page.having("script")) == 2  # one series, and our own
    assert page.shown.count(HOSTILE) >= 8
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "link", "title", "style", "script", "body", "a", "header", "p"),
        *(
            "h1",
            "h2",
            "h3",
            "nav",
            "ol",
            "ul",
            "li",
            "main",
            "section",
            "div",
            "strong",
            "dl",
            "dt",
        ),
        *(
            "dd",
            "span",
            "figure",
            "figcaption",
            "svg",
            "line",
            "path",
            "polyline",
            "text",
            "circle",
        ),
        *("image", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary"),
        *("pre", "footer"),
    }


def test_name_that_is_no_unicode_does_not_cost_the_page(tmp_path: Path) -> None:
    run = pair(tmp_path).run
    run = replace(run, info=replace(run.info, title="half a \ud83d"))
    write_page(judge(run), tmp_path / "report.html")
    assert "<h1>half a ?</h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_tables_have_headings_and_pictures_have_words(tmp_path: Path) -> None:
    page = Page(render_page(pair(tmp_path)))
    assert {one.get("scope") for one in page.having("th")} == {"col", "row"}
    assert len(page.having("caption")) == len(page.having("table")) > 8
    for picture in page.having("svg"):
        assert picture.get("aria-hidden") == "true" or len(picture.get("aria-label") or "") > 20
    assert page.having("html")[0]["lang"] == "en"


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    result = pair(tmp_path)
    write_page(result, tmp_path / "one.html")
    write_page(judge(read_run(result.run.path)), tmp_path / "other.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()


def test_sealed_run_shows_its_checksums_but_not_its_own(tmp_path: Path) -> None:
    path = pair(tmp_path).run.path
    seal_run(path)
    before = render_page(judge(read_run(path)))
    sums = (path / "SHA256SUMS").read_text()
    (path / "SHA256SUMS").write_text(f"{sums}{'0' * 64}  report.html\n{'1' * 64}  figures/a.png\n")
    assert render_page(judge(read_run(path))) == before
    digest = next(line for line in sums.splitlines() if "samples.parquet" in line).split()[0]
    assert digest in before


def test_no_deadline_no_verdict(tmp_path: Path) -> None:
    page = Page(render_page(pair(tmp_path, deadline_ns=None)))
    assert "NO DEADLINE" in page.shown
    assert "data-deadline" not in page.having("body")[0]


def test_without_a_pair_no_shift(tmp_path: Path) -> None:
    page = Page(render_page(pair(tmp_path, pair=None)))
    assert "shift" not in [one["id"] for one in page.having("section")]
    assert not [one for one in page.having("figure") if "data-group" in one]


def test_pair_shares_one_scale(tmp_path: Path) -> None:
    page = Page(render_page(pair(tmp_path)))
    groups = [one["data-group"] for one in page.having("figure") if "data-group" in one]
    assert groups == ["pair", "pair"]


def test_invalid_incomplete_failed_and_missing_trials(tmp_path: Path) -> None:
    broken = make_status("failed", state=TrialState.FAILED, error="the guest's kernel panicked")
    killed = make_status("killed", loops=COUNT, state=TrialState.RUNNING)
    run = make_run(
        tmp_path / "run",
        [
            TrialMaker(
                status=make_status("bad", loops=COUNT, invalid=("load udp stood still",)),
                latency_ns=LATENCY,
            ),
            TrialMaker(status=killed, latency_ns=LATENCY[:1500]),
            TrialMaker(status=broken, begun=False),
        ],
        scenarios=("bad", "killed", "failed", "never"),
        deadline_ns=50_000_000,
    )
    page = Page(render_page(judge(read_run(run))))
    assert "INCONCLUSIVE" in page.shown
    assert "bad: INVALID" in page.shown
    assert "load udp stood still" in page.shown
    assert "incomplete: 1500 of 3000" in page.shown
    assert "the guest's kernel panicked" in page.shown
    assert "never" in page.shown
    assert "struck" in page.text
    assert len([f for f in page.having("figure") if f.get("class") == "series"]) == 2


def imported(path: Path) -> RunResult:
    """A histogram of another tool: no order, an overflow."""
    histogram = binned(
        ((low * 1000, low * 1000 + 999, 10_000 // low) for low in range(3, 400)),
        overflow=7,
        overflow_from_ns=400_000,
        min_ns=3000,
        max_ns=1_234_000,
    )
    base = read_run(make_run(path / "run", [TrialMaker(status=make_status("thread-0", loads=()))]))
    trial = replace(
        base.trials[0],
        status=make_status("thread-0", loops=0, period_ns=0, loads=(), probe=None, accel="none"),
        samples=no_samples(),
        digest=unordered(histogram),
        loads=(),
        notes=(),
        lacks=frozenset({Lack.ORDER, Lack.PERIOD, Lack.OVERRUNS}),
    )
    info = replace(base.info, bench="import", deadline_ns=500_000)
    return judge(Run(path=path / "result.json", info=info, plan_toml="", trials=(trial,), notes=()))


def test_imported_histogram_has_no_series_and_says_so(tmp_path: Path) -> None:
    page = Page(render_page(imported(tmp_path)))
    anchors = [one["id"] for one in page.having("section")]
    assert "time" not in anchors
    assert "worst" not in anchors
    assert "distribution" in anchors
    assert "there is no series to draw" in page.shown
    assert "7 wake-ups beyond the last bin" in page.shown
    assert "1.23 ms" in page.shown
    assert "vmjitter report result.json --deadline 500µs" in page.shown


@pytest.mark.parametrize(
    "latency_ns",
    [
        np.array([], np.int64),
        np.array([-5_000], np.int64),
        np.array([0], np.int64),
        np.array([MISSED, MISSED, MISSED], np.int64),
        np.array([1 << 40, MISSED, -(1 << 33)], np.int64),
        np.full(2000, 7_000, np.int64),
    ],
    ids=["none", "early", "zero", "missed", "huge", "constant"],
)
def test_strange_trials(
    tmp_path: Path, latency_ns: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> None:
    page = one(tmp_path, latency_ns)
    assert "only" in page.shown
    assert "nan" not in page.text.split("<script>")[0].lower().replace("nanosecond", "")


def test_a_trial_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [TrialMaker(status=make_status(), latency_ns=LATENCY)])
    (run / "trials" / "01-kernel-io" / "samples.raw").write_bytes(b"nonsense" * 20)
    page = Page(render_page(judge(read_run(run))))
    assert "INVALID" in page.shown


def test_a_run_without_trials(tmp_path: Path) -> None:
    page = Page(render_page(judge(read_run(make_run(tmp_path / "run", [])))))
    assert "Nothing is known of" in page.shown or "Testcore" in page.shown


def test_small_for_its_samples(tmp_path: Path) -> None:
    """About 2.4 characters per wake-up with 10 us of scatter, and at most 350 kB for the rest."""
    latency_ns = latencies(60_000, seed=5, worst_ns=3_000_000)
    page = one(tmp_path, latency_ns)
    assert len(page.text) < 350_000 + 2.6 * 60_000


def test_refused_place_leaves_the_old_page(tmp_path: Path) -> None:
    result = pair(tmp_path)
    with pytest.raises(DataError, match="cannot write"):
        write_page(result, tmp_path / "nowhere" / "report.html")
    old = tmp_path / "report.html"
    old.write_text("old")
    (tmp_path / "report.html.tmp").mkdir()
    with pytest.raises(DataError, match=r"report\.html") as caught:
        write_page(result, old)
    assert caught.value.hint
    assert old.read_text() == "old"


def test_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full: it is part of Linux")
    (tmp_path / "report.html.tmp").symlink_to("/dev/full")
    with pytest.raises(DataError, match="No space left") as caught:
        write_page(pair(tmp_path), tmp_path / "report.html")
    assert "free space" in caught.value.hint


def test_uplot_is_what_its_readme_says() -> None:
    vendor = files("vmjitter.report.html").joinpath("vendor/uplot")
    readme = vendor.joinpath("README.md").read_text()
    sums = dict(re.findall(r"`(uPlot\S+)` \| `([0-9a-f]{64})`", readme))
    assert len(sums) == 2
    for name, digest in sums.items():
        assert hashlib.sha256(vendor.joinpath(name).read_bytes()).hexdigest() == digest
    assert "MIT" in vendor.joinpath("LICENSE").read_text()


def test_licence_of_uplot_is_in_the_page(tmp_path: Path) -> None:
    shown = Page(render_page(pair(tmp_path))).shown
    assert "Permission is hereby granted" in shown
