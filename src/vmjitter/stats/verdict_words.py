"""The verdict in words: one sentence each, with the numbers that decided and their denominator.

A limit is rounded away from what was seen, so that a sentence never claims more than the limit.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import Final

from vmjitter.model.judge import Target
from vmjitter.stats.episodes import gap_rule
from vmjitter.stats.evidence import Evidence
from vmjitter.units import NS_PER_S, format_ns, format_span

_UNITS: Final = (("d", 172_800, 86_400), ("h", 3600, 3600), ("min", 60, 60))
"""Unit, from how many seconds on it is used, and its seconds."""


def not_judged(found: Evidence) -> str:
    """There is no deadline."""
    return f"NOT JUDGED: no deadline was given; {_length(found)}, {_many(found.misses, 'overrun')}."


def rate_pass(found: Evidence, target: Target) -> str:
    """The allowed rate is held."""
    return f"PASS: {_at_most(found, target)}; {seen(found, target)}."


def rate_fail(found: Evidence, target: Target) -> str:
    """The allowed rate is exceeded."""
    hours = found.hours or 1.0
    rate = per_hour(at_least(found.expected_misses.lower / hours))
    return (
        f"FAIL: at least {rate} with {target.confidence_percent:g} % confidence, "
        f"{_allowed(target)}; {seen(found, target)}."
    )


def no_rate_fail(found: Evidence, target: Target) -> str:
    """Any miss fails."""
    return f"FAIL: {seen(found, target)}; none is allowed."


def no_rate_pass(found: Evidence, target: Target) -> str:
    """There was no miss: the rate that was shown."""
    hours = found.hours
    rate = f" and {per_hour(at_most(found.expected_misses.upper / hours))}" if hours else ""
    return (
        f"PASS: {seen(found, target)}; with {target.confidence_percent:g} % confidence "
        f"at most {per_million(found.share.upper)}{rate}."
    )


def too_short(found: Evidence, target: Target, further_ns: int) -> str:
    """More time would help."""
    more = "without a miss" if not found.misses else "without another miss"
    return (
        f"INCONCLUSIVE: too short to tell, {_at_most(found, target)}; {seen(found, target)}; "
        f"{span_needed(further_ns)} more {more} would be enough for a PASS."
    )


def inconclusive(found: Evidence, target: Target, against: tuple[str, ...]) -> str:
    """More time would not help."""
    reason = "; ".join(against)
    return f"INCONCLUSIVE: {reason}; {seen(found, target)}."


def order_reason(found: Evidence) -> str:
    """Why misses could not be grouped."""
    return (
        f"the order of the wake-ups is not known, so all {number(found.misses)} misses are taken "
        "as one episode, which gives the widest limits"
    )


def possible_reason(found: Evidence) -> str:
    """Why there may be more misses."""
    kind = "further wake-up" if found.misses else "wake-up"
    more = _many(found.possible - found.misses, kind)
    return f"{more} may be late, as far as the bins of the source tell"


def chance_reason() -> str:
    """Why an average above the allowed rate is no failure yet."""
    return "misses were seen more often than allowed, but so few episodes may be chance"


def seen(found: Evidence, target: Target) -> str:
    """What was seen, with its denominator."""
    deadline = format_ns(target.deadline_ns or 0)
    if not found.misses:
        return f"no miss of the deadline of {deadline} in {_length(found)}"
    groups = ""
    if found.episodes is not None and found.misses > 1:
        groups = f" in {_many(found.episodes, 'episode')},"
    misses = _many(found.misses, "miss", "misses")
    return f"{misses} of the deadline of {deadline},{groups} in {_length(found)}: {_share(found)}"


def assumptions(found: Evidence) -> tuple[str, ...]:
    """What the limits take for granted.

    After the prerequisites of statistical testing in IEC 61508-7, Annex D.2.
    """
    size = "sizes like those of the episodes that were seen" if found.possible else "one miss"
    text = f"""\
load, configuration and environment were as they will be in operation
deadline, allowed misses, confidence and length were fixed before the measurement; who measures on \
until it passes errs more often than stated
every activation is in the result, as a wake-up or as an overrun, and clock and schedule were \
sound, so that no miss went unnoticed
misses come in episodes ({gap_rule(found.period_ns)} are one) that do not depend on each other and \
come at a constant rate
episodes to come have {size}
limits of the share take each activation as independent; the verdict does not use them where \
episodes are known"""
    return tuple(text.splitlines())


def at_most(value: float) -> str:
    """An upper limit in three digits, rounded up."""
    return _rounded(value, ROUND_CEILING)


def at_least(value: float) -> str:
    """A lower limit in three digits, rounded down."""
    return _rounded(value, ROUND_FLOOR)


def number(value: int) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}".replace(",", " ")


def span_needed(value_ns: int) -> str:
    """A time that must not be cut short: three digits, rounded up, in the unit that fits."""
    for unit, least, seconds in _UNITS:
        if value_ns >= least * NS_PER_S:
            return f"{at_most(value_ns / (seconds * NS_PER_S))} {unit}"
    return f"{at_most(value_ns / NS_PER_S)} s"


def per_hour(rate: str) -> str:
    """A rate as it is read."""
    return f"{rate} {'miss' if rate == '1' else 'misses'} per hour"


def per_million(share: float) -> str:
    """An upper limit of the share of activations that miss; in percent where it is large."""
    if share >= 0.001:
        return f"{at_most(100 * share)} % of the activations missed"
    return f"{at_most(1e6 * share)} misses per million activations"


def _rounded(value: float, rounding: str) -> str:
    rounded = Context(prec=3, rounding=rounding).create_decimal(repr(value))
    return number(int(rounded)) if abs(rounded) >= 100 else f"{float(rounded):.3g}"


def _at_most(found: Evidence, target: Target) -> str:
    hours = found.hours or 1.0
    rate = per_hour(at_most(found.expected_misses.upper / hours))
    return f"at most {rate} with {target.confidence_percent:g} % confidence, {_allowed(target)}"


def _allowed(target: Target) -> str:
    rate = target.max_misses_per_hour
    return f"{rate:g} {'is' if rate == 1 else 'are'} allowed"


def _length(found: Evidence) -> str:
    time = f" ({format_span(found.duration_ns)})" if found.duration_ns else ""
    return f"{_many(found.activations, 'activation')}{time}"


def _share(found: Evidence) -> str:
    """The share that missed, as it is read best."""
    if found.misses * 50 > found.activations:
        return f"{100 * found.misses / found.activations:.3g} %"
    return f"1 in {number(found.activations // found.misses)}"


def _many(count: int, one: str, many: str = "") -> str:
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
