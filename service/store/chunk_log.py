"""``chunks.jsonl``: a line of JSON for each complete chunk of a run's samples."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from service.json_encoding import to_json
from service.store.stored_forms import check_chunk


class DamagedLine(ValueError):
    """A line of a log of chunks is damaged; the message has its number."""


class ChunkLog:
    """The log of the complete chunks of one run.

    Args:
        path: Path of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: Mapping[str, Any], *, durable: bool) -> bool:
        """Append the line of a chunk.

        Args:
            line: JSON data about the chunk.
            durable: Whether to wait until the line is on the disk.

        Returns:
            Whether this created the file.

        Raises:
            OSError: The line could not be written.
        """
        with self._path.open("ab") as file:
            is_new = file.tell() == 0
            file.write(to_json(line) + b"\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        return is_new

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the lines in order, without an incomplete last one.

        Raises:
            DamagedLine: A line is damaged.
        """
        for line, _ in self._read_with_ends():
            yield line

    def truncate(self, lines: int) -> None:
        """Drop all lines behind the first ``lines``."""
        if self._path.exists():
            ends = [end for _, end in islice(self._read_with_ends(), lines)]
            os.truncate(self._path, ends[lines - 1] if lines else 0)

    def _read_with_ends(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield each line with the offset in the file at which it ends."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            yield from parse_lines(file)


def parse_lines(file: IO[bytes]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each line of a log with the offset in the file at which it ends.

    Args:
        file: The log, open for reading.

    Raises:
        DamagedLine: A line is damaged, and a crash has not left it as the last one.
    """
    end = samples = 0
    for number, line in enumerate(file, 1):
        # A crash can cut the last line short.
        if not line.endswith(b"\n"):
            return
        end += len(line)
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            # A power cut can leave zeros in the last line.
            if not file.read(1):
                return
            raise DamagedLine(f"line {number} is no JSON: {error}") from error
        try:
            check_chunk(record, samples)
        except ValueError as error:
            raise DamagedLine(f"line {number} is no record of a chunk: {error}") from error
        samples += len(record["samples"])
        yield record, end
