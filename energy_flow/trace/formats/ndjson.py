"""Traces as JSON objects, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from energy_flow.trace.batches import kind_codes, numbers
from energy_flow.trace.formats import StepCounters
from energy_flow.trace.records import COLUMN_DTYPES, KINDS

BATCH_LINES: Final = 8192
"""Records that become text at a time."""


def encode(batches: Iterable[pa.RecordBatch], _counters: StepCounters = tuple) -> Iterator[bytes]:
    """Yield a JSON object for each record, with the columns as members.

    Floats have as few digits as distinguish one float32 from another.
    """
    line = b"{" + b",".join(b'"%b":%%b' % name.encode() for name in COLUMN_DTYPES) + b"}\n"
    names = [b'"%b"' % name.encode() for name in KINDS]
    for batch in batches:
        for start in range(0, len(batch), BATCH_LINES):
            part = batch.slice(start, BATCH_LINES)
            texts = [
                [names[code] for code in kind_codes(part)]
                if name == "kind"
                else _texts(numbers(part, name))
                for name in COLUMN_DTYPES
            ]
            yield b"".join(line % row for row in zip(*texts, strict=True))


def _texts(values: NDArray[Any]) -> list[bytes]:
    dumped = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    return dumped[1:-1].split(b",") if len(values) else []
