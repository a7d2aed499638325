"""One quantile query by DuckDB or Polars, timed: started by `benchmarks.judge_speed`.

A script of its own because it runs under the interpreter that has these two, with nothing else:

    python benchmarks/judge_speed_peers.py duckdb samples.parquet latency_ns 0.5 0.99

The quantiles are exact nearest-rank quantiles, as ours: DuckDB's ``quantile_disc``
(https://duckdb.org/docs/stable/sql/functions/aggregates) and Polars' ``quantile`` with
``interpolation="equiprobable"``
(https://docs.pola.rs/api/python/stable/reference/expressions/api/polars.Expr.quantile.html).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

THREADS = 1


def main(arguments: list[str]) -> int:
    """Run the query and print a JSON object; status 3 if the peer cannot be imported."""
    peer, file, column = arguments[:3]
    shares = [float(word) for word in arguments[3:]]
    os.environ["POLARS_MAX_THREADS"] = str(THREADS)  # read when it is imported
    try:
        module = importlib.import_module(peer)
    except ImportError:
        return 3
    query = {"duckdb": _duckdb, "polars": _polars}[peer]
    begin, cpu = time.perf_counter(), time.process_time()
    values, highest = query(module, file, column, shares)
    print(
        json.dumps(
            {
                "wall_s": time.perf_counter() - begin,
                "cpu_s": time.process_time() - cpu,
                "peak_mib": peak_mib(),
                "version": module.__version__,
                "values": [*values, highest],
            }
        )
    )
    return 0


def _duckdb(module: Any, file: str, column: str, shares: list[float]) -> Any:  # noqa: ANN401
    connection = module.connect(config={"threads": THREADS})
    text = f"select quantile_disc({column}, {shares}), max({column}) from read_parquet(?)"
    return connection.execute(text, [file]).fetchone()


def _polars(module: Any, file: str, column: str, shares: list[float]) -> Any:  # noqa: ANN401
    one = module.col(column)
    wanted = [one.quantile(q, "equiprobable").alias(str(q)) for q in shares]
    row = module.scan_parquet(file).select(*wanted, one.max().alias("max"))
    *values, highest = row.collect(engine="streaming").row(0)
    return [int(value) for value in values], highest


def peak_mib() -> float:
    """Most memory that this process had resident, file pages that it maps included.

    Not ``ru_maxrss``: that survives an exec, so it can be the parent's.
    """
    text = Path("/proc/self/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
