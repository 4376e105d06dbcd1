"""Names of the formats of files."""

from __future__ import annotations

from typing import Final, Self

from energy_flow.choices.choice import Choice


class FileFormat(Choice):
    """One way to write a file."""

    suffixes: tuple[str, ...]
    """Of file names, with the dot; the first is the usual one."""
    media_type: str
    """As HTTP names it; empty where HTTP has no name for it."""
    description: str
    """One line for people."""

    @classmethod
    def of_file(cls, name: str) -> Self | None:
        """Return the format that the suffix of a file's name stands for, if there is one.

        Args:
            name: of the file.
        """
        lower = name.lower()
        return next((one for one in cls if lower.endswith(one.suffixes)), None)

    @classmethod
    def require_of_file(cls, name: str) -> Self:
        """Return the format that the suffix of a file's name stands for.

        Args:
            name: of the file.

        Raises:
            ValueError: the suffix belongs to no format; the message lists those that do.
        """
        found = cls.of_file(name)
        if found is None:
            known = ", ".join(suffix for one in cls for suffix in one.suffixes)
            raise ValueError(
                f"the suffix of {name!r} belongs to no format; known are {known}; choose one, or "
                f"give the format: {', '.join(one.value for one in cls)}"
            )
        return found


PARQUET: Final = "application/vnd.apache.parquet"

NDJSON: Final = "application/x-ndjson"

TARGET_NAMES: Final = ("targets", "target")
"""Names that targets have beside embeddings, in files and data frames."""


class TraceFormat(FileFormat):
    """A format of traces."""

    # Each has a module in trace/formats.
    PARQUET = "parquet", (".parquet",), PARQUET, "the stored form"
    ARROW = (
        "arrow",
        (".arrows", ".arrow"),
        "application/vnd.apache.arrow.stream",
        "Arrow IPC stream",
    )
    NDJSON = "ndjson", (".ndjson", ".jsonl"), NDJSON, "an object a line, columns as members"
    CSV = "csv", (".csv",), "text/csv", "a line of names, then the records"
    PERFETTO = (
        "perfetto",
        (".perfetto-trace", ".pftrace"),
        "application/x-perfetto-trace",
        "for ui.perfetto.dev",
    )


COMPRESSED: Final = ".gz"
"""Suffix of a file that is compressed with gzip, behind the one of its format."""


class DatasetFormat(FileFormat):
    """A format of files of embeddings."""

    SAFETENSORS = "safetensors", (".safetensors",), "", "named tensors"
    NPY = "npy", (".npy",), "application/x-npy", "one array"
    PARQUET = "parquet", (".parquet",), PARQUET, "columns of lists"
    JSONL = (
        "jsonl",
        (".jsonl", ".ndjson", ".json"),
        NDJSON,
        "an object a line, or answers of an embeddings API",
    )
    ARROW = (
        "arrow",
        (".arrow", ".arrows", ".ipc", ".feather"),
        "application/vnd.apache.arrow.file",
        "columns of lists",
    )
    CSV = "csv", (".csv", ".tsv"), "text/csv", "a number a column, or a column of lists"

    @classmethod
    def of_file(cls, name: str) -> Self | None:
        """Return the format of a file, which can be compressed: ``rows.csv.gz``."""
        return super().of_file(name.lower().removesuffix(COMPRESSED))


class TextFormat(FileFormat):
    """A format of files of texts, from which embeddings are made."""

    TEXT = "text", (".txt",), "text/plain", "a text a line"
    JSONL = "jsonl", (".jsonl", ".ndjson"), NDJSON, "an object or a string a line"
    CSV = "csv", (".csv", ".tsv"), "text/csv", "a line of names, then the texts and other columns"
    PARQUET = "parquet", (".parquet",), PARQUET, "a column of texts"

    @classmethod
    def of_file(cls, name: str) -> Self | None:
        """Return the format of a file, which can be compressed, except Parquet."""
        return super().of_file(name.lower().removesuffix(COMPRESSED))


class ResultFormat(FileFormat):
    """A format of an experiment's results."""

    JSON = "json", (".json",), "application/json", "a JSON object with a list of rows"
    CSV = "csv", (".csv",), "text/csv", "a line of names, then the rows"
    PARQUET = "parquet", (".parquet",), PARQUET, "columns with types"


class PictureFormat(FileFormat):
    """A format of pictures."""

    PNG = "png", (".png",), "image/png", "an image of pixels"


class ResultRows(Choice):
    """What each row of an experiment's results stands for."""

    TRIALS = "trials"
    POINTS = "points"
