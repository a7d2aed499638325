"""The activation before was still late when this one was due."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmjitter.trace.rules.rule import Finding, Look, Rule, Side, needs


def _find(look: Look) -> Iterable[Finding]:
    window = look.window
    if window.previous_end > window.start:
        until = min(window.previous_end, window.end)
        yield Finding(window.start, until, f"of activation {window.activation - 1}")


RULE: Final = Rule(
    cause="overrun",
    title="overrun of the activation before",
    side=Side.PROBE,
    needs=needs(),
    find=_find,
    crosses=False,
    advice="look at the wake-up before it: that one was late first",
)
