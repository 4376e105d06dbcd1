"""``Trace``: the records of a run as columns on the host, with exact counters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import unknown_name
from energy_flow.trace.records import COLUMN_DTYPES, KINDS, Columns

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class TraceCounters:
    """Records of each sample by kind, int64 [B, 3] in the order of ``KINDS``.

    Attributes:
        total: events that happened, recorded or not.
        recorded: records that the ring holds.
        dropped: records that were overwritten or not written. A kind that is switched off is
            neither recorded nor dropped.
    """

    total: NDArray[np.int64]
    recorded: NDArray[np.int64]
    dropped: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    """Records sorted by (sample, seq).

    Attributes:
        columns: one array a column of ``COLUMN_DTYPES``, all of the same length.
        counters: exact, whatever was dropped.
    """

    columns: Columns
    counters: TraceCounters

    def __len__(self) -> int:
        return len(self.columns["seq"])

    @property
    def totals(self) -> dict[str, int]:
        """Return events by kind, recorded or not."""
        return _by_kind(self.counters.total)

    @property
    def recorded(self) -> dict[str, int]:
        """Return the records of this trace by kind."""
        return _by_kind(self.counters.recorded)

    @property
    def dropped(self) -> dict[str, int]:
        """Return the records that the rings lost, by kind."""
        return _by_kind(self.counters.dropped)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the columns."""
        return sum(column.nbytes for column in self.columns.values())

    def select(
        self,
        kind: str | Iterable[str] | None = None,
        sample: int | None = None,
        flow: int | None = None,
        step_from: int | None = None,
        step_to: int | None = None,
    ) -> Self:
        """Return the records that match all conditions.

        Args:
            kind: one kind, or several.
            sample: row in the request.
            flow: id within the sample.
            step_from: first step.
            step_to: last step.

        Raises:
            ValueError: there is no such kind.
        """
        keep = np.ones(len(self), dtype=bool)
        if kind is not None:
            names = [kind] if isinstance(kind, str) else list(kind)
            unknown = [name for name in names if name not in KINDS]
            if unknown:
                raise ValueError(f"no such kind: {unknown[0]!r}; {unknown_name(unknown[0], KINDS)}")
            keep &= np.isin(self.columns["kind"], [KINDS.index(name) for name in names])
        for name, wanted in (("sample", sample), ("flow", flow)):
            if wanted is not None:
                keep &= self.columns[name] == wanted
        if step_from is not None:
            keep &= self.columns["step"] >= step_from
        if step_to is not None:
            keep &= self.columns["step"] <= step_to
        columns = {name: column[keep] for name, column in self.columns.items()}
        return type(self)(columns, self.counters)

    def to_pandas(self) -> pd.DataFrame:
        """Return the records as a data frame, with ``kind`` as a category of names.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd

        frame = pd.DataFrame(dict(self.columns))
        codes = self.columns["kind"].astype(np.int8)
        frame["kind"] = pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(KINDS)))
        return frame

    @classmethod
    def concatenate(cls, traces: Sequence[Self]) -> Self:
        """Return the traces of consecutive parts of a run as one."""
        columns = {
            name: np.concatenate(
                [np.zeros(0, dtype), *(trace.columns[name] for trace in traces)], dtype=dtype
            )
            for name, dtype in COLUMN_DTYPES.items()
        }
        none = np.zeros((0, len(KINDS)), dtype=np.int64)
        counters = TraceCounters(
            *(
                np.concatenate([none, *(getattr(trace.counters, name) for trace in traces)])
                for name in ("total", "recorded", "dropped")
            )
        )
        return cls(columns, counters)


def _by_kind(counts: NDArray[np.int64]) -> dict[str, int]:
    """Return the counts of all samples by kind, from int64 [B, 3]."""
    return dict(zip(KINDS, counts.sum(0).tolist(), strict=True))
