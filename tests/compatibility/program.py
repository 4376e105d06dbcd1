"""The installed program ``energy-flow``, run as a user runs it: nothing of it is imported here.

So the same code makes a data directory with one version and opens it with another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.waits import LIMIT_SECONDS, until

API_KEY = "the-key-of-the-compatibility-tests"

THREADS = 1
"""That compute."""


DATA = "data"
"""The data directory, as the server is given it: relative, since a server stores paths in it."""

_RUN_COMMANDS = Path(__file__).with_name("run_commands.py")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and a client that sends its API key."""

    url: str
    client: httpx.Client
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """Ends it as a power cut does (SIGKILL)."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True)
class Command:
    """A command that has ended."""

    arguments: list[str]
    exit_code: int
    output: str
    errors: str


@contextmanager
def serving(folder: Path, flags: Sequence[str]) -> Iterator[Server]:
    """A server that is ready, with its data directory in a folder, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    program = Path(sysconfig.get_path("scripts"), "energy-flow")
    command = [str(program), "serve", "--port", "0", "--data-dir", DATA, *flags]
    log = folder / "server.log"
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://" in line, log.read_text(encoding="utf-8")
            url = line.split()[-1]
            headers = {"Authorization": f"Bearer {API_KEY}"}
            with httpx.Client(base_url=url, headers=headers, timeout=LIMIT_SECONDS) as client:
                until(lambda: client.get("/readyz").status_code == 200)
                yield Server(url, client, process)
        finally:
            process.kill()


def run_commands(folder: Path, commands: Sequence[Sequence[str]]) -> list[Command]:
    """Run command lines of ``energy-flow`` one after the other.

    One process runs all of them, which saves the start of many.

    Args:
        folder: the working directory.
        commands: the arguments of each.
    """
    done = subprocess.run(
        # Without the folder of this file on the path, where modules have names of their own.
        [sys.executable, "-P", str(_RUN_COMMANDS)],
        cwd=folder,
        env=environment(),
        input=json.dumps([list(command) for command in commands]),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Command(**ended) for ended in json.loads(done.stdout)]


def environment() -> dict[str, str]:
    """The environment of the program.

    One thread: the bits of a training are those of a number of threads, and threads that wait for
    each other make steps take many times as long on a busy machine. Wide lines, so that no name is
    cut off.
    """
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("ENERGY_FLOW_")
    }
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(THREADS))
    return {**kept, **threads, "ENERGY_FLOW_API_KEY": API_KEY, "COLUMNS": "200"}
