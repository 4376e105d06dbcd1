"""Files with answers of an embeddings API, in the form of OpenAI's ``/v1/embeddings``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.embedding_answers import DATA, EMBEDDING, INDEX, decode_base64
from energy_flow.errors import Fault
from service.datasets.formats.answer_entries import AnswerEnd, AnswerSplitter
from service.datasets.formats.rows import Rows, find_list_faults
from service.datasets.formats.text import TextStart
from service.problems import Problem, invalid
from service.requests.json_body import parse_in_pieces, parse_value
from service.requests.large_arrays import PIECE_BYTES, LargeArray

MAX_HELD_NUMBERS: Final = 2**23
"""Most numbers of entries that wait for one with a smaller index."""

_ARRAYS: Final = (
    LargeArray(
        EMBEDDING, lambda document: [document], (EMBEDDING,), has_rows=False, may_be_flat=True
    ),
)


class AnswersReader:
    """A reader of answers, one after the other. Their rows are in the order of ``index``.

    Args:
        rows: Receives the rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._text = TextStart()
        self._splitter = AnswerSplitter()
        self._width: int | None = None
        # Rows that are written together.
        self._batch: list[NDArray[Any]] = []
        self._batch_bytes = 0
        self._answer = 0
        self._begin_answer()

    @property
    def pending_bytes(self) -> int:
        """Bytes of an entry that is not complete, and of rows that wait for others."""
        held = sum(row.nbytes for row in self._held.values())
        return self._splitter.pending_bytes + held

    def feed(self, piece: bytes) -> None:
        """Read the next bytes, as :meth:`DatasetReader.feed`."""
        for part in self._splitter.feed(self._text.strip(piece)):
            if isinstance(part, AnswerEnd):
                self._end_answer()
            else:
                self._read_entry(part.text)
            if self._batch_bytes > PIECE_BYTES:
                self._write()
            if self._rows.is_complete:
                return
        self._write()

    def finish(self) -> None:
        """Check the end of the file, as :meth:`DatasetReader.finish`."""
        self.feed(self._text.finish())
        if not self._rows.is_complete:
            self._splitter.finish()

    def _begin_answer(self) -> None:
        self._entries = 0
        self._is_indexed = False
        self._next = 0
        self._held: dict[int, NDArray[Any]] = {}
        self._held_numbers = 0

    def _end_answer(self) -> None:
        if self._held:
            message = f"has no entry with the index {self._next}"
            raise invalid([Fault(self._where()[:-1], message, sorted(self._held)[:10])])
        self._answer += 1
        self._begin_answer()

    def _read_entry(self, text: bytes) -> None:
        try:
            entry = parse_in_pieces(text, _ARRAYS, parse_value)
        except Problem as problem:
            if problem.status == 422:
                raise self._refuse(problem.faults) from None
            raise
        index = self._find_index(entry)
        row = self._read_embedding(entry, index)
        self._entries += 1
        if index != self._next:
            self._hold(index, row)
            return
        self._add(row)
        while (row_held := self._held.pop(self._next, None)) is not None:
            self._held_numbers -= row_held.size
            self._add(row_held)

    def _find_index(self, entry: dict[str, Any]) -> int:
        if self._entries == 0:
            self._is_indexed = INDEX in entry
            column = self._rows.selection.column
            if column not in (None, EMBEDDING):
                message = f"is no member of an answer that can be read; it is {EMBEDDING}"
                raise self._refuse([Fault((column,), message, column)])
        if not self._is_indexed and INDEX not in entry:
            return self._entries
        index: Any = entry.get(INDEX)
        is_number = isinstance(index, int) and not isinstance(index, bool)
        if not self._is_indexed or not is_number or index < self._next or index in self._held:
            message = "must be the number of the input, and of one entry"
            raise self._refuse([Fault((INDEX,), message, index)])
        return int(index)

    def _read_embedding(self, entry: dict[str, Any], index: int) -> NDArray[Any]:
        row: Any = entry.get(EMBEDDING)
        if isinstance(row, str):
            try:
                row = decode_base64(row)
            except ValueError as error:
                raise self._refuse([Fault((EMBEDDING,), str(error), row)]) from None
        number = self._rows.count("inputs") + len(self._batch) + index - self._next
        faults = find_list_faults([row], EMBEDDING, number, self._width)
        if faults:
            raise invalid(faults)
        self._width = len(row)
        return np.asarray(row) if isinstance(row, np.ndarray) else np.array(row, dtype=np.float64)

    def _hold(self, index: int, row: NDArray[Any]) -> None:
        self._held[index] = row
        self._held_numbers += row.size
        if self._held_numbers > MAX_HELD_NUMBERS:
            message = (
                f"has more than {MAX_HELD_NUMBERS:,} numbers before the entry with the index "
                f"{self._next}; sort the entries by index"
            )
            raise Problem(413, f"an answer {message}")

    def _add(self, row: NDArray[Any]) -> None:
        self._batch.append(row)
        self._batch_bytes += row.nbytes
        self._next += 1

    def _write(self) -> None:
        if self._batch:
            self._rows.add("inputs", EMBEDDING, np.stack(self._batch))
            self._batch, self._batch_bytes = [], 0
        self._rows.raise_faults()

    def _refuse(self, faults: list[Fault] | tuple[Fault, ...]) -> Problem:
        """Return the refusal of faults of the present entry."""
        return invalid(
            [Fault((*self._where(), *fault.loc), fault.msg, fault.got) for fault in faults]
        )

    def _where(self) -> tuple[str | int, ...]:
        where = (DATA, self._entries)
        return where if self._answer == 0 else (f"answer {self._answer + 1}", *where)
