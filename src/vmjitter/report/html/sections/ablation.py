"""Which mitigation brings how much; only for a run that is an ablation."""

from __future__ import annotations

from vmjitter.report.ablation import AblationResult, CellResult, ablation
from vmjitter.report.html.blocks import (
    NONE,
    Cell,
    Figure,
    Row,
    Section,
    Table,
    Tone,
    number,
    paragraphs,
    row,
    table,
    text,
)
from vmjitter.report.html.charts.contributions import contributions_chart
from vmjitter.report.html.view import PageView
from vmjitter.stats.factorial import Ratio
from vmjitter.units import format_ns


def section(view: PageView) -> Section | None:
    """Combinations, contributions, and how mitigations act together."""
    found = ablation(view.result)
    if found is None:
        return None
    left = f"Left out, because not valid: {', '.join(found.left_out)}." if found.left_out else ""
    return Section(
        anchor="ablation",
        title="What each mitigation brings",
        blocks=(
            Figure(
                title="Contributions to the worst latency",
                svg=contributions_chart(_ratios(found)),
                caption="Averages over all pairs of combinations that differ in one mitigation; "
                f"lines: {found.worst.confidence_percent:g} % intervals over rounds; hollow where "
                "they hold 1. Interaction: 1 if both act independently, above 1 if one leaves less "
                "for the other, below 1 if they need each other.",
            ),
            _effects(found),
            _cells(found),
            paragraphs(left, tone=Tone.WARN),
        ),
    )


def _ratios(found: AblationResult) -> list[tuple[str, Ratio]]:
    rows = [(one.mitigation, one.average) for one in found.worst.effects]
    if found.worst.all_together is not None:
        rows.append(("all together", found.worst.all_together))
    pairs = found.worst.interactions
    return [*rows, *((f"{one.one} and {one.other} interact", one.ratio) for one in pairs)]


def _effects(found: AblationResult) -> Table:
    p999 = {one.mitigation: one.average for one in found.p999.effects}
    rows = [
        row(
            text(one.mitigation),
            *(_ratio(ratio) for ratio in (one.average, one.alone, one.last)),
            _ratio(p999.get(one.mitigation)),
        )
        for one in found.worst.effects
    ]
    return table(
        "Factors: below 1 is better; in bold if the interval excludes 1",
        ("mitigation", "max: average", "max: alone", "max: added last", "p99.9: average"),
        rows,
    )


def _cells(found: AblationResult) -> Table:
    ordered = sorted(found.cells, key=lambda cell: (len(cell.mitigations), -cell.max_ns))
    return table(
        "Medians over the trials of each combination, and extremes of their worst latencies",
        ("with", "trials", "p50", "p99.9", "max", "from", "to"),
        [_cell_row(cell) for cell in ordered],
    )


def _cell_row(cell: CellResult) -> Row:
    return row(
        text(", ".join(cell.mitigations) or "none of them"),
        number(str(cell.trials)),
        *(_time(value) for value in (cell.p50_ns, cell.p999_ns, cell.max_ns)),
        *(_time(value) for value in (cell.least_ns, cell.most_ns)),
    )


def _time(value_ns: float | None) -> Cell:
    return number(NONE if value_ns is None else format_ns(round(value_ns)))


def _ratio(ratio: Ratio | None) -> Cell:
    if ratio is None:
        return number(NONE, Tone.ASIDE)
    words = f"{ratio.estimate:.2g}"
    if ratio.low is not None and ratio.high is not None:
        words += f" [{ratio.low:.2g}, {ratio.high:.2g}]"
    return number(words, Tone.STRONG if ratio.shown else Tone.PLAIN)
