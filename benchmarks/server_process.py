"""A server in a process of its own, on a free port of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
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
    """A server that accepts connections.

    Attributes:
        url: its address.
        pid: id of its process.
    """

    url: str
    pid: int


@contextmanager
def energy_flow_server(device: str, *assignments: str) -> Iterator[RunningServer]:
    """Run ``energy-flow serve`` with the preset ``debug`` for the bundled embeddings.

    Args:
        device: device of the server.
        assignments: further ``FIELD=VALUE`` changes of the preset.

    Yields:
        The server, which is stopped in the end.

    Raises:
        RuntimeError: the server did not start, or ended with an error.
    """
    with (
        tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder,
        server_of(Path(folder), device, *assignments) as server,
    ):
        yield server


@contextmanager
def server_of(
    folder: Path,
    device: str,
    *assignments: str,
    kill: bool = False,
    database_url: str | None = None,
) -> Iterator[RunningServer]:
    """Run a server as :func:`energy_flow_server` does, with a data directory that is kept.

    Args:
        folder: has the data directory and the log.
        device: device of the server.
        assignments: further ``FIELD=VALUE`` changes of the preset.
        kill: whether to end the server by ``SIGKILL``.
        database_url: URL of its index; by default, it is in the data directory.

    Yields:
        The server.
    """
    command = serve_command(folder / "data", device, *assignments, database_url=database_url)
    with running(command, folder / "server.log", own=not kill) as server:
        yield server


def serve_command(
    data_dir: Path,
    device: str,
    *assignments: str,
    port: int = 0,
    database_url: str | None = None,
) -> list[str]:
    """Return the command line of a server with the preset ``debug`` for the bundled embeddings.

    Args:
        data_dir: its data directory.
        device: its device.
        assignments: further ``FIELD=VALUE`` changes of the preset.
        port: its port; 0 for a free one.
        database_url: URL of its index; by default, it is in the data directory.
    """
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port)]
    command += ["--data-dir", str(data_dir), "--device", device]
    if database_url is not None:
        command += ["--database-url", database_url]
    for change in (f"embedding_dim={all_embeddings().shape[1]}", *assignments):
        command += ["--set", change]
    return command


@contextmanager
def running(command: list[str], log: Path, *, own: bool = True) -> Iterator[RunningServer]:
    """Run a process that prints a line whose last word is its address.

    Args:
        command: command line of the process.
        log: file for its messages.
        own: whether it must end without an error on ``SIGTERM``; otherwise it is killed with all
            processes that it has started.

    Yields:
        The server.

    Raises:
        RuntimeError: the server did not start, or ended with an error.
    """
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=server_environment(),
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
                        f"the server ended with the exit code {process.returncode}:\n{end_of(log)}"
                    )
        finally:
            if not own:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()


def server_environment() -> dict[str, str]:
    """Return the environment of a server: this one's without settings, and with its threads."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("ENERGY_FLOW_")
    }
    return environment | {
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONUNBUFFERED": "1",
    }


def end_of(log: Path) -> str:
    """Return the last 20 lines of a log.

    Args:
        log: the file.
    """
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])


def free_port() -> int:
    """Return a port of this machine that is not in use."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
