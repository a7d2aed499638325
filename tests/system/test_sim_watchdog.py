"""The watchdog in a simulated host of which every CPU is taken: on a real one that is too risky.

Unlike tests/unit/test_watchdog.py, the kernel's own throttling is off here and nothing but the
watchdog can run: not the controller, not the test, not the kernel's threads.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from system.conftest import vmjitter

pytestmark = pytest.mark.system

SILENCE_NS = 2_000_000_000
ALARM_S = 40
"""Ends the starvation if the watchdog does not."""

HOG = """
import os, signal, sys, time
signal.alarm(int(sys.argv[2]))
os.sched_setaffinity(0, {int(sys.argv[1])})
print("ready", flush=True)
while os.sched_getscheduler(0) != os.SCHED_FIFO:
    time.sleep(0.01)
while True:
    pass
"""

CONTROLLER = """
import os, sys, time
from pathlib import Path
from vmjitter.effects.threads import thread
from vmjitter.tuning.change import Change
from vmjitter.tuning.journal import Journal
from vmjitter.tuning.media import media
from vmjitter.tuning.media.thread import thread_place
from vmjitter.tuning.tuner import Tuner
from vmjitter.tuning.watchdog import Watchdog

silence_ns, *hogs = map(int, sys.argv[1:])
last = max(os.sched_getaffinity(0))
with Watchdog(Path("/tmp/state"), log=Path("/tmp/log"), cpus=frozenset({0}),
              silence_ns=silence_ns) as dog:
    tuner = Tuner(Journal(Path("/tmp/state")), media())
    for task in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(task.name), {last})
    place = "/proc/sys/kernel/sched_rt_runtime_us"
    tuner.apply("rt-throttling-off", [Change(medium="file", place=place, wanted="-1")])
    print(dog.rank, flush=True)
    # the one on our own CPU comes last
    tuner.apply("hogs", [Change(medium="policy", place=thread_place(thread(hog)),
                               wanted=f"fifo {dog.highest}") for hog in hogs])
    while True:
        time.sleep(0.01)
"""

DRIVER = """
import json, os, subprocess, sys, time
from pathlib import Path
from vmjitter.effects.threads import read_policy
from vmjitter.tuning.journal import Journal
from vmjitter.tuning.media import media
from vmjitter.tuning.tuner import Tuner

hog, controller, silence_ns, alarm_s = sys.argv[1:]
throttling = Path("/proc/sys/kernel/sched_rt_runtime_us")
before = throttling.read_text().strip()

def start(*words):
    child = subprocess.Popen([sys.executable, "-c", *words], stdout=subprocess.PIPE, text=True)
    return child, child.stdout.readline().strip()

hogs = [start(hog, str(cpu), alarm_s)[0] for cpu in sorted(os.sched_getaffinity(0))]
judge, rank = start(controller, silence_ns, *(str(one.pid) for one in hogs))
begin = seen = time.monotonic()
longest = 0.0
while time.monotonic() - begin < float(alarm_s):
    time.sleep(0.02)
    now = time.monotonic()
    longest, seen = max(longest, now - seen), now
    given_back = throttling.read_text().strip() == before and longest > 0.5
    if given_back and all(read_policy(one.pid) == "other" for one in hogs):
        break
end = time.monotonic() + 10
while "sched_rt_runtime_us" not in Path("/tmp/log").read_text() and time.monotonic() < end:
    time.sleep(0.1)  # it acts first and writes afterwards
lives = judge.poll() is None
ended = [one.poll() for one in hogs]
for child in (*hogs, judge):
    child.kill()
    child.wait()
tuner = Tuner(Journal(Path("/tmp/state")), media())
tuner.revert(tuner.outstanding())
print(json.dumps({
    "rank": rank, "cpus": len(hogs), "before": before, "after": throttling.read_text().strip(),
    "starved_s": longest, "controller_lives": lives, "hogs_ended": ended,
    "log": Path("/tmp/log").read_text(), "outstanding": len(tuner.outstanding()),
}))
"""


@pytest.fixture(scope="module")
def found() -> Any:  # noqa: ANN401 - JSON
    words = ("python3", "-c", DRIVER, HOG, CONTROLLER, str(SILENCE_NS), str(ALARM_S))
    done = vmjitter("sim", "exec", "--clock", "real", "--", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_host_of_which_every_cpu_is_taken_is_given_back(found: Any) -> None:  # noqa: ANN401
    assert (found["rank"], found["cpus"]) == ("deadline", 2)
    assert found["starved_s"] > SILENCE_NS / 2e9, "nothing else ran meanwhile"
    assert found["starved_s"] < ALARM_S / 2
    assert found["hogs_ended"] == [None, None], "it was not their own alarm"
    assert found["log"].count("fifo 99 became other") == 2
    assert "nothing was heard of vmjitter for" in found["log"]


def test_what_else_was_changed_is_put_back_too(found: Any) -> None:  # noqa: ANN401
    assert found["before"] not in {"", "-1"}
    assert found["after"] == found["before"]
    assert "sched_rt_runtime_us: restored 950000" in found["log"]
    assert found["controller_lives"] is True
    assert found["outstanding"] == 0
