"""What changed from before to after."""

from __future__ import annotations

from vmjitter.report.html.blocks import NONE, Figure, Row, Section, number, paragraphs, row, table
from vmjitter.report.html.blocks import text as words
from vmjitter.report.html.charts.shift import Shift, shift_chart, shifts
from vmjitter.report.html.view import PageView, exact


def section(view: PageView) -> Section | None:
    """Quantile shift of the run's pair, if it has one."""
    if view.pair is None:
        return None
    before, after = view.pair
    found = shifts(before, after)
    return Section(
        anchor="shift",
        title="Before and after: shift of the quantiles",
        blocks=(
            Figure(
                title=f"From {before.name} to {after.name}",
                svg=shift_chart(before, after),
                caption="Quantiles that both trials support.",
                legend=(
                    (f"before: {before.name}", f"hollow {before.look}"),
                    (f"after: {after.name}", f"dot {after.look}"),
                ),
            ),
            table(
                f"Quantiles before ({before.name}) and after ({after.name})",
                ("quantile", "before", "after", "difference", "after / before"),
                [_row(one) for one in found],
            ),
            paragraphs(
                "One trial before and one after show what happened, not that the change is the "
                "cause: trials differ from boot to boot. “vmjitter compare” tests interleaved "
                "trials."
            ),
        ),
    )


def _row(one: Shift) -> Row:
    ratio = f"{one.after_ns / one.before_ns:.3g}" if one.before_ns > 0 else NONE
    return row(
        words(one.label),
        number(exact(one.before_ns)),
        number(exact(one.after_ns)),
        number(
            f"{'+' if one.after_ns > one.before_ns else ''}{exact(one.after_ns - one.before_ns)}"
        ),
        number(ratio),
    )
