"""``Parsers``: the parser processes of a server, started on demand."""

from __future__ import annotations

import logging
import os
import threading
from typing import Final

from service.datasets.parsing.messages import (
    ConversionTask,
    Converted,
    Failed,
    NotWritten,
    Outcome,
    OutOfMemory,
    Refused,
)
from service.datasets.parsing.process import (
    ParserEnded,
    ParserLimits,
    ParserProcess,
    ParserTimeout,
    describe_signal,
)
from service.problems import Problem, unavailable

log = logging.getLogger(__name__)

MAX_PROCESSES: Final = 2
"""Most processes at a time; further files wait."""


class Parsers:
    """Processes that convert files, each one file at a time.

    A process is started for a file if none is free, and is kept for the next file. One that ends
    is replaced at the next file.

    Args:
        limits: Limits of each process.
    """

    def __init__(self, limits: ParserLimits) -> None:
        self._limits = limits
        # Held while any of the following changes, also those of a conversion.
        self._changed = threading.Condition()
        self._is_closed = False
        self._free: list[ParserProcess] = []
        self._running: set[Conversion] = set()

    def conversion(self) -> Conversion:
        """Return a conversion, which has not begun."""
        return Conversion(self)

    def close(self) -> None:
        """End all processes; conversions are refused from now on. Callable from any thread."""
        with self._changed:
            self._is_closed = True
            for conversion in self._running:
                conversion.kill()
            while self._free:
                self._free.pop().close()
            self._changed.notify_all()

    def begin(self, conversion: Conversion) -> ParserProcess:
        """Wait for a free process, and give it to a conversion.

        Raises:
            Problem: 499, the conversion was cancelled; 503, the server stops.
            OSError: The process cannot be started.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._is_closed or conversion.is_cancelled or len(self._running) < MAX_PROCESSES
                )
            )
            self.check_wanted(conversion)
            process = self._take()
            conversion.process = process
            self._running.add(conversion)
            return process

    def end(self, conversion: Conversion, process: ParserProcess) -> None:
        """Take the process of a conversion back."""
        with self._changed:
            conversion.process = None
            self._running.discard(conversion)
            if process.is_usable and not self._is_closed and not conversion.is_cancelled:
                self._free.append(process)
            else:
                process.close()
            self._changed.notify_all()

    def cancel(self, conversion: Conversion) -> None:
        """End a conversion, begun or not."""
        with self._changed:
            conversion.is_cancelled = True
            conversion.kill()
            self._changed.notify_all()

    def check_wanted(self, conversion: Conversion) -> None:
        """Check that a conversion shall go on.

        Raises:
            Problem: 499, it was cancelled; 503, the server stops.
        """
        if conversion.is_cancelled:
            raise Problem(499, "the client disconnected")
        if self._is_closed:
            raise unavailable("the server stops")

    def describe_timeout(self) -> Problem:
        """Return 422 for a file that takes too long."""
        return Problem(
            422,
            f"the file cannot be read: the parser has not ended within {self._limits.seconds:g} s; "
            f"send fewer rows{self._limits.advise('--parser-seconds')}",
        )

    def describe_memory(self) -> Problem:
        """Return 413 for a file that needs too much memory."""
        limit = self._limits.memory_bytes
        return Problem(
            413,
            f"the file needs more than {limit:,} bytes of memory to be read; write it with smaller "
            f"row groups and pages{self._limits.advise('--parser-memory-bytes')}",
            extra={"limit_bytes": limit},
        )

    def _take(self) -> ParserProcess:
        while self._free:
            process = self._free.pop()
            if process.is_alive():
                return process
            log.warning("the idle parser process %d has ended", process.pid)
            process.close()
        return ParserProcess(self._limits)


class Conversion:
    """The conversion of one file, made by :meth:`Parsers.conversion`.

    Attributes:
        is_cancelled: Whether it was cancelled.
        process: Its process, while one works on it.
    """

    def __init__(self, parsers: Parsers) -> None:
        self._parsers = parsers
        self.is_cancelled = False
        self.process: ParserProcess | None = None

    def run(self, task: ConversionTask) -> Converted:
        """Convert the file, and return what was read of it.

        If a process ends that has read other files before, one of them may have harmed it. So the
        file gets a new process.

        Args:
            task: The file.

        Raises:
            Problem: 422, the parser ended on the file, or needs too long; 499, the conversion was
                cancelled; 503, the server stops; else as the parser refuses the file.
            OSError: The rows could not be written, or no process can be started.
        """
        sizes = {path: path.stat().st_size for path in task.results.values()}
        while True:
            outcome = self._try(task)
            if isinstance(outcome, OutOfMemory):
                raise self._parsers.describe_memory()
            if outcome is not None:
                return _read(outcome)
            for path, size in sizes.items():
                os.truncate(path, size)

    def _try(self, task: ConversionTask) -> Outcome | None:
        """Return what becomes of the file; ``None`` if a process has ended that is not new."""
        process = self._parsers.begin(self)
        is_new = process.is_new
        try:
            return process.convert(task)
        except ParserEnded as ended:
            # Not if it was killed on purpose.
            self._parsers.check_wanted(self)
            log.warning(
                "a parser process ended on %s at an uploaded file, %d: %s",
                describe_signal(ended.reason),
                process.pid,
                ended.last_words or "no message",
            )
            if not is_new:
                return None
            raise Problem(
                422, f"the file cannot be read: the parser ended on it ({ended.reason})"
            ) from None
        except ParserTimeout:
            log.warning("a parser process was killed: an uploaded file takes too long")
            raise self._parsers.describe_timeout() from None
        finally:
            self._parsers.end(self, process)

    def cancel(self) -> None:
        """End the conversion, begun or not; callable from any thread."""
        self._parsers.cancel(self)

    def kill(self) -> None:
        """End its process, if it has one."""
        if self.process is not None:
            self.process.kill()


def _read(outcome: Converted | Refused | NotWritten | Failed) -> Converted:
    match outcome:
        case Converted():
            return outcome
        case Refused():
            raise outcome.to_problem()
        case NotWritten():
            raise outcome.to_error()
        case Failed():
            raise RuntimeError(f"the parser failed:\n{outcome.report}")
