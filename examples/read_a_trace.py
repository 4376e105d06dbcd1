"""Reads a trace with pandas: python examples/read_a_trace.py build/demo/trace.parquet"""

import sys

import pandas as pd

REASONS = ["plane", "projected", "converged", "max_steps", "stalled"]

path = sys.argv[1] if len(sys.argv) > 1 else "build/demo/trace.parquet"
trace = pd.read_parquet(path)
print(f"{len(trace):,} records of {trace['sample'].nunique()} samples")

print("\nrecords by step and kind")
print(trace.pivot_table(index="step", columns="kind", values="seq", aggfunc="count", fill_value=0))

ends = trace[trace["kind"] == "terminate"]
print("\nends by reason and plane (-1: not tallied)")
print(pd.crosstab(ends["code"].map(dict(enumerate(REASONS))), ends["plane"]))

print("\nmean energy at the end, by plane")
print(ends.groupby("plane")["energy"].mean())
