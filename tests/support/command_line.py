"""Running of ``energy-flow`` as a person or a script does."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.cli import main
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


class Caller:
    """Runs ``energy-flow`` in this process, which is quicker than to start another."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Done:
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code or 0
        else:
            code = 0
        printed = self._capsys.readouterr()
        assert isinstance(code, int)
        return Done(code, printed.out, printed.err)


def assert_refused(done: Done | subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert a non-zero exit code, nothing on stdout and one clear line with the words."""
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for word in words:
        assert word in last
