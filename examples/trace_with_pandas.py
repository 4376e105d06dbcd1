"""A trace in pandas: python examples/trace_with_pandas.py build/demo/trace.parquet"""

import sys

import pandas as pd

REASONS = ["plane", "projected", "converged", "max_steps", "stalled"]

path = sys.argv[1] if len(sys.argv) > 1 else "build/demo/trace.parquet"
trace = pd.read_parquet(path)
print(f"{len(trace):,} records of {trace['sample'].nunique()} samples")

# A gap in seq is a loss: the ring was full.
counted = trace.groupby("sample")["seq"].agg(["count", "max"])
print(f"lost before the last record kept: {int((counted['max'] + 1 - counted['count']).sum()):,}")

ends = trace[trace["kind"] == "terminate"]
print("\nends by reason")
print(ends["code"].map(dict(enumerate(REASONS))).value_counts())

print("\nchildren of the most prolific flows")
births = trace[trace["kind"] == "spawn"]
print(births.groupby(["sample", "parent"]).size().nlargest(5))

print("\none sample, read without the others")
one = pd.read_parquet(path, filters=[("sample", "==", 3)])
print(f"{len(one):,} records, steps {one['step'].min()} to {one['step'].max()}")
