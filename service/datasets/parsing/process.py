"""``ParserProcess``: a child process that converts files, one after the other."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from service.datasets.parsing.messages import (
    ConversionTask,
    Outcome,
    decode_outcome,
    encode_message,
)
from service.settings_table import PREFIX

PROGRAM: Final = "service.datasets.parser_program"
"""Module that runs in the process."""

MAX_ANSWER_BYTES: Final = 2**20
"""Longest answer; all faults of a file have less."""

MAX_ERROR_BYTES: Final = 2000
"""How much of the end of a process's stderr is kept for the log."""

_READ_BYTES = 64 * 1024
_EXIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """Limits of a parser process.

    Attributes:
        seconds: Most seconds for a file.
        memory_bytes: Most bytes of memory. The files themselves do not count.
        file_bytes: Most bytes of a file that it writes.
        is_of_server: Whether settings of a server have them, which can be raised.
    """

    seconds: float
    memory_bytes: int
    file_bytes: int
    is_of_server: bool = True

    @property
    def arguments(self) -> tuple[str, str, str]:
        """Arguments of the program."""
        return str(self.memory_bytes), str(self.file_bytes), str(self.seconds)

    def advise(self, setting: str) -> str:
        """Return what to do about a limit beside changing the file, for messages.

        Args:
            setting: The option of a server that has the limit.
        """
        if self.is_of_server:
            return f", or raise the server's {setting}"
        return "; the limit is one of this command, and is fixed"


class ParserEnded(Exception):
    """The process has ended without an answer.

    Attributes:
        reason: On which signal, or with which exit code.
        last_words: The end of its stderr, in one line.
    """

    def __init__(self, exit_code: int, errors: bytes) -> None:
        self.reason = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
        self.last_words = " ".join(errors.decode(errors="replace").split())
        super().__init__(self.reason)


class ParserTimeout(Exception):
    """The process has not answered in time, and was killed."""


class ParserProcess:
    """A child process that parses files within limits.

    It is a new program and no fork: this process has threads, and memory that a fork would share.
    Its owner must call :meth:`close`.

    Attributes:
        is_usable: Whether it has answered so far.
        is_new: Whether it has had no file yet.

    Args:
        limits: Its limits.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(self, limits: ParserLimits) -> None:
        self.is_usable = True
        self.is_new = True
        self._seconds = limits.seconds
        self._process = subprocess.Popen(
            # -P: nothing is imported from the working directory.
            [sys.executable, "-P", "-m", PROGRAM, *limits.arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(os.environ),
            # Ctrl-C in a terminal is for the server, which ends its children.
            start_new_session=True,
        )
        self._errors = b""

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.poll() is None

    def convert(self, task: ConversionTask) -> Outcome:
        """Return what becomes of a file; may be called again after an answer.

        Args:
            task: The file.

        Raises:
            ParserEnded: The process ended, by itself or by :meth:`kill`.
            ParserTimeout: The time was over.
        """
        self.is_usable = self.is_new = False
        # A process that has ended is noticed when its answer is read.
        with suppress(BrokenPipeError):
            _pipe(self._process.stdin).write(encode_message(task))
        line = self._read_line(time.monotonic() + self._seconds)
        try:
            outcome = decode_outcome(line)
        except msgspec.DecodeError:
            raise self._ended() from None
        self.is_usable = True
        return outcome

    def kill(self) -> None:
        """End the process at once; callable from any thread."""
        self._process.kill()

    def close(self) -> None:
        """End the process at once, and wait for its end."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            _pipe(pipe).close()

    def _read_line(self, until: float) -> bytes:
        answers, errors = _pipe(self._process.stdout), _pipe(self._process.stderr)
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            selector.register(errors, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                ready = selector.select(max(until - time.monotonic(), 0))
                if not ready:
                    self._process.kill()
                    raise ParserTimeout
                for key, _ in ready:
                    data = os.read(key.fd, _READ_BYTES)
                    if key.fileobj is answers:
                        line += data
                        if not data or len(line) > MAX_ANSWER_BYTES:
                            raise self._ended()
                    elif data:
                        self._keep_errors(data)
                    else:
                        selector.unregister(errors)
        return line

    def _ended(self) -> ParserEnded:
        """Wait for the end and return it."""
        try:
            self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        while data := os.read(_pipe(self._process.stderr).fileno(), _READ_BYTES):
            self._keep_errors(data)
        return ParserEnded(self._process.returncode, self._errors)

    def _keep_errors(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-MAX_ERROR_BYTES:]


def describe_signal(reason: str) -> str:
    """Return a reason with the name of its signal, for the log.

    Args:
        reason: As in :class:`ParserEnded`.
    """
    kind, _, number = reason.rpartition(" ")
    if kind != "signal":
        return reason
    with suppress(ValueError):
        return f"{reason} ({signal.Signals(int(number)).name})"
    return reason


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the process, which has no setting of the server, and so no key."""
    kept = {name: value for name, value in own.items() if not name.upper().startswith(PREFIX)}
    return {
        **kept,
        # The same packages, wherever this program has found them.
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        # The other allocators reserve memory by the gibibyte, which counts as used.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        # NumPy's library reserves memory for each thread.
        "OPENBLAS_NUM_THREADS": "1",
    }


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
