"""Schemas of datasets."""

from __future__ import annotations

from pydantic import Field

from service.schemas.bodies import AnswerBody, Timestamp


class DatasetReference(AnswerBody):
    """The rows of a dataset that a run or an experiment uses."""

    name: str
    digest: str
    rows: list[int] = Field(
        min_length=2, max_length=2, description="first row and the row behind the last one"
    )


class DatasetView(AnswerBody):
    """A dataset as a resource."""

    name: str
    digest: str = Field(description="SHA-256 of its .safetensors file")
    rows: int
    dim: int
    targets_dim: int | None
    bytes: int
    created_at: Timestamp
    url: str


class DatasetPage(AnswerBody):
    """A page of datasets, newest first."""

    items: list[DatasetView]
    next_cursor: str | None
