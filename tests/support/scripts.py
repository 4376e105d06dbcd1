"""Scripts of the examples, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.repository import EXAMPLES, ROOT
from tests.support.waits import LIMIT_SECONDS


def printed_by(script: str | Path, *arguments: str | Path) -> str:
    """Run a script of the examples to its end, and return what it printed."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
