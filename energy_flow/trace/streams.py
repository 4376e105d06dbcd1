"""Traces as streams of bytes that need no library of their own: NDJSON, CSV, Arrow IPC."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from energy_flow.trace.batches import SCHEMA, kind_codes, numbers, with_one_dictionary
from energy_flow.trace.records import COLUMN_DTYPES, KINDS

LINES = 8192
"""Records that become text at once."""


class Spool(io.RawIOBase):
    """Takes what a writer writes and gives it away in pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Takes all of it."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        """How much was written."""
        return self._position

    def take(self) -> bytes:
        """Everything written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def to_arrow(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Record batches as an Arrow IPC stream."""
    spool = Spool()
    with pa.ipc.new_stream(spool, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(with_one_dictionary(batch))
            yield spool.take()
    yield spool.take()


def to_csv(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Record batches as CSV with a line of names; floats as short as float32 allows."""
    spool: Any = Spool()
    plain = pa.schema(
        [pa.field(f.name, pa.string() if f.name == "kind" else f.type) for f in SCHEMA]
    )
    # Names and numbers hold neither commas nor quotes.
    spool.write(",".join(COLUMN_DTYPES).encode() + b"\n")
    options = csv.WriteOptions(include_header=False, batch_size=LINES, quoting_style="none")
    with csv.CSVWriter(spool, plain, write_options=options) as writer:
        for batch in batches:
            writer.write_batch(batch.cast(plain))
            yield spool.take()
    yield spool.take()


def to_ndjson(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Record batches as JSON objects, one a line; floats as short as float32 allows."""
    line = b"{" + b",".join(b'"%b":%%b' % name.encode() for name in COLUMN_DTYPES) + b"}\n"
    names = [b'"%b"' % name.encode() for name in KINDS]
    for batch in batches:
        for start in range(0, len(batch), LINES):
            part = batch.slice(start, LINES)
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
