"""What the server and a parser process send each other: a line of JSON in each direction."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import msgspec

from energy_flow.errors import Fault
from service.problems import Problem, shorten
from service.requests.columns import FileSource, Selection


class ConversionTask(msgspec.Struct, frozen=True):
    """A file to convert.

    Attributes:
        source: Path of the file.
        file_format: ``parquet`` or ``arrow``.
        selection: What is read of it.
        results: Path of the file of each part; rows are appended to it as float32.
        max_bytes: Most bytes of the dataset.
    """

    source: Path
    file_format: str
    selection: Selection
    results: dict[str, Path]
    max_bytes: int


class FaultMessage(msgspec.Struct, frozen=True):
    """A :class:`Fault`."""

    loc: tuple[str | int, ...]
    msg: str
    got: Any


class Converted(msgspec.Struct, frozen=True, tag=True):
    """The file was converted.

    Attributes:
        parts: Rows in the file as far as it was read, and numbers in a row, by the name of the
            part.
        source: Where the rows came from.
    """

    parts: dict[str, tuple[int, int]]
    source: FileSource | None = None


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The file was refused; the members are those of :class:`Problem`."""

    status: int
    detail: str
    faults: list[FaultMessage]
    extra: dict[str, Any]

    @classmethod
    def of(cls, problem: Problem) -> Refused:
        """Return the message for a refusal."""
        faults = [
            FaultMessage(fault.loc, fault.msg, shorten(fault.got)) for fault in problem.faults
        ]
        return cls(problem.status, problem.detail, faults, problem.extra)

    def to_problem(self) -> Problem:
        """Return the refusal."""
        faults = [Fault(fault.loc, fault.msg, fault.got) for fault in self.faults]
        return Problem(self.status, self.detail, faults=faults, extra=self.extra)


class OutOfMemory(msgspec.Struct, frozen=True, tag=True):
    """The file needs more memory than the process may have."""


class NotWritten(msgspec.Struct, frozen=True, tag=True):
    """The rows could not be written; the members are those of an ``OSError``."""

    number: int
    reason: str

    @classmethod
    def of(cls, error: OSError) -> NotWritten:
        """Return the message for an error."""
        return cls(error.errno or 0, error.strerror or str(error))

    def to_error(self) -> OSError:
        """Return the error."""
        return OSError(self.number, self.reason)


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The parser has a fault of its own.

    Attributes:
        report: Traceback of the exception.
    """

    report: str

    @classmethod
    def of(cls, error: Exception) -> Failed:
        """Return the message for an exception."""
        return cls("".join(traceback.format_exception(error)))


Outcome = Converted | Refused | OutOfMemory | NotWritten | Failed

_decode_task = msgspec.json.Decoder(ConversionTask, dec_hook=lambda kind, value: kind(value)).decode
_decode_outcome = msgspec.json.Decoder(Outcome).decode
_encode = msgspec.json.Encoder(enc_hook=os.fspath).encode


def encode_message(message: ConversionTask | Outcome) -> bytes:
    """Return a message as a line."""
    return _encode(message) + b"\n"


def decode_task(line: bytes) -> ConversionTask:
    """Return the task in a line."""
    return _decode_task(line)


def decode_outcome(line: bytes) -> Outcome:
    """Return the outcome in a line.

    Raises:
        msgspec.DecodeError: The line holds something else.
    """
    return _decode_outcome(line)
