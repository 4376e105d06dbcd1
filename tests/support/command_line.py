"""Running of ``energy-flow`` as a person or a script does."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.cli import main
from tests.support.index_databases import DATABASES
from tests.support.live_server import energy_flow
from tests.support.waits import LIMIT_SECONDS


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``energy-flow`` to its end."""
    return subprocess.run(
        energy_flow(*(str(argument) for argument in arguments)),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        env={**os.environ, **environment},
    )


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a command that ran in this process."""

    returncode: int
    stdout: str
    stderr: str


class Terminal:
    """A command whose stdin and stderr are a terminal, as a person runs it.

    Attributes:
        process: the command.
        shown: what the terminal has shown so far.
    """

    def __init__(self, process: subprocess.Popen[str], screen: int) -> None:
        self.process = process
        self.shown = ""
        self._screen = screen

    def wait_for(self, words: str) -> None:
        """Wait until the terminal shows words."""
        while words not in self.shown:
            assert self._read(), self.shown

    def write(self, text: str) -> None:
        """Type a text."""
        os.write(self._screen, text.encode())

    def finish(self) -> Done:
        """Wait for the end; ``stderr`` of the result is all that the terminal has shown."""
        while self._read():
            pass
        output, _ = self.process.communicate(timeout=LIMIT_SECONDS)
        return Done(self.process.returncode, output, self.shown)

    def _read(self) -> bool:
        try:
            piece = os.read(self._screen, 4096)
        except OSError:
            # So Linux reports that no process has the terminal open.
            return False
        self.shown += piece.decode()
        return bool(piece)


@contextmanager
def open_terminal(*arguments: str | Path) -> Iterator[Terminal]:
    """Run ``energy-flow`` in a terminal; its stdout is a pipe.

    Yields:
        The terminal.
    """
    screen, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            energy_flow(*(str(argument) for argument in arguments)),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
        ) as process:
            os.close(theirs)
            try:
                yield Terminal(process, screen)
            finally:
                process.kill()
    finally:
        os.close(screen)


class Caller:
    """Runs ``energy-flow`` in this process, which is quicker than to start another."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Done:
        words = [str(argument) for argument in arguments]
        if words[0] in ("data", "key") and "--database-url" not in words:
            # The index is where servers of the tests have it.
            folder = Path(words[words.index("--data-dir") + 1]) if "--data-dir" in words else None
            for url in DATABASES.settings_of(folder).values() if folder is not None else ():
                words += ["--database-url", url]
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code or 0
        else:
            code = 0
        printed = self._capsys.readouterr()
        assert isinstance(code, int)
        return Done(code, printed.out, printed.err)


def assert_interrupted(done: Done) -> None:
    """Assert that Ctrl-C in a terminal ended a command with one line, and without a result."""
    assert done.returncode == 130
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    # Codes that remove the progress come before it.
    assert last.endswith("interrupted")
    assert done.stderr.count("interrupted") == 1


def assert_refused(done: Done | subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert a non-zero exit code, nothing on stdout and one clear line with the words."""
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for word in words:
        assert word in last
