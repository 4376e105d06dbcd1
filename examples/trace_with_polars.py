"""A trace, read with polars.

    python examples/demo.py
    python examples/trace_with_polars.py build/demo/trace.parquet

A trace has a record for each event of a flow: a birth (spawn), a reflection at a side wall
(reflect) or the end (terminate). docs/trace_format.md describes the columns.
"""

import sys

import polars as pl

path = sys.argv[1] if len(sys.argv) > 1 else "build/demo/trace.parquet"

# A lazy frame: only the row groups and columns that a query needs are read.
trace = pl.scan_parquet(path)

print("events by step and kind")
events = trace.group_by("step", "kind").len().sort("step", "kind").collect()
print(events)

# A plane below 0 stands for flows that ended without reaching or being moved to a plane.
print("\nmean energy at the end, by plane (0 z0, 1 zdepth)")
ends = trace.filter((pl.col("kind") == "terminate") & (pl.col("plane") >= 0))
print(ends.group_by("plane").agg(pl.col("energy").mean(), pl.len()).sort("plane").collect())

print("\none sample")
one = trace.filter(pl.col("sample") == 3).collect()
print(f"{one.height:,} records of {one['flow'].n_unique():,} flows")
