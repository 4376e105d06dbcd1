"""A trace in polars: python examples/trace_with_polars.py build/demo/trace.parquet"""

import sys

import polars as pl

path = sys.argv[1] if len(sys.argv) > 1 else "build/demo/trace.parquet"

# Lazily: only the row groups and columns that the query needs are read.
trace = pl.scan_parquet(path)

print("events by step and kind")
events = trace.group_by("step", "kind").len().sort("step", "kind").collect()
print(events)

print("\nmean energy at the end, by plane (0 z0, 1 zdepth)")
ends = trace.filter((pl.col("kind") == "terminate") & (pl.col("plane") >= 0))
print(ends.group_by("plane").agg(pl.col("energy").mean(), pl.len()).sort("plane").collect())

print("\none sample")
one = trace.filter(pl.col("sample") == 3).collect()
print(f"{one.height:,} records of {one['flow'].n_unique():,} flows")
