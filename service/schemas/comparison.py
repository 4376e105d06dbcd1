"""Schemas of comparisons of two runs."""

from __future__ import annotations

from typing import Any

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
    metrics: dict[str, ComparedMetric]
    samples: list[ComparedSample]
