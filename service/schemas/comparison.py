"""Schemas of comparisons of two runs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from service.schemas.bodies import AnswerBody
from service.schemas.trace import TraceRecord


class ComparedMetric(AnswerBody):
    """A metric of two runs; null in a run that does not have it."""

    a: Any
    b: Any


class ComparedRecords(AnswerBody):
    """The first record in which the traces of two runs differ."""

    seq: int
    a: TraceRecord | None
    b: TraceRecord | None


class ComparedSample(AnswerBody):
    """One sample of two runs."""

    sample: int
    surface_max_abs_difference: float | None
    surface_mean_abs_difference: float | None
    first_difference: ComparedRecords | None


class ComparisonAnswer(AnswerBody):
    """Two runs side by side."""

    a: str
    b: str
    note: str | None = Field(
        description="the arithmetics of both runs, if they are not the same; then differences can "
        "come from rounding alone"
    )
    metrics: dict[str, ComparedMetric]
    samples: list[ComparedSample]
