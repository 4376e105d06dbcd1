"""Writers of traces: one format a module, found by its name in ``choices.TraceFormat``.

A module has a function ``encode`` that turns record batches into bytes, piece by piece, so that a
trace of any length passes through bounded memory. All formats give the columns of
``records.COLUMN_DTYPES`` in that order. ``kind`` is a name, in a dictionary column where the format
has such columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from energy_flow.choices import TraceFormat

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class StepCounter:
    """A number for each step of a run.

    Attributes:
        name: for people.
        unit: ``count`` or ``bytes``.
        values: by step; step -1 stands for the time before the first step.
    """

    name: str
    unit: str
    values: Mapping[int, int]


StepCounters = Callable[[], Sequence[StepCounter]]
"""Reads the counters of a run; formats that cannot show counters do not call it."""


class _Format(Protocol):
    def encode(
        self, batches: Iterable[pa.RecordBatch], counters: StepCounters, /
    ) -> Iterator[bytes]: ...


def encode_trace(
    trace_format: str, batches: Iterable[pa.RecordBatch], counters: StepCounters = tuple
) -> Iterator[bytes]:
    """Return the bytes of a trace as a file, piece by piece.

    Args:
        trace_format: a name of ``choices.TraceFormat``.
        batches: records sorted by (sample, seq).
        counters: what else a format may show.

    Raises:
        ValueError: there is no such format.
    """
    module = cast(_Format, import_module(f"{__name__}.{TraceFormat(trace_format).value}"))
    return module.encode(batches, counters)
