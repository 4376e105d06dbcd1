"""Lines of the log on a thread of their own: all of them, whole, in order, whatever happens."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from service.monitoring.log_writer import LogWriter

LOG = logging.getLogger("tests.lines")
THREADS = 4
LINES = 500


class Faulty(io.StringIO):
    """Takes nothing while ``full``."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


@pytest.fixture
def writer() -> Iterator[LogWriter]:
    writer = LogWriter()
    LOG.addHandler(writer)
    LOG.setLevel(logging.INFO)
    yield writer
    LOG.removeHandler(writer)


def test_all_lines_of_all_threads_come_whole_and_in_order(
    writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())

    def tell(thread: int) -> None:
        for number in range(LINES):
            LOG.info("%d %d", thread, number)

    with writer:
        threads = [threading.Thread(target=tell, args=(number,)) for number in range(THREADS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    lines = [tuple(map(int, line.split())) for line in written.getvalue().splitlines()]
    assert sorted(lines) == [(thread, line) for thread in range(THREADS) for line in range(LINES)]
    for thread in range(THREADS):
        of_thread = [line for told, line in lines if told == thread]
        assert all(first < second for first, second in pairwise(of_thread))


def test_before_entering_and_after_leaving_lines_are_written_at_once(
    writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    LOG.info("early")
    assert written.getvalue() == "early\n"
    with writer:
        LOG.info("meanwhile")
    assert written.getvalue() == "early\nmeanwhile\n"
    LOG.info("late")
    assert written.getvalue() == "early\nmeanwhile\nlate\n"


def test_a_log_that_cannot_be_written_harms_nobody(
    writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", written := Faulty())
    LOG.info("lost")
    with writer:
        LOG.info("lost too")
    written.full = False
    LOG.info("found")
    assert written.getvalue() == "found\n"


def test_a_message_that_cannot_be_formatted_harms_nobody(
    writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with writer:
        LOG.info("%d", "no number")
        LOG.info("next")
    assert written.getvalue() == "next\n"
