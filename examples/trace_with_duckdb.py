"""A trace, read with DuckDB.

    python examples/demo.py
    python examples/trace_with_duckdb.py build/demo/trace.parquet

A trace has a record for each event of a flow: a birth (spawn), a reflection at a side wall
(reflect) or the end (terminate). docs/trace_format.md describes the columns.
"""

import sys

import duckdb

path = sys.argv[1] if len(sys.argv) > 1 else "build/demo/trace.parquet"
trace = duckdb.read_parquet(path)

print("events by kind")
print(duckdb.sql("select kind, count(*) as events from trace group by kind order by kind"))

# Children of initial flows are generation 1, their children generation 2, and so on.
print("number of flows in each generation, in the first three samples")
print(
    duckdb.sql(
        """
        with recursive births as (
            select sample, flow, parent from trace where kind = 'spawn' and sample < 3
        ), lineage as (
            select sample, flow, 1 as generation from births
            where parent not in (select flow from births as b where b.sample = births.sample)
            union all
            select births.sample, births.flow, generation + 1
            from births join lineage
            on births.sample = lineage.sample and births.parent = lineage.flow
        )
        select sample, generation, count(*) as flows from lineage
        group by sample, generation order by sample, generation
        """
    )
)

# Of a reflection, `code` is the sum of the walls that the flow met.
print("reflections by wall")
print(
    duckdb.sql(
        """
        select code & 1 > 0 as x_low, code & 2 > 0 as x_high, code & 4 > 0 as y_low,
               code & 8 > 0 as y_high, count(*) as events
        from trace where kind = 'reflect' group by all order by events desc
        """
    )
)
