"""Traces as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa
from pyarrow import csv

from energy_flow.trace.batches import SCHEMA
from energy_flow.trace.formats import StepCounters
from energy_flow.trace.records import COLUMN_DTYPES
from energy_flow.trace.spool import Spool

BATCH_LINES: Final = 8192
"""Records that become text at a time."""


def encode(batches: Iterable[pa.RecordBatch], _counters: StepCounters = tuple) -> Iterator[bytes]:
    """Yield a line of names, then a line for each record.

    Floats have as few digits as distinguish one float32 from another.
    """
    spool: Any = Spool()
    plain = pa.schema(
        [
            pa.field(field.name, pa.string() if field.name == "kind" else field.type)
            for field in SCHEMA
        ]
    )
    # Names and numbers hold neither commas nor quotes.
    spool.write(",".join(COLUMN_DTYPES).encode() + b"\n")
    options = csv.WriteOptions(include_header=False, batch_size=BATCH_LINES, quoting_style="none")
    with csv.CSVWriter(spool, plain, write_options=options) as writer:
        for batch in batches:
            writer.write_batch(batch.cast(plain))
            yield spool.take()
    yield spool.take()
