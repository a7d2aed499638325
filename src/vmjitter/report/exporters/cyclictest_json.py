"""The file that ``cyclictest --json`` writes, so that scripts made for it take our results.

Layout as in rt-tests 2.x (``file_version`` 1): rt_write_json() in rt-utils.c writes the head, whose
keys "cmdline:" and "rt_test_version:" have their colon inside the quotes; write_stats() in
cyclictest.c writes the threads.  One trial is one thread.  What cyclictest does not know stands
under the key "vmjitter", at the top and in each thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from vmjitter.report.exporters.base import Exporter, Material, text
from vmjitter.report.exporters.buckets import Buckets, buckets_of
from vmjitter.report.exporters.words import about, machines, plain, slug, target_text
from vmjitter.report.result import RunResult, TrialResult
from vmjitter.units import NS_PER_US

EXTRA_FORMAT: Final = 1
"""Version of what is under "vmjitter"; keys may be added without a new number."""

Json = dict[str, object]

_KERNEL: Final = re.compile(r"(?:Linux version )?(\S+)(?: \(.*\))? ?(#.*)?")
_UNAME: Final = re.compile(r"Linux \S+ (\S+) (#.*?) (\S+)(?: GNU/Linux)?")
"""What ``uname -a`` prints."""


def _render(material: Material) -> Iterator[str]:
    result = material.result
    yield json.dumps(_document(result), indent=2, allow_nan=False)
    yield "\n"


def _document(result: RunResult) -> Json:
    info = result.run.info
    begun = [trial.status.started_utc for trial in result.trials] or [info.created_utc]
    ended = [trial.status.ended_utc for trial in result.trials] or [""]
    return {
        "file_version": 1,
        "cmdline:": _command(result),
        "rt_test_version:": f"vmjitter {info.vmjitter}",
        "start_time": _time(begun[0] or info.created_utc),
        "end_time": _time(ended[-1]),
        "return_code": int(not all(trial.valid for trial in result.trials)),
        "sysinfo": _sysinfo(result),
        "num_threads": len(result.trials),
        "resolution_in_ns": 0,
        "thread": {str(number): _thread(trial) for number, trial in enumerate(result.trials)},
        "vmjitter": _run(result),
    }


def _command(result: RunResult) -> str:
    """The command that measured, or one that would; its interval is in us, as readers expect."""
    info = result.run.info
    if info.bench == "import" and info.host.get("command"):
        return plain(info.host["command"])
    periods = {trial.period_ns for trial in result.trials}
    loops = {trial.loops for trial in result.trials}
    words = [f"vmjitter run {info.plan}"]
    if len(periods) == 1 and (period_ns := periods.pop()) and period_ns % NS_PER_US == 0:
        words.append(f"--interval={period_ns // NS_PER_US}")
    if len(loops) == 1:
        words.append(f"--loops={loops.pop()}")
    return plain(" ".join(words))


def _time(utc: str) -> str:
    """The form that strftime's "%a, %d %b %Y %T %z" has in English."""
    try:
        return format_datetime(datetime.fromisoformat(utc).astimezone(UTC))
    except ValueError:
        return ""


def _sysinfo(result: RunResult) -> Json:
    """The machine on which the probe ran, as far as it is known; its name is nobody's business.

    That is the guest, if every trial had the same kernel in it; no machine, if every trial had a
    guest but their kernels differ; else the host.
    """
    host = result.run.info.host
    inside = {trial.status.guest_facts.get("kernel", "") for trial in result.trials}
    if len(inside) > 1 and "" not in inside:
        host = {}
    guest = _UNAME.fullmatch(inside.pop()) if len(inside) == 1 else None
    if guest:
        release, version, machine = guest.groups()
        real_time = "PREEMPT_RT" in version or "PREEMPT RT" in version
    else:
        kernel = _KERNEL.match(host.get("kernel", ""))
        release, version = kernel.groups("") if kernel else ("", "")
        version = version or host.get("kernel_version", "")
        machine = host.get("machine", "")
        real_time = host.get("realtime") == "1" or host.get("realtime_kernel") == "yes"
    return {
        "sysname": "Linux" if release else "",
        "nodename": "[redacted]",
        "release": release,
        "version": version,
        "machine": machine,
        "realtime": int(real_time),
    }


def _thread(trial: TrialResult) -> Json:
    buckets = buckets_of(trial.trial.digest.histogram)
    pairs = zip(buckets.value_us.tolist(), buckets.count.tolist(), strict=True)
    return {
        "histogram": {str(value): count for value, count in pairs},
        "cycles": buckets.total,
        "min": buckets.min_us,
        "max": buckets.max_us,
        "avg": _mean(buckets),
        **_interval(trial),
        "cpu": _cpu(trial),
        "node": -1,
        "vmjitter": _extra(trial),
    }


def _interval(trial: TrialResult) -> Json:
    """The period in us, by the name that rt-tests' other programs give it; cyclictest has none."""
    microseconds, rest = divmod(trial.period_ns, NS_PER_US)
    return {"interval": microseconds} if microseconds and not rest else {}


def _mean(buckets: Buckets) -> float | None:
    """With two decimals, as cyclictest; None where it would write "-nan"."""
    return float(buckets.mean_us(2)) if buckets.counted else None


def _cpu(trial: TrialResult) -> int:
    """The one CPU that the probe was bound to, or -1 as cyclictest has it."""
    mask = trial.status.probe.affinity if trial.status.probe else 0
    return mask.bit_length() - 1 if mask.bit_count() == 1 else -1


def _extra(trial: TrialResult) -> Json:
    return {"name": slug(trial), **about(trial), "guest": dict(trial.status.guest_facts)}


def _run(result: RunResult) -> Json:
    info = result.run.info
    return {
        "format": EXTRA_FORMAT,
        "plan": info.plan,
        "title": info.title,
        "created_utc": info.created_utc,
        "bench": info.bench,
        "target": target_text(result),
        "deadline_ns": info.deadline_ns,
        "max_misses_per_hour": info.max_misses_per_hour,
        "confidence_percent": info.confidence_percent,
        "verdict": result.outcome.value,
        "machines": dict(machines(result)),
        "not_measured": list(result.not_measured),
        "notes": list(result.run.notes),
    }


EXPORTER: Final = Exporter(
    name="cyclictest-json",
    what="as cyclictest --json writes it: every bucket of 1 us, one thread per trial",
    suffix=".cyclictest.json",
    write=text(_render),
)
