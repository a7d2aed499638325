"""The page's sections in their order: what decides first, what proves it last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vmjitter.report.html.blocks import Section
from vmjitter.report.html.sections import (
    ablation,
    assumptions,
    causes,
    configuration,
    distribution,
    findings,
    loads,
    pair,
    paper,
    projection,
    quantiles,
    recompute,
    series,
    time,
    verdict,
    worst,
)
from vmjitter.report.html.view import PageView

SECTIONS: Final[tuple[Callable[[PageView], Section | None], ...]] = (
    verdict.section,
    ablation.section,
    paper.section,
    series.section,
    distribution.section,
    pair.section,
    quantiles.section,
    time.section,
    worst.section,
    causes.section,
    findings.section,
    projection.section,
    loads.section,
    configuration.section,
    assumptions.section,
    recompute.section,
)
"""Each gives its section, or None if the run has nothing for it."""


def sections_of(view: PageView) -> tuple[Section, ...]:
    """All sections that the run has something for."""
    return tuple(made for make in SECTIONS if (made := make(view)) is not None)
