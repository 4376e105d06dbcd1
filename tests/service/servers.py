"""Servers for tests: real ones on real sockets, in a thread of this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from energy_flow.config import parse_assignments
from service.lifecycle import State
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
        self.thread.join(30)
        assert not self.thread.is_alive()

    @contextmanager
    def engine_held(self) -> Iterator[None]:
        """Holds the engine between two steps: what is queued meanwhile stays queued."""
        held, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            go_on.wait()

        self.server.service.engine.call(hold)
        try:
            assert held.wait(60)
            yield
        finally:
            go_on.set()


@contextmanager
def serving(data_dir: Path, *, wait: bool = True, **settings: Any) -> Iterator[RunningServer]:
    """A server on a free port until the block ends."""
    settings = {"set": TINY, "drain_seconds": 0.2, **settings}
    server = FlowServer(Settings(port=0, data_dir=data_dir, **settings))
    bound = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    with httpx.Client(base_url=url, timeout=60) as client:
        running = RunningServer(server, client, data_dir, thread)
        try:
            if wait:
                until(lambda: server.service.state is not State.STARTING)
                assert server.service.state is State.READY
            yield running
        finally:
            running.stop()


def until(condition: Any, seconds: float = 30.0) -> Any:
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


def ended(client: httpx.Client, run_id: str) -> dict[str, Any]:
    """Waits for the end of a run; the run."""

    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
        return run if run["state"] in ("succeeded", "failed", "cancelled") else None

    found: dict[str, Any] = until(look)
    return found


def leftovers(data_dir: Path) -> list[str]:
    """Files that are not finished, and run folders."""
    parts = [path.name for path in data_dir.rglob("*.part")]
    return parts + [path.name for path in (data_dir / "runs").iterdir()]
