"""Traces as Arrow IPC streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from energy_flow.trace.batches import SCHEMA, reorder_dictionary
from energy_flow.trace.formats import StepCounters
from energy_flow.trace.spool import Spool


def encode(batches: Iterable[pa.RecordBatch], _counters: StepCounters = tuple) -> Iterator[bytes]:
    """Yield the bytes of an Arrow IPC stream."""
    spool = Spool()
    with pa.ipc.new_stream(spool, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(reorder_dictionary(batch))
            yield spool.take()
    yield spool.take()
