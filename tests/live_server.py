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

from energy_flow.client import FlowClient

TINY = (
    "lattice_width=4",
    "lattice_height=4",
    "lattice_depth=4",
    "embedding_dim=8",
    "mapper_hidden_dim=16",
    "carrier_hidden_size=16",
    "carrier_num_layers=1",
)
"""Config fields of a model that is made and run in no time."""

TINY_FLAGS = tuple(flag for field in TINY for flag in ("--set", field))

LIMIT_SECONDS = 1200.0
"""After which a program is taken to hang; far beyond what it takes on a busy machine."""


def energy_flow(*arguments: str) -> list[str]:
    """The command line that runs ``energy-flow`` with this interpreter."""
    return [sys.executable, "-m", "service.cli", *arguments]


def free_port() -> int:
    """A port that is free, and that no connection gets by chance while no server listens there."""
    # Below those that systems give to connections.
    for port in random.sample(range(20_000, 32_000), 1000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("all ports are taken")


@contextmanager
def hearing_interrupts() -> Iterator[None]:
    """Programs that are started meanwhile hear SIGINT, also where these tests were told not to.

    A shell tells it to what runs in its background, and programs to those that they start.
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
        log: where its stderr goes.
    """

    url: str
    process: subprocess.Popen[str]
    log: Path

    def stop(self) -> int:
        """Ends it as a service manager does; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=LIMIT_SECONDS)


@contextmanager
def live_server(
    folder: Path, flags: Sequence[str] = TINY_FLAGS, port: int = 0
) -> Iterator[LiveServer]:
    """A server, on a free port unless one is given, ready for work, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    at = ("--port", str(port), "--data-dir", str(folder / "data"))
    command = energy_flow("serve", *at, *flags)
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
