"""``TextFile``: the texts of a file, from which embeddings are made."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import orjson

from energy_flow.choices import TextFormat, unknown_name
from energy_flow.client.text_encoder import find_text_fault
from service.datasets.formats.csv_text import MAX_ROW_BYTES, find_delimiter
from service.datasets.formats.reader import GZIP

NAMES: Final = ("text", "texts", "sentence", "sentences", "definition", "content", "input")
"""Names of the columns of texts; none has priority."""

_ROWS_AT_ONCE: Final = 1024


class TextFileError(Exception):
    """A file of texts is refused; the message names the place and what is wrong."""


class TextFile:
    """The texts of a file, which are read one after the other.

    Args:
        path: the file; ``None`` for stdin.
        file_format: its format.
        column: name of the column, or of the member of an object, with the texts.

    Attributes:
        done: bytes or rows that have been read.
        total: bytes or rows of the file; ``None`` if that is not known.
    """

    def __init__(self, path: Path | None, file_format: TextFormat, column: str | None) -> None:
        self._path = path
        self._format = file_format
        self._column = column
        self.done = 0
        self.total: int | None = None

    def read(self) -> Iterator[str]:
        """Read the texts.

        Yields:
            The next text, which is not empty.

        Raises:
            TextFileError: the file has another format, no column of texts or several, or a text is
                empty or missing; it names the line or the row.
            OSError: the file cannot be read.
        """
        if self._format is TextFormat.PARQUET:
            yield from self._read_parquet()
            return
        read = {
            TextFormat.TEXT: self._read_lines,
            TextFormat.JSONL: self._read_objects,
            TextFormat.CSV: self._read_fields,
        }[self._format]
        with ExitStack() as stack:
            file: Any = sys.stdin.buffer
            if self._path is not None:
                self.total = self._path.stat().st_size
                file = stack.enter_context(self._path.open("rb"))
            try:
                for text in read(_open_text(file, stack)):
                    if self._path is not None:
                        self.done = file.tell()
                    yield text
            except UnicodeDecodeError as error:
                raise TextFileError(f"the file is not text in UTF-8: {error.reason}") from None
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise TextFileError(f"the file is damaged: {error}") from None

    def _read_lines(self, file: IO[str]) -> Iterator[str]:
        if self._column is not None:
            raise TextFileError("lines of text have no columns; leave --column out")
        empty: int | None = None
        for number, line in enumerate(file, 1):
            text = line.removesuffix("\n")
            if not text.strip():
                empty = empty or number
                continue
            if empty is not None:
                # Each line is a row, so that none can be left out. Some may be at the end.
                raise TextFileError(f"line {empty} is empty; remove it")
            yield _check(text, f"line {number}")

    def _read_objects(self, file: IO[str]) -> Iterator[str]:
        name: str | None = None
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"line {number}"
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise TextFileError(f"{where} is not JSON: {error}") from None
            if isinstance(value, dict):
                if name is None:
                    are_texts = {key: isinstance(held, str) for key, held in value.items()}
                    name = self._choose(are_texts)
                if name not in value:
                    raise TextFileError(f"{where} has no member {name}")
                yield _check(value[name], f"{name} in {where}")
            elif self._column is not None or not isinstance(value, str):
                allowed = "an object" if self._column is not None else "an object or a string"
                raise TextFileError(f"{where} must be {allowed}")
            else:
                yield _check(value, where)

    def _read_fields(self, file: IO[str]) -> Iterator[str]:
        csv.field_size_limit(MAX_ROW_BYTES)
        first = file.readline()
        delimiter = find_delimiter(first.encode()).decode()
        rows = csv.reader(chain((first,), file), delimiter=delimiter, strict=True)
        names: list[str] | None = None
        index: int | None = None
        try:
            for fields in rows:
                where = f"line {rows.line_num}"
                if not any(field.strip() for field in fields):
                    continue
                if names is None:
                    names = [field.strip() for field in fields]
                    continue
                if len(fields) != len(names):
                    raise TextFileError(
                        f"{where} has {len(fields):,} fields, and the first line has "
                        f"{len(names):,}; put texts in quotes"
                    )
                if index is None:
                    are_texts = {
                        name: not _is_number(field)
                        for name, field in zip(names, fields, strict=True)
                    }
                    index = names.index(self._choose(are_texts))
                yield _check(fields[index], f"{names[index]} in {where}")
        except csv.Error as error:
            message = f"line {rows.line_num} is no row of a .csv file: {error}"
            raise TextFileError(message) from None

    def _read_parquet(self) -> Iterator[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._path is None:
            raise TextFileError("a .parquet file cannot be read from stdin; give its path")
        try:
            with pq.ParquetFile(self._path) as file:
                self.total = file.metadata.num_rows
                are_texts = {
                    field.name: pa.types.is_string(field.type)
                    or pa.types.is_large_string(field.type)
                    for field in file.schema_arrow
                }
                name = self._choose(are_texts)
                if not are_texts[name]:
                    kind = file.schema_arrow.field(name).type
                    raise TextFileError(f"{name} must be a column of texts, not {kind}")
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[name]):
                    for text in batch.column(0).to_pylist():
                        yield _check(text, f"{name} in row {self.done}")
                        self.done += 1
        except pa.ArrowInvalid as error:
            raise TextFileError(f"it is no .parquet file, or a damaged one: {error}") from None

    def _choose(self, are_texts: dict[str, bool]) -> str:
        """Choose a column.

        Args:
            are_texts: for each column, whether it holds texts.
        """
        names = list(are_texts)
        if self._column is not None:
            if self._column not in are_texts:
                known = unknown_name(self._column, names)
                raise TextFileError(f"the file has no column {self._column}; {known}")
            return self._column
        texts = [name for name in names if are_texts[name]]
        found = [name for name in texts if name in NAMES] or texts
        if len(found) == 1:
            return found[0]
        if found:
            several = f"{', '.join(found[:-1])} and {found[-1]}"
            raise TextFileError(f"{several} are columns of texts; choose one with --column")
        raise TextFileError(f"no column has texts; there are {', '.join(names) or 'no columns'}")


def _open_text(file: Any, stack: ExitStack) -> IO[str]:
    is_compressed = file.peek(len(GZIP)).startswith(GZIP)
    binary = stack.enter_context(gzip.GzipFile(fileobj=file)) if is_compressed else file
    text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline=None)
    # The file below is closed by its owner.
    stack.callback(text.detach)
    return text


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _check(text: Any, where: str) -> str:
    reason = find_text_fault(text)
    if reason is not None:
        raise TextFileError(f"{where} {reason}")
    return str(text)
