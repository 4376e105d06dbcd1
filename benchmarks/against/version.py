"""``Version``: one of the two checkouts that are measured, and how to run it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# With these, Python would compile the sources at every start.
BYTECODE = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}
INSIDE = Path(__file__).with_name("inside.py")


@dataclass(frozen=True, slots=True)
class Version:
    """A checkout of Energy Flow.

    Attributes:
        name: ``this`` or ``other``.
        commit: its commit, with ``-dirty`` if files differ; none outside git.
        root: directory of the checkout.
        python: interpreter that runs it.
        kernels: its own directory for the machine code that Numba compiles.
        threads: threads of the arithmetic on a CPU.
    """

    name: str
    commit: str | None
    root: Path
    python: str
    kernels: Path
    threads: int

    def command(self, what: str, *arguments: str) -> list[str]:
        """Return the command line that runs ``inside.py`` in this version.

        Args:
            what: command of ``inside.py``.
            arguments: arguments of the command.
        """
        return [self.python, "-P", str(INSIDE), str(self.root), what, *arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment variables of a process that runs this version."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("ENERGY_FLOW_") and name not in BYTECODE
        }
        return kept | {
            "PYTHONPATH": str(self.root),
            "NUMBA_CACHE_DIR": str(self.kernels),
            "OMP_NUM_THREADS": str(self.threads),
        }

    def check(self) -> dict[str, Any]:
        """Check that the files of this version are imported, and describe it as plain JSON data.

        Raises:
            RuntimeError: other files are imported, or the interpreter does not run.
        """
        try:
            ended = subprocess.run(
                self.command("where"),
                env=self.environment(),
                cwd=self.kernels,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise RuntimeError(
                f"{self.python} cannot be run ({error.strerror}); give an interpreter by "
                "--other-python"
            ) from None
        if ended.returncode != 0:
            raise RuntimeError(
                f"{self.python} does not run version '{self.name}'; give an environment with its "
                f"packages by --other-python: {ended.stderr.strip()}"
            )
        files: dict[str, str | None] = json.loads(ended.stdout)
        if files["energy_flow"] is None:
            raise RuntimeError(
                f"commit {self.commit} has no package energy_flow; give another commit"
            )
        for what, file in files.items():
            if file is not None and not Path(file).is_relative_to(self.root):
                raise RuntimeError(
                    f"version '{self.name}': {what} comes from {file}, not from {self.root}; "
                    "give an interpreter whose environment does not have that one"
                )
        return {"commit": self.commit, "python": self.python, "files": files}
