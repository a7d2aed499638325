"""CSV: one row per activation, or per bin of a result that has no order.

Comments begin with "#" and stand before the header, so that gnuplot skips them by itself and other
readers do when told so.  Rows are written as they are read, so a long trial needs no memory.
"""

from __future__ import annotations

from typing import BinaryIO, Final

import pyarrow as pa
from pyarrow import csv

from vmjitter.report.exporters.base import Exporter, Material
from vmjitter.report.exporters.rows import batches, schema_of
from vmjitter.report.exporters.words import comments

_QUOTED: Final = frozenset(',"#')
"""A name with one of these is quoted; "#" would make its rows comments."""


def _write(material: Material, stream: BinaryIO) -> None:
    result = material.result
    schema = schema_of(result)
    head = [*(f"# {line}" for line in comments(result)), ",".join(schema.names)]
    stream.write("".join(f"{line}\n" for line in head).encode())
    for trial in result.trials:
        # "needed" would quote every name, which gnuplot and awk do not expect.
        quoted = bool(_QUOTED & set(trial.scenario))
        options = csv.WriteOptions(
            include_header=False, quoting_style="needed" if quoted else "none"
        )
        for batch in batches(trial):
            sink = pa.BufferOutputStream()
            csv.write_csv(batch, sink, options)
            stream.write(sink.getvalue())


EXPORTER: Final = Exporter(
    name="csv",
    what="one row per activation, or per bin where only a histogram is known",
    suffix=".csv",
    write=_write,
)
