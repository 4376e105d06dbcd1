"""Runs ``energy-flow`` as a person or a script does."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.cli import main
from tests.live_server import LIMIT_SECONDS, energy_flow


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``energy-flow`` to its end."""
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
    """What is left of a command that ran in this process."""

    returncode: int
    stdout: str
    stderr: str


class Caller:
    """Runs ``energy-flow`` in this process, which spares the start of another."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._patch = patch

    def __call__(self, *arguments: str | Path) -> Done:
        self._patch.setattr(sys, "argv", ["energy-flow", *(str(word) for word in arguments)])
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        else:
            code = 0
        printed = self._capsys.readouterr()
        assert isinstance(code, int)
        return Done(code, printed.out, printed.err)


def assert_refused(done: Done | subprocess.CompletedProcess[str], *said: str) -> None:
    """A non-zero exit code and one clear line, nothing on stdout."""
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for words in said:
        assert words in last
