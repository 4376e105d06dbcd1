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

from energy_flow.config.flow_config import parse_assignments
from energy_flow.engine import Engine
from service.lifespan import State
from service.serving import FlowServer
from service.settings import Settings

TINY = (
    "lattice_width=4",
    "lattice_height=4",
    "lattice_depth=4",
    "embedding_dim=8",
    "mapper_hidden_dim=16",
    "carrier_hidden_size=16",
    "carrier_num_layers=1",
)
"""Changes to ``debug`` that make a model which is made and run in milliseconds."""

CONFIG = parse_assignments(TINY)
"""The same as a request has them."""

DIMENSION = 8

LIMIT_SECONDS = 300.0
"""After which something is taken never to come; far beyond what it takes on a busy machine."""

ENDLESS = {
    "max_steps": 10**6,
    "projection_age": 10**6,
    "convergence.enabled": False,
    "noise_std": 0.001,
    "spawn.mode": "off",
    "displacement_scale": 1e-9,
}
"""Options of a run that goes on until somebody ends it."""


class HeldEngine:
    """An engine that stands still between two of its rounds.

    In a round, samples enter where there is room and all flows take a step. What is queued
    meanwhile stays queued, and what is at work stays where it is.
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
        # Only now that it knows where to stop.
        before.set()
        assert stands.wait(LIMIT_SECONDS)

    def go_round(self) -> None:
        """Lets it go round once."""
        self._stop_before_the_next_round()

    def go_until(self, condition: Callable[[], object]) -> None:
        """Lets it go round until a condition holds."""
        end = time.monotonic() + LIMIT_SECONDS
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            self.go_round()

    def let_go(self) -> None:
        """It goes on as it does."""
        self._go_on.set()


@dataclass
class RunningServer:
    """A server and a client for it."""

    server: FlowServer
    client: httpx.Client
    data_dir: Path
    thread: threading.Thread

    def stop(self) -> None:
        """Ends it as a signal would."""
        self.server.ask_to_stop()
        self.thread.join(LIMIT_SECONDS)
        assert not self.thread.is_alive()

    def stop_while_held(self) -> None:
        """Asks it to stop while its engine is held; what has not started by then never will."""
        self.server.ask_to_stop()
        until(lambda: self.server.service.engine.status().state == "stopped")

    def wait_until_idle(self) -> None:
        """Waits until no run waits or is at work."""

        def idle() -> bool:
            status = self.server.service.engine.status()
            return not status.queued_runs and not status.admitted_flow_steps

        until(idle)

    @contextmanager
    def engine_held(self) -> Iterator[HeldEngine]:
        """Holds the engine until the block ends."""
        held = HeldEngine(self.server.service.engine)
        try:
            yield held
        finally:
            held.let_go()


@contextmanager
def serving(data_dir: Path, *, wait: bool = True, **settings: Any) -> Iterator[RunningServer]:
    """A server on a free port until the block ends."""
    settings = {"set": TINY, "drain_seconds": 0.2, **settings}
    server = FlowServer(Settings(port=0, data_dir=data_dir, **settings))
    bound = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    with httpx.Client(base_url=url, timeout=LIMIT_SECONDS) as client:
        running = RunningServer(server, client, data_dir, thread)
        try:
            if wait:
                until(lambda: server.service.state is not State.STARTING)
                assert server.service.state is State.READY
            yield running
        finally:
            running.stop()


def until(condition: Any, seconds: float = LIMIT_SECONDS) -> Any:
    """Waits for a condition and returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


def rows(count: int = 3, seed: int = 0) -> NDArray[np.float32]:
    """Embeddings that the tiny model takes."""
    generator = np.random.default_rng(seed)
    return (0.1 * generator.normal(size=(count, DIMENSION))).astype(np.float32)


def npy(array: NDArray[Any]) -> bytes:
    """An array as a ``.npy`` body."""
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def queue(client: httpx.Client, count: int, **fields: Any) -> str:
    """Queues a run of that many samples; the text of its id."""
    answer = client.post("/v1/runs", json={"embeddings": rows(count).tolist(), **fields})
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def queue_npy(client: httpx.Client, count: int, **query: Any) -> str:
    """Queues a run of that many samples, sent as they are; the text of its id."""
    headers = {"content-type": "application/x-npy"}
    answer = client.post("/v1/runs", params=query, content=npy(rows(count)), headers=headers)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def samples_done(client: httpx.Client, run_id: str) -> int:
    """How many samples of a run have ended."""
    done: int = client.get(f"/v1/runs/{run_id}").json()["progress"]["samples_done"]
    return done


def ended(client: httpx.Client, run_id: str) -> dict[str, Any]:
    """Waits for the end of a run; the run."""

    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
        return run if run["state"] in ("succeeded", "failed", "cancelled") else None

    found: dict[str, Any] = until(look)
    return found


def ask_for_an_endless_run(server: RunningServer) -> socket.socket:
    """Asks for a simulation that never ends; the connection, for hanging up."""
    body = orjson.dumps({"embeddings": rows().tolist(), "options": ENDLESS})
    url = server.client.base_url
    assert url.port is not None
    connection = socket.create_connection((url.host, url.port), timeout=LIMIT_SECONDS)
    connection.sendall(
        b"POST /v1/simulate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    return connection


def cancel(client: httpx.Client, run_id: str) -> dict[str, Any]:
    """Cancels a run and waits for its end; the run."""
    answer = client.post(f"/v1/runs/{run_id}/cancel")
    # 202 where its end takes longer than a caller is kept waiting.
    assert answer.status_code == (200 if answer.json()["state"] == "cancelled" else 202)
    run = ended(client, run_id)
    assert run["state"] == "cancelled"
    return run


def leftovers(data_dir: Path) -> list[str]:
    """Files that are not finished, and run folders."""
    parts = [path.name for path in data_dir.rglob("*.part")]
    return parts + [path.name for path in (data_dir / "runs").iterdir()]
