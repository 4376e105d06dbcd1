"""Filters of lists, and requests to delete several runs or experiments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from energy_flow.choices import ExperimentKind, RunKind, RunState
from service.schemas.bodies import AnswerBody, RequestBody
from service.schemas.problem import ProblemView

MAX_SEARCH_CHARACTERS: Final = 200
MAX_DELETED: Final = 1000
"""Most runs or experiments that one request deletes."""


def parse_instant(text: str) -> float:
    """Return a time of ISO 8601 in seconds since the epoch; without an offset it is UTC.

    Raises:
        ValueError: It is no such time.
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("must be a time of ISO 8601, such as 2026-05-04T10:30:00Z") from None


def _check_instant(text: str) -> str:
    parse_instant(text)
    return text


Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time of ISO 8601, which is parsed later."""
_CheckedInstant = Annotated[
    str, AfterValidator(_check_instant), WithJsonSchema({"type": "string", "format": "date-time"})
]


class ListFilterFields(RequestBody):
    """A filter, with the parameters of the list."""

    search: str | None = Field(None, max_length=MAX_SEARCH_CHARACTERS)
    tag: list[str] | None = None
    state: Annotated[RunState, Field(strict=False)] | None = None
    model: str | None = None
    options: dict[str, Any] | None = None
    created_after: _CheckedInstant | None = None
    created_before: _CheckedInstant | None = None


class RunFilterFields(ListFilterFields):
    """A filter of runs."""

    kind: list[Annotated[RunKind, Field(strict=False)]] | None = None
    experiment: str | None = Field(None, description="id or name")


class ExperimentFilterFields(ListFilterFields):
    """A filter of experiments."""

    kind: Annotated[ExperimentKind, Field(strict=False)] | None = None


class DeletionFields(RequestBody):
    """What is deleted: either ``ids``, or ``filter`` with ``count``."""

    ids: list[str] | None = Field(None, min_length=1, max_length=MAX_DELETED)
    count: int | None = Field(
        None, ge=0, le=MAX_DELETED, description="how many the filter is expected to select"
    )


class RunDeletionFields(DeletionFields):
    """Runs to delete."""

    filter: RunFilterFields | None = None


class ExperimentDeletionFields(DeletionFields):
    """Experiments to delete."""

    filter: ExperimentFilterFields | None = None


class Kept(AnswerBody):
    """What was not deleted, and why."""

    id: str
    error: ProblemView


class DeletionAnswer(AnswerBody):
    """What was deleted, and what was not."""

    deleted: list[str]
    kept: list[Kept]
