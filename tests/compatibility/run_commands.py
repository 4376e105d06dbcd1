"""A script: runs command lines of the installed ``energy-flow`` in one process.

It reads lists of arguments from stdin, as JSON, and writes what became of them to stdout. Commands
are called through the entry point that the program's own script calls.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from typing import Any


def run_all(commands: list[list[str]]) -> list[dict[str, Any]]:
    """Run command lines one after the other; return what became of each."""
    (entry,) = entry_points(group="console_scripts", name="energy-flow")
    main = entry.load()
    ended: list[dict[str, Any]] = []
    for arguments in commands:
        sys.argv = ["energy-flow", *arguments]
        code: Any = 0
        with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        ended.append(
            {
                "arguments": arguments,
                "exit_code": code if isinstance(code, int) else 1,
                "output": output.getvalue(),
                "errors": errors.getvalue(),
            }
        )
    return ended


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run_all(json.load(sys.stdin))))
