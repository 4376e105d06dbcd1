"""Servers for tests: real ones on real sockets, in a thread of this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.choices import ServerState
from energy_flow.engine import Engine, Executor, LocalExecutor
from energy_flow.testing import TINY_FIELDS
from service.lifespan import DEFAULT_LIMITS, Service, ServiceLimits
from service.serving import FlowServer
from service.settings import Settings
from tests.support.bodies import NPY, npy
from tests.support.index_databases import DATABASES
from tests.support.waits import LIMIT_SECONDS, until

TINY = tuple(f"{name}={value}" for name, value in TINY_FIELDS.items())
"""Changes to the preset ``debug`` that make a model which is built and run in milliseconds."""

CONFIG = dict(TINY_FIELDS)
"""The same, as a request has them."""

DIMENSION = TINY_FIELDS["embedding_dim"]

ENDLESS = {
    "max_steps": 10**6,
    "projection_age": 10**6,
    "convergence.enabled": False,
    "noise_std": 0.001,
    "spawn.mode": "off",
    "displacement_scale": 1e-9,
}
"""Options of a run that does not end by itself."""


def local_engine(service: Service) -> Engine:
    """Return the engine of a server that has its only worker in its process."""
    assert isinstance(service.executor, LocalExecutor)
    return service.executor.engine


class HeldEngine:
    """An engine that is stopped between two of its rounds.

    In a round, samples enter while there is capacity, and all flows take a step. Queued runs stay
    queued meanwhile, and active samples take no step.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._go_on = threading.Event()
        self._stop_before_the_next_round()

    def _stop_before_the_next_round(self) -> None:
        before, self._go_on = self._go_on, threading.Event()
        go_on, stands = self._go_on, threading.Event()

        def stand() -> None:
            stands.set()
            go_on.wait()

        self._engine.call(stand)
        # Only after the next stop is set.
        before.set()
        assert stands.wait(LIMIT_SECONDS)

    def run_round(self) -> None:
        """Run one round."""
        self._stop_before_the_next_round()

    def run_until(self, condition: Callable[[], object]) -> None:
        """Run rounds until a condition holds."""
        end = time.monotonic() + LIMIT_SECONDS
        while not condition():
            assert time.monotonic() < end, "the condition did not hold in time"
            self.run_round()

    def release(self) -> None:
        """Release the engine."""
        self._go_on.set()


@dataclass
class RunningServer:
    """A server and a client for it."""

    server: FlowServer
    client: httpx.Client
    data_dir: Path
    thread: threading.Thread

    def stop(self) -> None:
        """Stop the server as a signal does."""
        self.server.request_stop()
        self.thread.join(LIMIT_SECONDS)
        assert not self.thread.is_alive()

    def stop_while_held(self) -> None:
        """Stop the server while its engine is held; queued runs do not start."""
        self.server.request_stop()
        until(lambda: local_engine(self.server.service).status().state == "stopped")

    def wait_until_idle(self) -> None:
        """Wait until no run is queued or running."""

        def idle() -> bool:
            status = local_engine(self.server.service).status()
            return not status.queued_runs and not status.admitted_flow_steps

        until(idle)

    @contextmanager
    def engine_held(self) -> Iterator[HeldEngine]:
        """Hold the engine until the end of the block."""
        held = HeldEngine(local_engine(self.server.service))
        try:
            yield held
        finally:
            held.release()


@contextmanager
def serving(
    data_dir: Path,
    *,
    wait: bool = True,
    limits: ServiceLimits = DEFAULT_LIMITS,
    executor: Executor | None = None,
    **settings: Any,
) -> Iterator[RunningServer]:
    """Run a server on a free port until the end of the block."""
    settings = {
        "set": TINY,
        "drain_seconds": 0.2,
        **({} if "database_url" in settings else DATABASES.settings_of(data_dir)),
        **settings,
    }
    server = FlowServer(Settings(port=0, data_dir=data_dir, **settings), limits, executor)
    bound = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    with httpx.Client(base_url=url, timeout=LIMIT_SECONDS) as client:
        running = RunningServer(server, client, data_dir, thread)
        try:
            if wait:
                until(lambda: server.service.state is not ServerState.STARTING)
                assert server.service.state is ServerState.READY
            yield running
        finally:
            running.stop()
            # It has not done so if it could not start.
            bound.close()


def rows(count: int = 3, seed: int = 0) -> NDArray[np.float32]:
    """Return embeddings of the tiny model, [count, 8]."""
    generator = np.random.default_rng(seed)
    return (0.1 * generator.normal(size=(count, DIMENSION))).astype(np.float32)


def queue(client: httpx.Client, count: int, **fields: Any) -> str:
    """Queue a run of that many samples and return its id."""
    answer = client.post("/v1/runs", json={"embeddings": rows(count).tolist(), **fields})
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def queue_npy(client: httpx.Client, count: int, **query: Any) -> str:
    """Queue a run of that many samples, sent as ``.npy``, and return its id."""
    answer = client.post("/v1/runs", params=query, content=npy(rows(count)), headers=NPY)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def count_done(client: httpx.Client, run_id: str) -> int:
    """Return the number of samples of a run that have ended."""
    done: int = client.get(f"/v1/runs/{run_id}").json()["progress"]["samples_done"]
    return done


def wait_until_ended(client: httpx.Client, run_id: str) -> dict[str, Any]:
    """Wait for the end of a run and return it."""

    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
        return run if run["state"] in ("succeeded", "failed", "cancelled") else None

    found: dict[str, Any] = until(look)
    return found


def request_endless_run(server: RunningServer) -> socket.socket:
    """Send a request for an endless simulation and return its connection."""
    body = orjson.dumps({"embeddings": rows().tolist(), "options": ENDLESS})
    url = server.client.base_url
    assert url.port is not None
    connection = socket.create_connection((url.host, url.port), timeout=LIMIT_SECONDS)
    connection.sendall(
        b"POST /v1/simulate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    return connection


def cancel(client: httpx.Client, run_id: str) -> dict[str, Any]:
    """Cancel a run, wait for its end and return it."""
    answer = client.post(f"/v1/runs/{run_id}/cancel")
    # 202 where its end takes longer than a caller is kept waiting.
    assert answer.status_code == (200 if answer.json()["state"] == "cancelled" else 202)
    run = wait_until_ended(client, run_id)
    assert run["state"] == "cancelled"
    return run


def find_leftovers(data_dir: Path) -> list[str]:
    """Return the names of partial files and of the folders of runs."""
    parts = [path.name for path in data_dir.rglob("*.part")]
    return parts + [path.name for path in (data_dir / "runs").iterdir()]
