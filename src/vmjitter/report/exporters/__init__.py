"""Our results in other tools' formats: one file per format."""

from __future__ import annotations

from typing import Final

from vmjitter.report.exporters import (
    csv_rows,
    cyclictest_histogram,
    cyclictest_json,
    hdr,
    junit,
    markdown,
    parquet,
)
from vmjitter.report.exporters.base import Exporter, Material

__all__ = ["EXPORTERS", "Exporter", "Material"]

EXPORTERS: Final = {
    exporter.name: exporter
    for exporter in (
        cyclictest_json.EXPORTER,
        cyclictest_histogram.EXPORTER,
        hdr.EXPORTER,
        csv_rows.EXPORTER,
        parquet.EXPORTER,
        junit.EXPORTER,
        markdown.EXPORTER,
    )
}
"""Every format by its name."""
