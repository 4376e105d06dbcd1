"""Trace records as NumPy columns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.choices import unknown_name
from energy_flow.client.displayed import Displayed
from energy_flow.client.errors import UnexpectedAnswer
from energy_flow.client.exchange import Reply
from energy_flow.trace.records import COLUMN_DTYPES, KINDS

if TYPE_CHECKING:
    import pandas as pd


class TruncatedTraceWarning(UserWarning):
    """A trace is only the part of the records that came with the answer."""


@dataclass(frozen=True, repr=False)
class TraceRecords:
    """Records of a trace, sorted by (sample, seq).

    Attributes:
        columns: arrays of one length by the names of ``energy_flow.trace.records.COLUMN_DTYPES``,
            with their dtypes. ``kind`` is the index of a name in :data:`KINDS`.
    """

    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.columns["seq"])

    def __getitem__(self, column: str) -> NDArray[Any]:
        if column not in self.columns:
            raise KeyError(f"there is no column {column!r}; {unknown_name(column, self.columns)}")
        return self.columns[column]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} records)"

    def to_pandas(self) -> pd.DataFrame:
        """Return the records as a data frame, ``kind`` as a categorical of names.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd

        frame = pd.DataFrame(dict(self.columns))
        frame["kind"] = pd.Categorical.from_codes(
            self.columns["kind"].astype(np.int64), categories=pd.Index(KINDS)
        )
        return frame


@dataclass(frozen=True, repr=False)
class Trace(TraceRecords):
    """The trace that came with the answer to a simulation.

    Attributes:
        totals: records of each kind that the run made; exact, also where records were not kept.
        recorded: records of each kind that were written to the rings.
        dropped: records of each kind that the rings had no room for.
        inline_truncated: whether the run kept more records than came with the answer.
        url: path of the whole trace on the server; ``None`` if the run was not stored.
    """

    totals: Mapping[str, int] = field(default_factory=dict)
    recorded: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    inline_truncated: bool = False
    url: str | None = None

    def __repr__(self) -> str:
        if not self.inline_truncated:
            return super().__repr__()
        return f"Trace({self._describe_part()})"

    def to_pandas(self) -> pd.DataFrame:
        """Return the records as a data frame, ``kind`` as a categorical of names.

        Warns:
            TruncatedTraceWarning: the run kept more records than came with the answer.

        Raises:
            ImportError: pandas is not installed.
        """
        if self.inline_truncated:
            warnings.warn(self._describe_part(), TruncatedTraceWarning, stacklevel=2)
        return super().to_pandas()

    def _describe_part(self) -> str:
        """Return how many records are missing, and how to get them."""
        kept = sum(self.recorded.values())
        whole = (
            "ask for more by trace={'inline': N}"
            if self.url is None
            else "client.trace(run_id) and client.download_trace(run_id, path) have all"
        )
        return f"{len(self):,} of {kept:,} records, cut at inline; {whole}"


@dataclass(frozen=True, slots=True)
class StepRecords:
    """How many records of a step there are, by kind."""

    step: int
    spawn: int
    reflect: int
    terminate: int


@dataclass(frozen=True, slots=True, repr=False)
class TraceCounts(Displayed):
    """How many records of a trace a filter selects.

    Attributes:
        records: of all steps and kinds.
        steps: those that have records, in order.
    """

    records: int
    steps: tuple[StepRecords, ...]

    def _facts(self) -> Mapping[str, object]:
        return {"records": self.records, "steps": len(self.steps)}


def columns_of(records: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return columns as arrays.

    Args:
        records: lists of JSON values, or arrays, by the name of the column; empty for no records.

    Raises:
        UnexpectedAnswer: a column is missing, has another length or holds values of another type.
    """
    missing = [name for name in COLUMN_DTYPES if name not in records]
    if missing and records:
        raise UnexpectedAnswer(f"the trace lacks the columns {', '.join(missing)}")
    try:
        columns = {
            name: np.asarray(
                _kind_codes(records.get(name, ())) if name == "kind" else records.get(name, ()),
                dtype=dtype,
            )
            for name, dtype in COLUMN_DTYPES.items()
        }
    except (TypeError, ValueError, OverflowError) as error:
        raise UnexpectedAnswer(f"the trace cannot be read: {error}") from None
    if len({len(column) for column in columns.values()}) > 1:
        raise UnexpectedAnswer("the columns of the trace differ in length")
    return columns


def read_ndjson(reply: Reply) -> TraceRecords:
    """Return the records in an answer with one JSON object a line.

    Raises:
        UnexpectedAnswer: a line is not a record.
    """
    try:
        rows = [orjson.loads(line) for line in reply.body.splitlines() if line]
        columns = {name: [row[name] for row in rows] for name in COLUMN_DTYPES}
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UnexpectedAnswer(f"a line of the trace is not a record: {error}") from None
    return TraceRecords(columns_of(columns))


def _kind_codes(kinds: Sequence[Any] | NDArray[Any]) -> Sequence[int] | NDArray[Any]:
    if isinstance(kinds, np.ndarray):
        return kinds
    return [KINDS.index(kind) if isinstance(kind, str) else int(kind) for kind in kinds]
