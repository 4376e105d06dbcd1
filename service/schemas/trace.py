"""Schemas of traces: what to record, counts of records, and records."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, JsonValue, RootModel, WithJsonSchema

from energy_flow.choices import TraceKeep, TraceKind, names_of
from energy_flow.trace.records import COLUMNS
from service.schemas.bodies import AnswerBody, RequestBody
from service.schemas.json_schema import describe_record

MAX_INLINE: Final = 1_000_000
"""Most records of an answer."""


class RingFields(RequestBody):
    """Which records are kept."""

    capacity: Any = Field(
        None,
        description="records kept for each sample; 0 turns tracing off",
        json_schema_extra={"type": "integer", "minimum": 0},
    )
    keep: Any = Field(
        None,
        description="records that are kept when there is no more room",
        json_schema_extra={"enum": list(names_of(TraceKeep))},
    )
    kinds: Any = Field(
        None,
        description="kinds that are recorded; all kinds are counted",
        json_schema_extra={"type": "array", "items": {"enum": list(names_of(TraceKind))}},
    )

    def options(self) -> dict[str, Any]:
        """Return the members that belong to the config, which checks their values."""
        return {name: getattr(self, name) for name in self.model_fields_set - {"inline"}}


class TraceFields(RingFields):
    """Which records are kept, and how many of them the answer has."""

    inline: int = Field(10_000, ge=0, le=MAX_INLINE, description="most records of the answer")


KindCounts = Annotated[
    dict[TraceKind, int], WithJsonSchema(describe_record(TraceKind, {"type": "integer"}))
]


class TraceCounts(AnswerBody):
    """Exact counts of a trace by kind."""

    totals: KindCounts = Field(description="events that happened")
    recorded: KindCounts = Field(description="records that were kept")
    dropped: KindCounts = Field(description="records that were lost")


class RunTrace(TraceCounts):
    """Exact counts of the trace of a run, and the URL of its records."""

    url: str


def _describe_column(name: str) -> dict[str, JsonValue]:
    """Return the schema of a number of a column; kinds are names."""
    column = COLUMNS[name]
    if name == "kind":
        return {"enum": [*names_of(TraceKind)], "description": column.meaning}
    number = "number" if column.dtype.kind == "f" else "integer"
    return {"type": number, "description": column.meaning}


class TraceRecord(
    RootModel[
        Annotated[
            dict[str, Any],
            WithJsonSchema(
                {
                    "type": "object",
                    "properties": {name: _describe_column(name) for name in COLUMNS},
                    "required": list(COLUMNS),
                }
            ),
        ]
    ]
):
    """One record of a trace."""


class TraceColumns(
    RootModel[
        Annotated[
            dict[str, list[Any]],
            WithJsonSchema(
                {
                    "type": "object",
                    "properties": {
                        name: {"type": "array", "items": _describe_column(name)} for name in COLUMNS
                    },
                    "required": list(COLUMNS),
                }
            ),
        ]
    ]
):
    """Records of a trace as columns of equal length, sorted by (sample, seq)."""


class StepRecords(AnswerBody):
    """How many records of a step there are, by kind."""

    step: int
    spawn: int
    reflect: int
    terminate: int


class TraceCountsAnswer(AnswerBody):
    """How many of the selected records there are, in all and by step and kind."""

    records: int
    steps: list[StepRecords] = Field(description="steps that have records, in order")


class TraceAnswer(TraceCounts):
    """Exact counts of a trace, and its first records."""

    records: TraceColumns
    inline_truncated: bool = Field(description="there are more records than these")
    url: str | None = Field(description="null if the run is not stored")
