"""How the maximum grew with the number of activations: has it settled?"""

from __future__ import annotations

from markupsafe import Markup

from vmjitter.report.html.svg import (
    Picture,
    across,
    log_time_labels,
    power_label,
    stairs,
    ticks,
    upwards,
)
from vmjitter.report.html.view import TrialView, exact, grouped, setting


def running_max_chart(trials: tuple[TrialView, ...], deadline_ns: int | None) -> Markup:
    """Draw the running maximum of all trials that have a series."""
    picture = Picture()
    longest = max(10, *(trial.digest.activations for trial in trials))
    worst = [trial.result.summary.max_ns or 1 for trial in trials]
    first = [int(trial.digest.record_ns[0]) for trial in trials]
    low = max(100, min(first)) * 0.8
    x, y = across(1, longest, log=True), upwards(low, max([*worst, 10 * low]) * 1.3, log=True)
    picture.axis_y(y, log_time_labels(y), "latest wake-up so far, logarithmic")
    picture.axis_x(x, [(v, power_label(v)) for v in ticks(x, 7)], "activations, logarithmic")
    for trial in trials:
        digest = trial.digest
        steps = stairs(x(digest.record_index + 1), y(digest.record_ns), x.at(digest.activations))
        picture.path(steps, f"curve {trial.look}")
    if deadline_ns is not None:
        picture.limit_y(y, deadline_ns, f"deadline {setting(deadline_ns)}")
    return picture.render("Running maximum. " + "; ".join(_words(trial) for trial in trials))


def _words(trial: TrialView) -> str:
    digest = trial.digest
    return (
        f"{trial.name}: {exact(trial.result.summary.max_ns)} was reached at activation "
        f"{grouped(int(digest.record_index[-1]))} of {grouped(digest.activations)}"
    )
