"""Every trial in a row, and the paper's figures beside ours."""

from __future__ import annotations

from vmjitter.report.html.blocks import (
    NONE,
    Cell,
    Row,
    Section,
    Tone,
    number,
    paragraphs,
    row,
    table,
)
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.view import PageView, TrialView, exact, grouped
from vmjitter.report.result import paper_text
from vmjitter.stats.summary import upper_share


def section(view: PageView) -> Section:
    """The table and what is needed to read it."""
    paper = any(trial.result.status.paper_max_ns is not None for trial in view.trials)
    columns = ["trial", "wake-ups", "overruns", "min", "p50", "p99", "p99.9", "max"]
    columns += ["max in the paper", "ours / paper"] if paper else []
    columns += ["misses"] if view.deadline_ns is not None else []
    rows = [_row(trial, paper=paper, misses=view.deadline_ns is not None) for trial in view.trials]
    missing = [
        row(words(name), words("not measured", Tone.BAD), *[words("")] * (len(columns) - 2))
        for name in view.result.not_measured
    ]
    title = "The paper's table beside ours" if paper else "Results"
    return Section(
        anchor="results",
        title=title,
        blocks=(
            table("Latency: actual minus planned wake-up time", columns, [*rows, *missing]),
            paragraphs(*_legend(view, paper=paper)),
        ),
    )


def _row(trial: TrialView, *, paper: bool, misses: bool) -> Row:
    result, summary = trial.result, trial.result.summary
    struck = Tone.STRUCK if result.reasons else Tone.PLAIN
    cells = [
        words(_name(trial), Tone.BAD if result.reasons else Tone.PLAIN),
        number(grouped(summary.count), struck),
        number(
            grouped(summary.overruns), struck or (Tone.WARN if summary.overruns else Tone.PLAIN)
        ),
        *(
            number(exact(value), struck)
            for value in (summary.min_ns, summary.p50_ns, summary.p99_ns, summary.p999_ns)
        ),
        number(exact(summary.max_ns), struck or Tone.STRONG),
    ]
    if paper:
        cells += _paper(trial)
    if misses:
        found = summary.misses or 0
        cells.append(number(grouped(found), struck or (Tone.BAD if found else Tone.PLAIN)))
    return row(*cells)


def _name(trial: TrialView) -> str:
    if trial.result.reasons:
        return f"{trial.name}: INVALID"
    return f"{trial.name}: incomplete" if trial.result.incomplete else trial.name


def _paper(trial: TrialView) -> list[Cell]:
    value, ratio = trial.result.status.paper_max_ns, trial.result.ratio
    return [
        number(NONE if value is None else paper_text(value)),
        number(NONE if ratio is None else f"{ratio:.2g}"),
    ]


def _per_million(count: int) -> str:
    """The share of wake-ups that the maximum of so many does not cover."""
    share = 1e6 * upper_share(count)
    return grouped(round(share)) if share >= 100 else f"{share:.3g}"


def _legend(view: PageView, *, paper: bool) -> list[str]:
    counts = {trial.result.summary.count for trial in view.awake}
    legend = []
    if counts:
        shares = dict.fromkeys(_per_million(n) for n in (max(counts), min(counts)))
        legend.append(
            "The maximum is not a bound: at 95 % confidence it covers all but 3/N of the "
            f"wake-ups, here {' to '.join(shares)} per million."
        )
    if paper:
        legend.append(
            "Paper: Ibe, Settsu, Ochiai, “Realtime evaluation of a guest OS on virtualization "
            "software”, the worst delay that it reports. Another machine: compare the steps from "
            "row to row rather than the rows."
        )
    legend.append(
        f"{NONE}: no such value, or too few wake-ups to support this quantile. An overrun is an "
        "activation that had passed before the wake-up before it happened: it has no latency, and "
        "it misses every deadline."
    )
    if any(trial.result.reasons for trial in view.trials):
        legend.append("Struck-out figures belong to an invalid trial and must not be used.")
    return legend
