"""A server in a process of its own, as a user starts it."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from energy_flow.client import FlowClient
from energy_flow.testing import TINY_FIELDS
from tests.support.index_databases import DATABASES
from tests.support.waits import LIMIT_SECONDS

TINY_FLAGS = tuple(
    flag for name, value in TINY_FIELDS.items() for flag in ("--set", f"{name}={value}")
)
"""Flags of ``energy-flow serve`` for a tiny default model."""

TRACED_OPTIONS = {"noise_std": 0.3, "spawn.threshold": 0.15, "convergence.enabled": False}
"""Options of a run with spawns and reflections."""


def energy_flow(*arguments: str) -> list[str]:
    """Return the command line that runs ``energy-flow`` with this interpreter."""
    return [sys.executable, "-m", "service.cli", *arguments]


def free_port() -> int:
    """Return a free port that the system does not assign to other connections."""
    # Below those that systems give to connections.
    for port in random.sample(range(20_000, 32_000), 1000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("all ports are taken")


@contextmanager
def interrupts_enabled() -> Iterator[None]:
    """Let programs that start in the block receive SIGINT, also where the tests ignore it.

    A shell ignores SIGINT in its background processes, and their children inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True, slots=True)
class LiveServer:
    """A running server.

    Attributes:
        url: its address.
        process: its process.
        log: file of its stderr.
    """

    url: str
    process: subprocess.Popen[str]
    log: Path

    def stop(self) -> int:
        """Stop the server as a service manager does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=LIMIT_SECONDS)


@contextmanager
def live_server(
    folder: Path, flags: Sequence[str] = TINY_FLAGS, port: int = 0, groups: Sequence[Path] = ()
) -> Iterator[LiveServer]:
    """Run a server until the end of the block, on a free port unless one is given.

    It is in the control groups whose folders are given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    at: tuple[str, ...] = ("--port", str(port), "--data-dir", str(folder / "data"))
    for url in DATABASES.settings_of(folder / "data").values():
        at += ("--database-url", url)
    command = energy_flow("serve", *at, *flags)
    if groups:
        entering = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
        command = ["sh", "-ec", f'{entering}exec "$@"', "sh", *command]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            # The one line that it writes there; none if it could not start.
            announcement = process.stdout.readline()
            assert "http://" in announcement, log.read_text()
            url = announcement.split()[-1]
            with FlowClient(url) as client:
                client.wait_until_ready(LIMIT_SECONDS)
            yield LiveServer(url, process, log)
        finally:
            process.kill()


def put_dataset(server: LiveServer, name: str, rows: NDArray[np.float32]) -> str:
    """Store rows as a dataset and return its name."""
    with FlowClient(server.url) as client:
        return client.datasets.put(name, rows).name
