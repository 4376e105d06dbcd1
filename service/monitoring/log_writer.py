"""``LogWriter``: writes log lines in a thread of its own.

Writing is a system call that waits for a terminal or a pipe. At the end of a run the engine, the
writer and the event loop log a line each, and would wait for each other.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self, TextIO

MAX_LINES: Final = 100_000
"""Most lines that wait to be written; a thread that logs another line waits."""
BATCH_SECONDS: Final = 0.02
"""How long a line waits for others that are written with it."""


class LogWriter(logging.Handler):
    """A handler that formats lines in the logging thread and writes them in its own.

    It is a context manager. On exit all lines are written; later lines are written at once.

    Args:
        stream: Where lines are written; by default, what ``sys.stderr`` is at that time.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="log-writer")

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until all lines are written."""
        self._lines.put(None)
        self._thread.join()
        # Lines that were logged while the thread ended.
        self._write([])

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and queue its line."""
        try:
            line = self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return
        self._lines.put(line)
        if not self._thread.is_alive():
            self._write([])
        while self._lines.qsize() > MAX_LINES and self._thread.is_alive():
            time.sleep(BATCH_SECONDS)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            time.sleep(BATCH_SECONDS)
            if not self._write([line]):
                return

    def _write(self, lines: list[str]) -> bool:
        """Write these lines and those in the queue; return whether more can follow."""
        is_open = True
        while is_open:
            try:
                line = self._lines.get_nowait()
            except Empty:
                break
            is_open = line is not None
            if line is not None:
                lines.append(line)
        # With a full disk or a closed stream there is no place to report the error, and it must not
        # stop the thread that logs.
        with suppress(OSError, ValueError):
            stream = self._stream or sys.stderr
            stream.write("".join(lines))
            stream.flush()
        return is_open
