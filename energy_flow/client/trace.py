"""Trace records as numpy columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.client.errors import UnexpectedAnswer
from energy_flow.client.exchange import Reply

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("spawn", "reflect", "terminate")
"""Names of the kinds of record, in the order of their codes."""

COLUMN_DTYPES: Mapping[str, np.dtype[Any]] = {
    "seq": np.dtype(np.int64),
    "step": np.dtype(np.int32),
    "kind": np.dtype(np.uint8),
    "sample": np.dtype(np.int32),
    "flow": np.dtype(np.int64),
    "parent": np.dtype(np.int64),
    "code": np.dtype(np.uint8),
    "plane": np.dtype(np.int8),
    "x": np.dtype(np.float32),
    "y": np.dtype(np.float32),
    "z": np.dtype(np.float32),
    "energy": np.dtype(np.float32),
    "length": np.dtype(np.float32),
}
"""Columns of a trace, in order."""


@dataclass(frozen=True)
class TraceRecords:
    """Records of a trace, sorted by (sample, seq).

    Attributes:
        columns: one array a column, all of one length, with the dtypes of :data:`COLUMN_DTYPES`.
            ``kind`` is the index of its name in :data:`KINDS`.
    """

    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.columns["seq"])

    def __getitem__(self, column: str) -> NDArray[Any]:
        return self.columns[column]

    def to_pandas(self) -> pd.DataFrame:
        """The records as a data frame, ``kind`` as a categorical of names; needs pandas."""
        import pandas as pd

        frame = pd.DataFrame(dict(self.columns))
        frame["kind"] = pd.Categorical.from_codes(
            self.columns["kind"].astype(np.int64), categories=pd.Index(KINDS)
        )
        return frame


@dataclass(frozen=True)
class Trace(TraceRecords):
    """The trace that came with a simulation's answer.

    Attributes:
        totals: records of each kind that the run made; exact, whatever was kept.
        recorded: records that were written to the rings.
        dropped: records that the rings had no room for.
        inline_truncated: whether the run kept more records than came with the answer.
        url: path of the whole trace on the server, or ``None`` if the run was not stored.
    """

    totals: Mapping[str, int] = field(default_factory=dict)
    recorded: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    inline_truncated: bool = False
    url: str | None = None


def columns_of(records: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays from columns of JSON values, or columns that are arrays already.

    Raises:
        UnexpectedAnswer: a column is missing, or holds what it cannot hold.
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
        raise UnexpectedAnswer("the trace's columns differ in length")
    return columns


def records_from_ndjson(reply: Reply) -> TraceRecords:
    """The records in an answer with one JSON object a line.

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
