"""``LogWriter``: lines of the log, written on a thread of their own.

Writing one is a system call that waits for a terminal or a pipe. At the end of a run the engine,
the writer and the event loop each have a line to tell, and would wait for each other's.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self

MOST_LINES: Final = 100_000
"""How many may wait to be written; whoever has another to tell waits too."""
GATHERING_SECONDS: Final = 0.02
"""How long the first of some lines waits for others, which are then written in one go."""


class LogWriter(logging.Handler):
    """Formats a line where it is logged, and leaves it to its thread from entering to leaving.

    After leaving, all that was logged is written, and whatever follows is written at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="log-writer")

    def __enter__(self) -> Self:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits until everything is written."""
        self._lines.put(None)
        self._thread.join()
        # What others have told while it ended.
        self._write([])

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a record."""
        try:
            line = self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return
        self._lines.put(line)
        if not self._thread.is_alive():
            self._write([])
        while self._lines.qsize() > MOST_LINES and self._thread.is_alive():
            time.sleep(GATHERING_SECONDS)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            time.sleep(GATHERING_SECONDS)
            if not self._write([line]):
                return

    def _write(self, lines: list[str]) -> bool:
        """Writes these lines and those that wait; says whether more are to come."""
        more = True
        while more:
            try:
                line = self._lines.get_nowait()
            except Empty:
                break
            more = line is not None
            if line is not None:
                lines.append(line)
        # A full disk, a reader that went away, a closed stream: nobody is there to be told, and
        # whoever logs must not suffer from it.
        with suppress(OSError, ValueError):
            sys.stderr.write("".join(lines))
            sys.stderr.flush()
        return more
