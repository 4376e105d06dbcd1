"""``TraceQuery``: the query parameters of a trace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final

from fastapi import Depends, Query
from pydantic import WithJsonSchema

from energy_flow.choices import TraceFormat, must_be_one_of
from energy_flow.errors import Fault
from energy_flow.trace.reader import TraceFilter
from energy_flow.trace.records import KINDS
from service.api.content_negotiation import format_parameter
from service.api.pagination import decode_cursor
from service.problems import invalid
from service.requests.digits import parse_digits

MAX_RECORDS: Final = 1_000_000
"""Largest limit of records."""

MEDIA_TYPES: Final = {known.value: known.media_type for known in TraceFormat}
"""Media types of traces by format; the first is the default."""

_MANY = "repeatable, or several separated by commas"
_KIND = f"({'|'.join(KINDS)})"
_Kinds = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{_KIND}(,{_KIND})*$"})]
_Numbers = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,18}(,[0-9]{1,18})*$"})
]


@dataclass(frozen=True, slots=True)
class TraceSelection:
    """Which records of a trace are meant."""

    kind: Annotated[list[_Kinds] | None, Query(description=f"{', '.join(KINDS)}; {_MANY}")] = None
    sample: Annotated[list[_Numbers] | None, Query(description=_MANY)] = None
    flow: Annotated[list[_Numbers] | None, Query(description=_MANY)] = None
    step_from: Annotated[int | None, Query(description="first step")] = None
    step_to: Annotated[int | None, Query(description="last step")] = None

    def make_filter(self) -> TraceFilter:
        """Return the filter that selects the records.

        Raises:
            Problem: 422, with every fault of a parameter.
        """
        return TraceFilter(
            kinds=_parse_kinds(self.kind),
            samples=_parse_numbers("sample", self.sample),
            flows=_parse_numbers("flow", self.flow),
            step_from=self.step_from,
            step_to=self.step_to,
        )


@dataclass(frozen=True, slots=True)
class TraceQuery(TraceSelection):
    """The format of a trace and the records that it is to have."""

    trace_format: Annotated[str | None, format_parameter(MEDIA_TYPES)] = None
    limit: Annotated[int | None, Query(ge=1, le=MAX_RECORDS, description="most records")] = None
    cursor: Annotated[
        str | None, Query(description="Next-Cursor of an answer: the records after that answer")
    ] = None

    def make_filter(self) -> TraceFilter:
        """Return the filter that selects the records, without their limit.

        Raises:
            Problem: 422, with every fault of a parameter.
        """
        after = None if self.cursor is None else decode_cursor(self.cursor, 2)
        return replace(
            TraceSelection.make_filter(self), after=None if after is None else (after[0], after[1])
        )


TraceSelectionDep = Annotated[TraceSelection, Depends()]
TraceQueryDep = Annotated[TraceQuery, Depends()]


def _split(values: list[str]) -> list[str]:
    return [entry.strip() for value in values for entry in value.split(",")]


def _parse_kinds(values: list[str] | None) -> frozenset[str] | None:
    if values is None:
        return None
    names = _split(values)
    faults = [
        Fault(("kind",), must_be_one_of(name, KINDS), name) for name in names if name not in KINDS
    ]
    if faults:
        raise invalid(faults)
    return frozenset(names)


def _parse_numbers(name: str, values: list[str] | None) -> frozenset[int] | None:
    if values is None:
        return None
    entries = _split(values)
    numbers = [parse_digits(entry) for entry in entries]
    faults = [
        Fault((name,), "must be an integer from 0", entry)
        for entry, number in zip(entries, numbers, strict=True)
        if number is None
    ]
    if faults:
        raise invalid(faults)
    return frozenset(number for number in numbers if number is not None)
