"""JSON files: rows line by line, one document, or answers of an embeddings API."""

from __future__ import annotations

import codecs
from typing import Final

from service.datasets.formats.answer_entries import begins_answer
from service.datasets.formats.answers import AnswersReader
from service.datasets.formats.json_document import JsonDocumentReader, begins_document
from service.datasets.formats.jsonl import JsonLinesReader
from service.datasets.formats.rows import Rows

MAX_START_BYTES: Final = 2**20
"""Bytes in which an answer or a document shows that it is one."""

Reader = JsonLinesReader | JsonDocumentReader | AnswersReader


class JsonReader:
    """A reader that finds out from the beginning of a file what it holds.

    Args:
        rows: Receives the rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._start = b""
        self._reader: Reader | None = None

    @property
    def pending_bytes(self) -> int:
        """Bytes of a line or an entry that is not complete."""
        return len(self._start) if self._reader is None else self._reader.pending_bytes

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        if self._reader is not None:
            self._reader.feed(piece)
            return
        self._start += piece
        text = self._start.removeprefix(codecs.BOM_UTF8)
        is_answer = begins_answer(text)
        is_document = begins_document(text, self._rows.selection)
        if is_answer:
            self._begin(AnswersReader(self._rows))
        elif is_document:
            self._begin(JsonDocumentReader(self._rows))
        elif (is_answer is False and is_document is False) or len(self._start) > MAX_START_BYTES:
            self._begin(JsonLinesReader(self._rows))

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`."""
        reader = self._reader or self._begin(JsonLinesReader(self._rows))
        reader.finish()

    def _begin(self, reader: Reader) -> Reader:
        self._reader = reader
        start, self._start = self._start, b""
        reader.feed(start)
        return reader
