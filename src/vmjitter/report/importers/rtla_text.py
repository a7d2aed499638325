"""What `rtla timerlat hist` and `rtla timerlat top` print alike: units, times, the analysis.

Read from rtla 6.1, 6.12 and 7.2 and their sources (Linux, tools/tracing/rtla/src/timerlat_hist.c,
timerlat_top.c, timerlat_aa.c).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Final

from vmjitter.report.importers.reading import scaled, whole
from vmjitter.units import NS_PER_US

CONTEXTS: Final = {"irq": "IRQ", "thread": "thread", "user": "return to user space"}
"""Where timerlat takes the time, in the order of its columns."""

SKIPPED: Final = "timerlat skips the periods that it misses and does not count them"

_UNITS: Final = {"us": NS_PER_US, "ns": 1}
_CLOCK: Final = re.compile(r"(\d{1,6}) +(\d{1,2}):(\d{2}):(\d{2})")
_STOPPED: Final = re.compile(r"timerlat hit stop tracing\b")
_CPU: Final = re.compile(r"## CPU (\d{1,6}) hit stop tracing")
_ITEM: Final = re.compile(
    r"(Previous IRQ interference|IRQ handler delay|IRQ latency|Timerlat IRQ duration"
    r"|Blocking thread|IRQ interference|Softirq interference|NMI interference"
    r"|Thread interference|Thread latency):? +(\(exit from idle\))?(?:up to)? *"
    r"([0-9.]{1,20} us(?: *\([0-9.]{1,10} ?%\))?)"
)
_BLAMED: Final = re.compile(r" {8,}(.{0,60}?:-?\d{1,10})(?: +([0-9.]{1,20} us))? *")
_FROM_IDLE: Final = re.compile(
    r"Max timerlat IRQ latency from idle: ([0-9.]{1,20} us) in cpu (\d{1,6})"
)
_OPTIONS: Final = {
    "-p": "period", "--period": "period", "-b": "bucket", "--bucket-size": "bucket",
    "-E": "entries", "--entries": "entries",
}  # fmt: skip
_LONGEST: Final = 1000
"""No line of the analysis and no command is longer; patterns are not tried on longer ones."""
_MOST_FACTS: Final = 1000
_ROUNDED_NS: Final = 10  # the analysis prints two decimals of a microsecond


def unit_named(text: str) -> int | None:
    """Nanoseconds of a unit that a line names in parentheses: "(us)"."""
    match = re.search(r"\((us|ns)\)", text)
    return _UNITS[match[1]] if match else None


def clock_s(text: str) -> int | None:
    """Seconds of "0 00:10:00", days first; None if there is no such time in the text."""
    match = _CLOCK.search(text)
    if not match:
        return None
    days, hours, minutes, seconds = (int(part) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line that stands in the file, such as a prompt with what was typed.

    Attributes:
        period_ns: of ``-p``, or rtla's default.
        bucket: of ``-b``, in units; likewise ``entries`` of ``-E``.
        nano: ``-n`` was given.
    """

    text: str
    period_ns: int
    bucket: int
    entries: int
    nano: bool


def command_in(text: str, verb: str) -> Command | None:
    """The command line in a line of text, if it holds one of ``rtla timerlat VERB``.

    The defaults are those of rtla: a period of 1000 us and 256 buckets of 1 us.
    """
    if len(text) > _LONGEST:
        return None
    start = re.search(rf"\brtla +timerlat +{verb}(?= +-| *$)", text)
    if not start:
        return None
    try:
        words = shlex.split(text[start.end() :])
    except ValueError:  # quotes that do not close
        return None
    given = _options(words)
    if any(value is None or value <= 0 for value in given.values()):
        return None
    numbers = {name: value for name, value in given.items() if value is not None}
    return Command(
        text=text[start.start() :].strip(),
        period_ns=min(numbers.get("period", 1000), 1 << 40) * NS_PER_US,
        bucket=min(numbers.get("bucket", 1), 1 << 40),
        entries=min(numbers.get("entries", 256), 1 << 40),
        nano=any(word in {"-n", "--nano"} for word in words),
    )


def _options(words: list[str]) -> dict[str, int | None]:
    """The numbers that options give; None for one that is no number."""
    found: dict[str, int | None] = {}
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2:
            name, equals, value = word[:2], "=", word[2:].lstrip("=")
        if name not in _OPTIONS:
            continue
        if not equals:
            value = words[place + 1] if place + 1 < len(words) else ""
        found[_OPTIONS[name]] = whole(value)
    return found


@dataclass(kw_only=True)
class Analysis:
    """What rtla says after it stopped at a latency: which part of it was whose.

    Attributes:
        stopped: it stopped because a latency was above the limit.
        facts: its rows by name, as text: "CPU 3: IRQ latency" is "28.13 us".
    """

    stopped: bool = False
    facts: dict[str, str] = field(default_factory=dict)
    _cpu: str = ""
    _item: str = ""

    def take(self, text: str) -> bool:
        """Read a line; whether it was one of the analysis."""
        if len(text) > _LONGEST or len(self.facts) > _MOST_FACTS:
            return False
        found = bool(_STOPPED.search(text))
        self.stopped |= found
        if match := _CPU.search(text):
            self._cpu, self._item, found = f"CPU {match[1]}: ", "", True
        for item in _ITEM.finditer(text):  # some versions leave out the line end between two
            idle = " (exit from idle)" if item[2] else ""
            self._item, found = f"{self._cpu}{item[1]}{idle}", True
            self.facts[self._item] = item[3]
        if self._item and (blamed := _BLAMED.fullmatch(text)):
            found = True
            if blamed[2]:
                self.facts[f"{self._item}: {blamed[1]}"] = blamed[2]
        if idle_match := _FROM_IDLE.search(text):
            self.facts[f"CPU {idle_match[2]}: Max timerlat IRQ latency from idle"] = idle_match[1]
            found = True
        return found or self._is_frame(text)

    def later_than(self, cpu: int | None, context: str, max_ns: int, unit_ns: int) -> int | None:
        """The latency at which rtla stopped, if the table's maximum is below it; else None.

        The table is read from the counters while the last wake-up is still on its way to them.
        """
        item = {"irq": "IRQ latency", "thread": "Thread latency"}.get(context)
        said = self.facts.get(f"CPU {cpu}: {item}", "").partition(" us")[0]
        latency_ns = scaled(said, NS_PER_US)
        if latency_ns is None or latency_ns - _ROUNDED_NS < max_ns + unit_ns:
            return None
        return latency_ns // unit_ns * unit_ns

    def _is_frame(self, text: str) -> bool:
        """Lines of the analysis that say nothing by themselves, or are not kept."""
        stripped = text.strip()
        if stripped.startswith("Saving trace to"):
            return True
        return self.stopped and (
            set(stripped) <= {"-"}
            or stripped.startswith(("->", "[", "The system has exit from idle"))
            or re.search("stack ?trace|Printing CPU tasks", stripped) is not None
            or stripped == "Blocking thread:"
        )

    def notes(self) -> list[str]:
        """What a reader of the numbers has to know."""
        if not self.stopped:
            return []
        note = (
            "rtla stopped because a latency was above its limit: the length of the measurement "
            "depends on what was measured"
        )
        return [note]
