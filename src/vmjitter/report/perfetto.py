"""The worst late wake-ups as a timeline for ui.perfetto.dev.

The format is the JSON of the Trace Event Format, which Perfetto's interface and chrome://tracing
open: a "process" per group of lanes, a "thread" per lane, a complete event ("X") per bar.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from vmjitter.report.explain import AROUND_NS, TrialExplanation, title_of
from vmjitter.trace.attribute import Attribution
from vmjitter.trace.lanes import Lane, lanes

Json = dict[str, object]

GROUPS: Final = ("causes", "guest", "host", "QEMU")


def perfetto(trial: TrialExplanation, *, worst: int = 20) -> str:
    """The worst wake-ups of a trial, each with `AROUND_NS` on both sides, as a JSON text.

    Args:
        trial: the trial.
        worst: how many.
    """
    chosen = sorted(trial.spikes[:worst], key=lambda one: one.window.start)
    threads: dict[tuple[str, str], int] = {}
    bars: dict[str, None] = {}  # a bar may lie in the surroundings of two wake-ups
    for one in chosen:
        around = (one.window.start - AROUND_NS, one.window.end + AROUND_NS)
        for lane in lanes(trial.scene, one, around):
            thread = threads.setdefault((lane.group, lane.name), len(threads) + 1)
            bars.update(dict.fromkeys(map(_line, _bars(lane, thread))))
        bars[_line(_wakeup(one))] = None
    head = [_line(event) for event in _names(threads)]
    body = ",\n".join([*head, *bars])
    about = json.dumps({"scenario": trial.name, "clock": "CLOCK_MONOTONIC of the host"})
    return f'{{"displayTimeUnit":"ns","otherData":{about},"traceEvents":[\n{body}\n]}}\n'


def _bars(lane: Lane, thread: int) -> Iterator[Json]:
    for bar in lane.bars:
        yield {
            "ph": "X",
            "name": title_of(bar.label) if lane.group == "causes" else bar.label,
            "cat": lane.group,
            "pid": GROUPS.index(lane.group) + 1,
            "tid": thread,
            "ts": _us(bar.start),
            "dur": _us(bar.end - bar.start),
            "args": {"detail": bar.detail} if bar.detail else {},
        }


def _wakeup(one: Attribution) -> Json:
    """The wake-up itself; thread 0 of the causes is drawn on top."""
    return {
        "ph": "X",
        "name": f"late wake-up {one.window.activation}",
        "cat": "causes",
        "pid": 1,
        "tid": 0,
        "ts": _us(one.window.start),
        "dur": _us(one.window.latency_ns),
        "args": {share.cause: f"{share.ns} ns" for share in one.shares},
    }


def _names(threads: dict[tuple[str, str], int]) -> Iterator[Json]:
    for number, group in enumerate(GROUPS, 1):
        yield _meta("process_name", number, 0, {"name": group})
        yield _meta("process_sort_index", number, 0, {"sort_index": number})
    yield _meta("thread_name", 1, 0, {"name": "late wake-ups"})
    for (group, name), thread in threads.items():
        yield _meta("thread_name", GROUPS.index(group) + 1, thread, {"name": name})


def _meta(name: str, pid: int, tid: int, args: Json) -> Json:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args}


def _us(value_ns: int) -> float:
    """A double holds nanoseconds as decimals of microseconds for the first hundred days."""
    return value_ns / 1000


def _line(event: Json) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
