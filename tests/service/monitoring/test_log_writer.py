"""Log lines that a thread of their own writes: complete, in order, also after failures."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TextIO

import pytest

from service.monitoring.log_writer import LogWriter

LOG = logging.getLogger("tests.lines")
THREADS = 4
LINES = 500


class FullDisk(io.StringIO):
    """A stream that refuses every write while ``is_full``."""

    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)


@contextmanager
def attached(stream: TextIO) -> Iterator[LogWriter]:
    """Attach a writer of the stream to the log until the end of the block."""
    writer = LogWriter(stream)
    LOG.addHandler(writer)
    LOG.setLevel(logging.INFO)
    # The handlers of pytest do not accept lines that cannot be formatted.
    LOG.propagate = False
    try:
        yield writer
    finally:
        LOG.propagate = True
        LOG.removeHandler(writer)


def test_all_lines_of_all_threads_are_written_whole_and_in_order() -> None:
    written = io.StringIO()

    def log_lines(thread: int) -> None:
        for number in range(LINES):
            LOG.info("%d %d", thread, number)

    with attached(written) as writer, writer:
        threads = [threading.Thread(target=log_lines, args=(number,)) for number in range(THREADS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    lines = [tuple(map(int, line.split())) for line in written.getvalue().splitlines()]
    assert sorted(lines) == [(thread, line) for thread in range(THREADS) for line in range(LINES)]
    for thread in range(THREADS):
        of_thread = [line for logged_by, line in lines if logged_by == thread]
        assert all(first < second for first, second in pairwise(of_thread))


def test_lines_before_entering_and_after_leaving_are_written_at_once() -> None:
    written = io.StringIO()
    with attached(written) as writer:
        LOG.info("early")
        assert written.getvalue() == "early\n"
        with writer:
            LOG.info("meanwhile")
        assert written.getvalue() == "early\nmeanwhile\n"
        LOG.info("late")
        assert written.getvalue() == "early\nmeanwhile\nlate\n"


def test_logging_continues_after_a_failed_write() -> None:
    written = FullDisk()
    with attached(written) as writer:
        LOG.info("lost")
        with writer:
            LOG.info("lost too")
        written.is_full = False
        LOG.info("found")
    assert written.getvalue() == "found\n"


def test_logging_continues_after_a_line_that_cannot_be_formatted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = io.StringIO()
    with attached(written) as writer, writer:
        LOG.info("%d", "no number")
        LOG.info("next")
    assert written.getvalue() == "next\n"
    assert "TypeError" in capsys.readouterr().err


def test_the_default_stream_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    writer = LogWriter()
    writer.handle(logging.makeLogRecord({"msg": "a line"}))
    assert capsys.readouterr().err == "a line\n"
