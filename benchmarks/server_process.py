"""A server in a process of its own, on a free port of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.workload import ROOT, all_embeddings

END_SECONDS = 60


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where it listens, and its process."""

    url: str
    pid: int


@contextmanager
def energy_flow_server(device: str, *assignments: str) -> Iterator[RunningServer]:
    """``energy-flow serve`` with the ``debug`` preset for the bundled embeddings, until the end.

    Args:
        assignments: further ``FIELD=VALUE`` changes of the preset.

    Raises:
        RuntimeError: it did not start, or did not end well.
    """
    with (
        tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder,
        server_of(Path(folder), device, *assignments) as server,
    ):
        yield server


@contextmanager
def server_of(
    folder: Path, device: str, *assignments: str, kill: bool = False
) -> Iterator[RunningServer]:
    """As :func:`energy_flow_server`, with a data directory that stays.

    Args:
        kill: end it in the middle of what it does, by ``SIGKILL``.
    """
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
    command += ["--data-dir", str(folder / "data"), "--device", device]
    for change in (f"embedding_dim={all_embeddings().shape[1]}", *assignments):
        command += ["--set", change]
    with running(command, folder / "server.log", own=not kill) as server:
        yield server


@contextmanager
def running(command: list[str], log: Path, *, own: bool = True) -> Iterator[RunningServer]:
    """A process that prints a line whose last word is the address at which it listens.

    Args:
        own: a server of this project, which is to end well when it is told to; any other is
            ended with all processes that it has started.

    Raises:
        RuntimeError: it did not start, or ended with an error when told to stop.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("ENERGY_FLOW_")
    }
    environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    environment["PYTHONUNBUFFERED"] = "1"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
            start_new_session=not own,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            announced = ""
            while "http://" not in announced:
                announced = process.stdout.readline()
                if not announced:
                    raise RuntimeError(f"the server did not start:\n{end_of(log)}")
            yield RunningServer(announced.split()[-1], process.pid)
            if own:
                process.send_signal(signal.SIGTERM)
                if process.wait(timeout=END_SECONDS) != 0:
                    raise RuntimeError(
                        f"the server ended with {process.returncode}:\n{end_of(log)}"
                    )
        finally:
            if not own:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()


def end_of(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
