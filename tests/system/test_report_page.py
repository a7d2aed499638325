"""The page in a real browser: no error, no request, every wake-up reachable, printable.

Needs Debian's `chromium`.  It is driven over a pair of pipes, so that no port is opened.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes.runmaker import TrialMaker, latencies, make_knob, make_run, make_status
from vmjitter.guest.layout import MISSED
from vmjitter.report.html.page import write_page
from vmjitter.report.html.samples import FULL_ACTIVATIONS
from vmjitter.report.result import judge
from vmjitter.store.reader import read_run

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]
COUNT: Final = 240_000
Json = dict[str, Any]
Int64s = NDArray[np.int64]


class Browser:
    """A headless Chromium with one page, spoken to in the DevTools protocol."""

    def __init__(self, profile: Path) -> None:
        ours_out, theirs_in = os.pipe()[::-1]
        theirs_out, ours_in = os.pipe()[::-1]
        os.set_inheritable(theirs_in, True)  # noqa: FBT003
        os.set_inheritable(theirs_out, True)  # noqa: FBT003
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        plumbing = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", plumbing, *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._write = os.fdopen(ours_out, "wb", buffering=0)
        self._read = os.fdopen(ours_in, "rb")
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._target = ""
        self.events: list[Json] = []

    def close(self) -> None:
        """End it with everything that it started."""
        self._write.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._read.close()

    def call(self, method: str, **parameters: object) -> Json:
        """Send a command and return its answer; events that come before it are kept."""
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]  # type: ignore[no-any-return]

    def _next(self) -> Json:
        while b"\0" not in self._buffer:
            data = os.read(self._read.fileno(), 1 << 20)
            assert data, "the browser is gone"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def open(self, page: Path, *, scripts: bool = True, scheme: str = "light") -> None:
        """Load a page in a tab of its own and wait until its charts are there."""
        self._tab()
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        if scripts:
            self.run("vmjitterReport.ready.then(() => true)")

    def _tab(self) -> None:
        self._session = None
        if self._target:
            self.call("Target.closeTarget", targetId=self._target)
        self._target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def run(self, script: str) -> Any:  # noqa: ANN401 - whatever the script gives
        """The value of an expression, or what the promise gives that it is."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def complaints(self) -> list[Json]:
        """Errors and warnings of the console, refused loads among them."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        """Addresses that were asked for."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def samples() -> dict[str, Int64s]:
    """Four trials of a whole run."""
    worst = {
        "native": 4_100_000,
        "kernel": 900_000,
        "kernel-io": 88_000_000,
        "mitigated": 9_000_000,
    }
    made = {
        name: latencies(COUNT, seed=seed, worst_ns=worst_ns, spikes=100 + 300 * seed)
        for seed, (name, worst_ns) in enumerate(worst.items())
    }
    made["kernel"][17] = -4321
    return made


@pytest.fixture(scope="module")
def page(
    samples: dict[str, Int64s],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    directory = tmp_path_factory.mktemp("page")
    trials = [
        TrialMaker(
            status=make_status(name, loops=COUNT, knobs=(make_knob(),)), latency_ns=latency_ns
        )
        for name, latency_ns in samples.items()
    ]
    path = make_run(
        directory / "run", trials, pair=("kernel-io", "mitigated"), deadline_ns=10_000_000
    )
    write_page(judge(read_run(path)), directory / "report.html")
    return directory / "report.html"


def test_loads_in_peace(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.complaints() == []
    outside = [url for url in browser.requests() if not url.startswith("data:")]
    assert outside == [page.as_uri()]
    assert browser.run("document.querySelectorAll('figure.series.ready canvas').length") == 4
    assert page.stat().st_size < 3_000_000


def test_every_latency_is_in_the_page(
    browser: Browser, page: Path, samples: dict[str, Int64s]
) -> None:
    browser.open(page)
    for name, latency_ns in samples.items():
        script = f"""(() => {{
          const value = vmjitterReport.chart({json.dumps(name)}).data.value;
          const whole = BigInt64Array.from(value, v => Number.isNaN(v) ? {MISSED}n : BigInt(v));
          const bytes = new Uint8Array(whole.buffer);
          let text = "";
          for (let at = 0; at < bytes.length; at += 32768)
            text += String.fromCharCode(...bytes.subarray(at, at + 32768));
          return btoa(text);
        }})()"""
        found = np.frombuffer(base64.b64decode(browser.run(script)), "<i8")
        assert np.array_equal(found, latency_ns), name


def test_every_point_is_drawn_when_zoomed_in(browser: Browser, page: Path) -> None:
    """Windows that together hold the whole trial: in each, so many points as activations."""
    browser.open(page)
    script = """(() => {
      const chart = vmjitterReport.chart("kernel-io"), step = 600;
      let drawn = 0, single = true;
      for (let from = 0; from < chart.data.count; from += step) {
        chart.show(from, from + step);
        chart.plot.redraw();
        chart.draw(chart.plot);
        single = single && chart.single();
        drawn += chart.drawn;
      }
      return [drawn, single, chart.data.count];
    })()"""
    drawn, single, count = browser.run(script)
    assert (drawn, single, count) == (COUNT, True, COUNT)


def test_keyboard_reaches_a_point_and_reads_it(
    browser: Browser, page: Path, samples: dict[str, Int64s]
) -> None:
    browser.open(page)
    worst = int(np.argmax(samples["kernel-io"]))
    browser.run("vmjitterReport.chart('kernel-io').live.focus()")
    for key in ("w", ".", ",", ","):
        browser.press(key)
    before = int(samples["kernel-io"][worst - 1])
    told = browser.run("vmjitterReport.chart('kernel-io').readout.textContent")
    assert f"{worst - 1:,}".replace(",", "\u202f") in told
    assert f"exactly {before:,} ns".replace(",", "\u202f") in told
    for key in ("ArrowRight", "+", "-", "l", "0"):
        browser.press(key)
    chart = "vmjitterReport.chart('kernel-io')"
    assert browser.run(f"[{chart}.from, {chart}.to, {chart}.log]") == [0, COUNT, True]
    assert browser.complaints() == []


def test_tab_leads_to_everything_that_can_be_used(browser: Browser, page: Path) -> None:
    browser.open(page)
    script = """[...document.querySelectorAll('a, button, input, summary, .live')]
      .filter(e => e.tabIndex < 0 || !(e.textContent.trim() || e.ariaLabel)).length"""
    assert browser.run(script) == 0


def test_dragging_zooms(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run(
        "vmjitterReport.chart('kernel-io').live"
        ".scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    box = browser.run(
        "(() => { const r = vmjitterReport.chart('kernel-io').plot.over.getBoundingClientRect();"
        " return [r.left, r.top, r.width, r.height]; })()"
    )
    left, top, width, height = box
    moves = (("mousePressed", 0.25), ("mouseMoved", 0.4), ("mouseMoved", 0.5))
    for kind, share in (*moves, ("mouseReleased", 0.5)):
        place = {"x": left + width * share, "y": top + height / 2}
        browser.call(
            "Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **place
        )
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    begin, end = browser.run(
        "[vmjitterReport.chart('kernel-io').from, vmjitterReport.chart('kernel-io').to]"
    )
    assert 0.2 * COUNT < begin < 0.3 * COUNT
    assert 0.45 * COUNT < end < 0.55 * COUNT


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_scheme_and_can_be_read(
    browser: Browser, page: Path, scheme: str
) -> None:
    browser.open(page, scheme=scheme)
    words = ("ink", "soft", "good", "bad", "warn", "link")
    names = ("paper", "raised", *words, *map("c{}".format, range(8)))
    style = "getComputedStyle(document.documentElement)"
    colour = {name: browser.run(f"{style}.getPropertyValue('--{name}')") for name in names}
    assert (luminance(colour["paper"]) > 0.5) is (scheme == "light")
    for name in names[2:]:
        least = 4.5 if name in words else 3.0
        assert contrast(colour[name], colour["paper"]) >= least, name


def test_prints_with_everything_open(browser: Browser, page: Path) -> None:
    browser.open(page)
    pdf = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    browser.call("Emulation.setEmulatedMedia", media="print")
    shown = """[document.querySelectorAll('figure.series .static').length,
      [...document.querySelectorAll('figure.series .static')].every(e => e.offsetHeight > 50),
      [...document.querySelectorAll('.live, .toolbar')].every(e => e.offsetHeight === 0)]"""
    assert browser.run(shown) == [4, True, True]
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("document.querySelectorAll('details:not([open])').length") == 0


def test_without_scripts_all_is_there(browser: Browser, page: Path) -> None:
    browser.open(page, scripts=False)
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    still = browser.call("DOM.querySelectorAll", nodeId=root, selector="figure.series .static svg")
    for node in still["nodeIds"]:
        assert browser.call("DOM.getBoxModel", nodeId=node)["model"]["height"] > 50
    assert len(still["nodeIds"]) == 4
    closed = browser.call("DOM.querySelectorAll", nodeId=root, selector="details:not([open])")
    assert len(closed["nodeIds"]) == 1  # the licence


def test_a_long_trial_shows_extremes_and_its_latest(browser: Browser, tmp_path: Path) -> None:
    latency = np.full(FULL_ACTIVATIONS + 1000, 5_000, np.int64)
    latency[::7] += 13
    latency[2_345_678] = 7_654_321
    latency[99] = MISSED
    trial = TrialMaker(status=make_status("long", loops=len(latency)), latency_ns=latency)
    run = make_run(tmp_path / "run", [trial])
    write_page(judge(read_run(run)), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 1_000_000
    browser.open(tmp_path / "report.html")
    browser.run("vmjitterReport.chart('long').live.focus()")
    browser.press("w")
    told = browser.run("vmjitterReport.chart('long').readout.textContent")
    assert "exactly 7\u202f654\u202f321 ns" in told
    chart = "vmjitterReport.chart('long')"
    assert browser.run(f"{chart}.data.extremes(0, {chart}.data.count).high") == 7_654_321
    assert browser.run(f"{chart}.data.extremes(0, {chart}.data.count).low") == 5_000
    assert browser.run(f"{chart}.data.missed(0, 1000)") == 1
    assert browser.complaints() == []


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour.strip()[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
