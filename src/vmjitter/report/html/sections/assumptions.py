"""What the statements rest on, where they end, and what would make the figures invalid."""

from __future__ import annotations

from typing import Final

from vmjitter.report.html.blocks import Block, Bullets, Section, Tone
from vmjitter.report.html.view import PageView
from vmjitter.units import format_span

_UNSEEN: Final = (
    "A mechanism that did not act during the trial is in none of these figures: a firmware "
    "interrupt every hour, a device that was idle, a host that was less loaded."
)
_SCOPE: Final = (
    "Latency is taken by the clock of the side where the probe runs, as the application would see "
    "it. Time between the wake-up and the application's output is not part of it."
)
_CAUSE: Final = (
    "A cause is shown by switching it off and measuring again, not by its coincidence with a late "
    "wake-up."
)
_LIMITS: Final = (
    "A maximum is the latest wake-up that occurred. It bounds nothing beyond the measured time.",
    _UNSEEN,
    _SCOPE,
    _CAUSE,
)
_PROBE: Final = (
    "a probe that lost its policy, priority or affinity, was not locked in memory, or had page "
    "faults"
)
_OTHER_LOAD: Final = (
    "loads or devices that are not those of operation: then the figures are right, and about "
    "something else"
)
_INVALID: Final = (
    "a load that did not start, died, or stood still for seconds",
    _PROBE,
    "a clock source that changed during the trial",
    "a setting that was not in force at the beginning or at the end",
    "samples that are missing, or files that do not match their checksums",
    _OTHER_LOAD,
)


def section(view: PageView) -> Section:
    """Assumptions of the bounds, limits, and what would make the numbers invalid."""
    blocks: list[Block] = []
    said = dict.fromkeys(text for trial in view.trials for text in trial.result.verdict.assumptions)
    if said:
        blocks.append(Bullets(title="Assumptions of the bounds", items=tuple(said)))
    blocks.append(Bullets(title="Limits", items=(*_LIMITS, *_visible(view))))
    blocks.append(Bullets(title="What would make the numbers invalid", items=_INVALID))
    found = tuple(f"{t.name}: {reason}" for t in view.trials for reason in t.result.reasons)
    if found:
        blocks.append(Bullets(title="Of these, found in this run", items=found, tone=Tone.BAD))
    return Section(anchor="assumptions", title="Assumptions and limits", blocks=tuple(blocks))


def _visible(view: PageView) -> list[str]:
    """The longest period that each trial could have seen."""
    seen = [
        f"{format_span(periods.longest_visible_ns)} ({trial.name})"
        for trial in view.ordered
        if (periods := trial.result.analysis.periods)
    ]
    if not seen:
        return []
    listed = ", ".join(seen)
    return [f"A disturber of a longer period than this may have acted once, or never: {listed}."]
