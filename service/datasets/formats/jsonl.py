"""Datasets as JSON lines: an object a line with its embedding, and maybe its target; or the bare
embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from energy_flow.errors import Fault
from service.datasets.formats.names import Part, choose
from service.datasets.formats.rows import MOST_COLUMNS, Rows
from service.problems import Problem
from service.requests.embeddings import PIECE_BYTES, faults_of_rows, read_json

# A parser keeps the interpreter's lock for the whole of a line.
LONGEST_LINE = 8 * 2**20


class JsonLinesReader:
    """Reads a ``.jsonl`` file; empty lines are passed over."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._rest = b""
        self._line = 0
        self._names: dict[Part, str] | None = None

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self._line += len(lines) + 1
            raise self._malformed(f"is longer than {LONGEST_LINE:,} bytes")
        self._take(lines)
        self._rows.settle()

    def finish(self) -> None:
        """The file has ended."""
        self._take([self._rest])
        self._rows.settle()

    def _take(self, lines: list[bytes]) -> None:
        """Takes lines, some at a time; those after a fault are not looked at."""
        held: dict[Part, list[Any]] = {"inputs": [], "targets": []}
        size = 0
        for line in lines:
            self._line += 1
            if line.strip():
                self._hold(line, held)
                size += len(line)
            if size > PIECE_BYTES:
                self._hand_on(held)
                held, size = {"inputs": [], "targets": []}, 0
        self._hand_on(held)

    def _hold(self, line: bytes, held: dict[Part, list[Any]]) -> None:
        try:
            document = read_json(line)
        except Problem as problem:
            raise self._malformed(problem.detail.removeprefix("the body ")) from None
        if isinstance(document, list):
            members: dict[Part, Any] = {"inputs": document}
            names: dict[Part, str] = {"inputs": "embeddings"}
        elif isinstance(document, dict):
            names, faults = choose(document)
            if faults:
                self._rows.refuse(*(Fault((self._where(), *f.loc), f.msg, f.got) for f in faults))
                self._rows.settle()
            members = {part: document[name] for part, name in names.items()}
        else:
            raise self._malformed("must be an object or a list of numbers")
        if self._names is None:
            self._names = names
        elif names.keys() != self._names.keys():
            said = "has targets, and the rows before have none"
            if "targets" in self._names:
                said = "has no targets, and the rows before have some"
            self._rows.refuse(Fault((self._where(),), said, sorted(names.values())))
            self._rows.settle()
        for part, value in members.items():
            held[part].append(value)

    def _hand_on(self, held: dict[Part, list[Any]]) -> None:
        for part, values in held.items():
            if not values:
                continue
            assert self._names is not None
            name = self._names[part]
            width = self._rows.width(part)
            faults = faults_of_rows(values, name, self._rows.count(part), width)
            if not faults and not 1 <= len(values[0]) <= MOST_COLUMNS:
                said = f"must be 1 to {MOST_COLUMNS:,} numbers"
                faults = [Fault((name, 0), said, len(values[0]))]
            if faults:
                self._rows.refuse(*faults)
            else:
                self._rows.take(part, name, np.array(values, dtype=np.float64))

    def _malformed(self, why: str) -> Problem:
        said = f"{self._where()} {why}"
        return Problem(400, said, faults=[Fault((self._where(),), why, None)])

    def _where(self) -> str:
        return f"line {self._line}"
