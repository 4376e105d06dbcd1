"""``StartedServer``: ``energy-flow serve`` of a version, measured from outside."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.against.turns import order_of
from benchmarks.against.version import Version
from benchmarks.server_process import END_SECONDS, end_of, free_port
from benchmarks.standstill import process_tree, resume, suspend

START_SECONDS = 300
PAUSE_SECONDS = 0.01
"""Time between two requests whether a server is ready."""


@dataclass(frozen=True, slots=True)
class StartedServer:
    """A server that is ready.

    Attributes:
        url: its address.
        pid: id of its process.
        seconds: from the start of its process until ``/readyz`` answered 200.
    """

    url: str
    pid: int
    seconds: float

    def resident_bytes(self) -> int:
        """Return the resident memory of its process and of all that it has started."""
        return sum(process.memory_info().rss for process in process_tree(self.pid))

    def proportional_bytes(self) -> int | None:
        """Return the same with shared pages divided by their users; none on systems but Linux."""
        sizes = [process.memory_full_info() for process in process_tree(self.pid)]
        return sum(size.pss for size in sizes) if hasattr(sizes[0], "pss") else None


@contextmanager
def started_server(
    version: Version, data: Path, device: str, *assignments: str
) -> Iterator[StartedServer]:
    """Start a server, wait until it is ready, and stop it in the end.

    Args:
        version: version of the server.
        data: its data directory; the log is beside it.
        device: its device.
        assignments: ``FIELD=VALUE`` changes of the preset.

    Yields:
        The server.

    Raises:
        RuntimeError: the server was not ready in time, or ended with an error.
    """
    port = free_port()
    command = version.command("serve", "--port", str(port), "--data-dir", str(data))
    # Named, because versions have different default models.
    command += ["--device", device, "--preset", "debug"]
    for change in assignments:
        command += ["--set", change]
    log = data.with_name(f"{data.name}.log")
    with log.open("wb") as out:
        began = time.perf_counter()
        with subprocess.Popen(
            command, env=version.environment(), cwd=data.parent, stdout=out, stderr=out
        ) as process:
            try:
                _wait_until_ready(process, port, log)
                seconds = time.perf_counter() - began
                yield StartedServer(f"http://127.0.0.1:{port}", process.pid, seconds)
                resume(process.pid)
                process.terminate()
                if process.wait(timeout=END_SECONDS) != 0:
                    raise RuntimeError(
                        f"the server of version '{version.name}' ended with the exit code "
                        f"{process.returncode}:\n"
                        f"{end_of(log)}"
                    )
            finally:
                process.kill()


@contextmanager
def started_servers(
    versions: Mapping[str, Version], folder: Path, device: str, turn: int, *assignments: str
) -> Iterator[dict[str, StartedServer]]:
    """Start a server of each version; both are suspended, see :func:`serving`.

    Args:
        versions: this version and the other, by name.
        folder: for the data directories, new ones in every round.
        device: device of the servers.
        turn: number of the round, which decides which server starts first.
        assignments: ``FIELD=VALUE`` changes of the preset.

    Yields:
        The servers by the name of their version.
    """
    with ExitStack() as stack:
        servers = {}
        for name in order_of(turn):
            data = folder / f"{name}-{turn}"
            server = started_server(versions[name], data, device, *assignments)
            servers[name] = stack.enter_context(server)
            suspend(servers[name].pid)
        yield servers


@contextmanager
def serving(server: StartedServer) -> Iterator[StartedServer]:
    """Resume a server, and suspend it in the end.

    Args:
        server: a suspended server.

    Yields:
        The same server.
    """
    resume(server.pid)
    yield server
    suspend(server.pid)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(
                f"the server ended with the exit code {process.returncode}:\n{end_of(log)}"
            )
        # An httpx client takes longer to make than the time between two requests.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        with suppress(ConnectionError):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                connection.close()
                return
        connection.close()
        time.sleep(PAUSE_SECONDS)
    raise RuntimeError(f"the server was not ready after {START_SECONDS} s:\n{end_of(log)}")
