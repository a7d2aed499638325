"""Other tools' results: one file per format.

`IMPORTERS` are tried in their order, so a format that looks like another one stands before it.
"""

from __future__ import annotations

from typing import Final

from vmjitter.report.importers import (
    csv_plain,
    cyclictest_histogram,
    cyclictest_json,
    cyclictest_lines,
    jitterdebugger_json,
    jitterdebugger_raw,
    oslat,
    rteval,
    rtla_hist,
    rtla_top,
    vmjitter_raw,
    xenomai_latency,
)
from vmjitter.report.importers.base import Importer

IMPORTERS: Final[tuple[Importer, ...]] = (
    vmjitter_raw.IMPORTER,
    oslat.IMPORTER,
    cyclictest_json.IMPORTER,
    jitterdebugger_json.IMPORTER,
    rteval.IMPORTER,
    rtla_hist.IMPORTER,
    rtla_top.IMPORTER,
    cyclictest_histogram.IMPORTER,
    cyclictest_lines.IMPORTER,
    xenomai_latency.IMPORTER,
    csv_plain.IMPORTER,
    jitterdebugger_raw.IMPORTER,
)
