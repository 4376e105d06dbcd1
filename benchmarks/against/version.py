"""``Version``: one of the two checkouts that are measured, and processes that run in it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# These would have the sources compiled at every start.
BYTECODE = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}
INSIDE = Path(__file__).with_name("inside.py")


@dataclass(frozen=True, slots=True)
class Version:
    """A checkout of Energy Flow.

    Attributes:
        name: ``this`` or ``other``.
        commit: with ``-dirty`` where files differ from it; none outside git.
        root: directory of the checkout.
        python: the interpreter that runs it.
        kernels: directory of its own for the machine code that Numba compiles.
        threads: of the arithmetic on a CPU.
    """

    name: str
    commit: str | None
    root: Path
    python: str
    kernels: Path
    threads: int

    def command(self, what: str, *arguments: str) -> list[str]:
        """Return the command line that runs ``inside.py`` in this version."""
        return [self.python, "-P", str(INSIDE), str(self.root), what, *arguments]

    def environment(self) -> dict[str, str]:
        """Return the variables of a process that runs in this version."""
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
        """Make sure that this version's own files are imported; describe it as plain JSON data.

        Raises:
            RuntimeError: they are not, or the interpreter does not run.
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
                f"{self.python} cannot be run ({error.strerror}); name an interpreter"
            ) from None
        if ended.returncode != 0:
            raise RuntimeError(
                f"{self.python} does not run the {self.name} version: {ended.stderr.strip()}"
            )
        files: dict[str, str | None] = json.loads(ended.stdout)
        if files["energy_flow"] is None:
            raise RuntimeError(
                f"commit {self.commit} has no package energy_flow; name one that has it"
            )
        for what, file in files.items():
            if file is not None and not Path(file).is_relative_to(self.root):
                raise RuntimeError(
                    f"the {self.name} version's {what} comes from {file}, not from {self.root}; "
                    "name an interpreter whose environment has no other one"
                )
        return {"commit": self.commit, "python": self.python, "files": files}
