"""Schemas of refusals."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from service.schemas.bodies import AnswerBody


class FaultView(AnswerBody):
    """One fault of a request."""

    loc: list[str | int]
    msg: str
    got: Any


class ProblemView(AnswerBody):
    """Why a request is refused or a run has failed (RFC 9457).

    Some refusals have further members, such as ``limit_bytes``.
    """

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    errors: list[FaultView]
    more_errors: int | None = Field(None, description="further faults that errors does not have")
