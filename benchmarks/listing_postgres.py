"""``listing_postgres``: ``listing`` with an index in a PostgreSQL that is started for it.

Measures, unit and baseline: as ``listing``.
"""

from __future__ import annotations

from benchmarks.listing import measure_lists
from benchmarks.options import Findings, Options
from benchmarks.postgres_cluster import postgres_cluster


def measure(options: Options) -> Findings:
    """Measure lists of an index in PostgreSQL.

    Args:
        options: how to measure.
    """
    with postgres_cluster() as cluster:
        cluster.execute("CREATE DATABASE lists")
        return measure_lists(options, cluster.url("lists"))
