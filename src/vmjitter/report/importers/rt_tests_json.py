"""The JSON that all programs of rt-tests write: an envelope around their threads.

`rt_write_json` in rt-tests' src/lib/rt-utils.c makes a file that is not always JSON: it escapes
nothing in the command line, and an average of no wake-ups is written as ``-nan``.  Both are
repaired here.  The keys ``cmdline:`` and ``rt_test_version:`` have a colon of their own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from vmjitter.report.importers.base import refuse
from vmjitter.report.importers.rt_tests import MAX_THREADS, short

Json = dict[str, object]

MAX_BYTES: Final = 32 << 20
_HINT: Final = "give the file as the program wrote it with --json"

# A run of blanks never spans lines here: a file of blanks must not take quadratic time.
_COMMAND: Final = re.compile(r'^[ \t]*"cmdline:?"[ \t]*:[ \t]*"', re.MULTILINE)
_COMMAND_END: Final = re.compile(r'",[ \t]*\r?\n[ \t]*"')
_NOT_A_NUMBER: Final = re.compile(
    r'^([ \t]*"[^"\n]{1,80}"[ \t]*:[ \t]*)[-+]?(?:nan|inf(?:inity)?)(?=[ \t]*,?[ \t]*\r?$)',
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What stands around the threads.

    Attributes:
        command: the command line as it was given.
        created_utc: when it began, ISO 8601, or empty.
        elapsed_s: between begin and end, in whole seconds; 0 if not known.
        unit_ns: 1000 if latencies are in µs, 1 if in ns.
        threads: by their number.
    """

    command: str
    created_utc: str
    elapsed_s: int
    unit_ns: int
    facts: dict[str, str]
    notes: tuple[str, ...]
    threads: dict[int, Json]


def looks_like_rt_tests(head: bytes) -> bool:
    """Whether a file begins like one of rt-tests' JSON files."""
    return (
        head.lstrip()[:1] == b"{"
        and b'"file_version"' in head
        and re.search(rb'"(?:cmdline|rt_test_version):?"', head) is not None
    )


def read_envelope(content: bytes, place: str) -> Envelope:
    """Take such a file apart.

    Raises:
        DataError: it is damaged, or has no thread.
    """
    data = _load(content, place)
    started, ended = (_time(data.get(key)) for key in ("start_time", "end_time"))
    status = data.get("return_code", 0)
    return Envelope(
        command=_text(data, "cmdline"),
        created_utc=f"{started:%Y-%m-%dT%H:%M:%SZ}" if started else "",
        elapsed_s=max(0, round((ended - started).total_seconds())) if started and ended else 0,
        unit_ns=1 if data.get("resolution_in_ns") == 1 else 1000,
        facts=_facts(data),
        notes=(f"the program ended with status {short(status)}",) if status != 0 else (),
        threads=_threads(data.get("thread"), place),
    )


def _load(content: bytes, place: str) -> Json:
    if len(content) > MAX_BYTES:
        raise refuse(place, None, f"more than {MAX_BYTES >> 20} MiB of JSON", _HINT)
    text = content.decode("utf-8", "replace")
    try:
        data = _parse(text)
    except json.JSONDecodeError as error:
        raise refuse(
            place, error.lineno, f"the JSON is damaged or cut: {error.msg}", _HINT
        ) from error
    except (ValueError, RecursionError) as error:
        why = "a number with too many digits" if isinstance(error, ValueError) else "too deep"
        raise refuse(place, None, f"the JSON cannot be read: {why}", _HINT) from error
    if not isinstance(data, dict):
        raise refuse(place, 1, "it holds no JSON object", _HINT)
    return data


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return json.loads(_NOT_A_NUMBER.sub(r"\1null", _with_escaped_command(text)))


def _with_escaped_command(text: str) -> str:
    """Escape what the command line has of quotes and line ends."""
    start = _COMMAND.search(text)
    end = _COMMAND_END.search(text, start.end()) if start else None
    if not start or not end:
        return text
    command = text[start.end() : end.start()]
    return text[: start.end()] + json.dumps(command)[1:-1] + text[end.start() :]


def _text(data: Json, name: str) -> str:
    """The text of a key, with or without the colon that belongs to it by mistake."""
    found = data.get(f"{name}:", data.get(name, ""))
    return found if isinstance(found, str) else ""


def _time(value: object) -> datetime | None:
    try:
        found = parsedate_to_datetime(value) if isinstance(value, str) else None
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    try:
        return found.astimezone(UTC) if found else None
    except (ValueError, OverflowError):
        return None


def _facts(data: Json) -> dict[str, str]:
    """Of the machine, without its name: a report is handed on."""
    system = data.get("sysinfo")
    system = system if isinstance(system, dict) else {}
    names = {"release": "kernel", "version": "kernel_version", "machine": "machine"}
    facts = {ours: str(system[key]) for key, ours in names.items() if system.get(key)}
    if "realtime" in system:
        facts["realtime_kernel"] = "yes" if system["realtime"] == 1 else "no"
    version = _text(data, "rt_test_version")
    return {**facts, **({"rt_tests": version} if version else {})}


def _threads(found: object, place: str) -> dict[int, Json]:
    if not isinstance(found, dict) or not found:
        raise refuse(place, None, 'there is no "thread" with results in it', _HINT)
    if len(found) > MAX_THREADS:
        raise refuse(place, None, f"{len(found)} threads, more than {MAX_THREADS}", _HINT)
    threads: dict[int, Json] = {}
    for key, value in found.items():
        if not (key.isascii() and key.isdecimal() and len(key) < 10 and isinstance(value, dict)):
            raise refuse(place, None, f'"thread" holds {short(key)}, which is no thread', _HINT)
        threads[int(key)] = value
    return dict(sorted(threads.items()))
