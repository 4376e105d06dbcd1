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


class PartSourceView(AnswerBody):
    """The columns that embeddings or targets were read from."""

    count: int
    first: str = Field(description="name of the first column")
    last: str = Field(description="name of the last column")
    unlike: list[str] = Field(description="up to three that are not numbered as all others are")


class FileSourceView(AnswerBody):
    """What was read of an uploaded file."""

    kind: str = Field(description="what the format calls a column: column, tensor or member")
    parts: dict[str, PartSourceView] = Field(description="inputs, and targets if there are some")
    left_out: list[str] = Field(description="names of the first columns that were not read")
    left_out_count: int = Field(description="how many columns were not read")


class StoredDatasetView(DatasetView):
    """A dataset that was uploaded."""

    source: FileSourceView | None = Field(
        description="what was read of the file; null for a file without columns, such as .npy"
    )


class DatasetPage(AnswerBody):
    """A page of datasets, newest first."""

    items: list[DatasetView]
    next_cursor: str | None
