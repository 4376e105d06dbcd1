"""A trace, read with pandas.

    python examples/demo.py
    python examples/trace_with_pandas.py build/demo/trace.parquet

A trace has a record for each event of a flow: a birth (spawn), a reflection at a side wall
(reflect) or the end (terminate). docs/trace_format.md describes the columns.
"""

import sys

import pandas as pd

from energy_flow.choices import Plane, Reason, names_of

path = sys.argv[1] if len(sys.argv) > 1 else "build/demo/trace.parquet"
trace = pd.read_parquet(path)
print(f"{len(trace):,} records of {trace['sample'].nunique()} samples")

# Records of a sample are numbered from 0. A missing number belongs to a record that was dropped,
# because the ring of the sample was full.
numbers = trace.groupby("sample")["seq"].agg(["count", "max"])
print(
    f"records dropped before the last one: {int((numbers['max'] + 1 - numbers['count']).sum()):,}"
)

print("\nrecords by step and kind")
print(trace.pivot_table(index="step", columns="kind", values="seq", aggfunc="count", fill_value=0))

# Of a termination, `code` is the reason and `plane` the exit plane, as places in these lists.
reasons, planes = dict(enumerate(names_of(Reason))), dict(enumerate(names_of(Plane)))
ends = trace[trace["kind"] == "terminate"]
print("\nends by reason and plane")
print(pd.crosstab(ends["code"].map(reasons), ends["plane"].map(planes).fillna("none")))

print("\nmean energy at the end, by plane")
print(ends.groupby(ends["plane"].map(planes))["energy"].mean())

# Of a birth, `flow` is the child and `parent` the flow that it comes from.
births = trace[trace["kind"] == "spawn"]
print("\nflows with the most children")
print(births.groupby(["sample", "parent"]).size().nlargest(5))

# Parquet keeps statistics of its row groups, so the other samples are not read.
one = pd.read_parquet(path, filters=[("sample", "==", 3)])
print("\none sample")
print(f"{len(one):,} records, steps {one['step'].min()} to {one['step'].max()}")
