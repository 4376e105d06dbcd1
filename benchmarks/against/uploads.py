"""Bodies of 1 MiB: a simulation's rows, and a dataset."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from benchmarks.against.comparison import Comparison, show_comparisons
from benchmarks.against.server import StartedServer, serving, started_servers
from benchmarks.against.turns import order_of
from benchmarks.against.version import Version
from benchmarks.options import Findings, Options
from benchmarks.tables import say

ROUNDS = 6
UPLOADS = 20
WARM_UPLOADS = 5
TIMEOUT_SECONDS = 60

ROWS, DIMENSION = 512, 512
"""1 MiB of float32."""
TINY = (
    f"embedding_dim={DIMENSION}",
    "lattice_width=2",
    "lattice_height=2",
    "lattice_depth=2",
    "mapper_hidden_dim=16",
    "carrier_hidden_size=16",
    "carrier_num_layers=1",
    "trace.capacity=0",
)
"""A model that simulates the rows in less time than they take to arrive."""

NPY = {"content-type": "application/x-npy"}

Upload = Callable[[httpx.Client, int, bytes], httpx.Response]
"""Sends a body to a server, under a number that is new to it."""


def simulate(client: httpx.Client, _: int, body: bytes) -> httpx.Response:
    """Have the rows simulated; the run is not kept."""
    return client.post("/v1/simulate", params={"store": "false"}, content=body, headers=NPY)


def put_dataset(client: httpx.Client, number: int, body: bytes) -> httpx.Response:
    """Store the rows under a new name."""
    return client.put(f"/v1/datasets/rows-{number}", content=body, headers=NPY)


KINDS: Mapping[str, Upload] = {
    "POST /v1/simulate, .npy": simulate,
    "PUT /v1/datasets/{name}, .npy": put_dataset,
}


def body_of(number: int) -> bytes:
    """Return an ``.npy`` file, another one for every number."""
    rows = np.random.default_rng(number).normal(scale=0.05, size=(ROWS, DIMENSION))
    file = io.BytesIO()
    np.save(file, rows.astype(np.float32))
    return file.getvalue()


def measure(versions: Mapping[str, Version], options: Options) -> Findings:
    """Send both kinds of body to servers of both versions, new servers every round."""
    rounds = options.rounds(ROUNDS)
    found: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in versions} for kind in KINDS
    }
    with TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        for turn in range(rounds):
            say(f"uploads: round {turn + 1} of {rounds}")
            with started_servers(versions, Path(folder), options.device, turn, *TINY) as servers:
                for kind, upload in KINDS.items():
                    for name, milliseconds in _round(upload, servers, turn).items():
                        found[kind][name].append(milliseconds)
    comparisons = {kind: Comparison("ms", of) for kind, of in found.items()}
    show_comparisons("Bodies of 1 MiB, p50", comparisons)
    config = {"rounds": rounds, "uploads": 2 * UPLOADS, "model": TINY}
    return Findings(config, {kind: one.to_dict() for kind, one in comparisons.items()})


def _round(upload: Upload, servers: Mapping[str, StartedServer], turn: int) -> dict[str, float]:
    """Measure in the order A B B A; both measurements of a version are one value."""
    latencies: dict[str, list[float]] = {name: [] for name in servers}
    numbers = dict.fromkeys(servers, 0)
    for visit, name in enumerate((*order_of(turn), *order_of(turn), *order_of(turn + 1))):
        warming_up = visit < len(servers)
        with (
            serving(servers[name]) as server,
            httpx.Client(base_url=server.url, timeout=TIMEOUT_SECONDS) as client,
        ):
            for _ in range(WARM_UPLOADS if warming_up else UPLOADS):
                numbers[name] += 1
                body = body_of(numbers[name])
                began = time.perf_counter()
                upload(client, numbers[name], body).raise_for_status()
                if not warming_up:
                    latencies[name].append(time.perf_counter() - began)
    return {name: 1e3 * statistics.median(of) for name, of in latencies.items()}
