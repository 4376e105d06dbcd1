"""``uploads``: requests with large bodies.

Measures: 1 MiB of embeddings that are simulated by a tiny model, and datasets of 1 MiB as ``.npy``
and as ``.parquet``. Unit: milliseconds of a request. Baseline: the other version.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.against.comparison import Comparison, show_comparisons
from benchmarks.against.server import StartedServer, serving, started_servers
from benchmarks.against.turns import order_of
from benchmarks.against.version import Version
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line

ROUNDS = 6
UPLOADS = 20
WARM_UPLOADS = 5
TIMEOUT_SECONDS = 60

ROWS, DIMENSION = 512, 512
"""Shape of 1 MiB of float32."""
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
"""A model that simulates the rows in less time than their transfer takes."""

NPY = {"content-type": "application/x-npy"}
PARQUET = {"content-type": "application/vnd.apache.parquet"}

Upload = Callable[[httpx.Client, int, bytes], httpx.Response]
"""Sends a body to a server, with a number that the server has not seen."""


def simulate(client: httpx.Client, _: int, body: bytes) -> httpx.Response:
    """Send rows to simulate; the run is not stored.

    Args:
        client: of the server.
        body: an ``.npy`` file.
    """
    return client.post("/v1/simulate", params={"store": "false"}, content=body, headers=NPY)


def put_dataset(client: httpx.Client, number: int, body: bytes) -> httpx.Response:
    """Send rows as a new dataset.

    Args:
        client: of the server.
        number: part of its name.
        body: an ``.npy`` file.
    """
    return client.put(f"/v1/datasets/rows-{number}", content=body, headers=NPY)


def put_parquet(client: httpx.Client, number: int, body: bytes) -> httpx.Response:
    """Send rows as a new dataset.

    Args:
        client: of the server.
        number: part of its name.
        body: a ``.parquet`` file.
    """
    return client.put(f"/v1/datasets/columns-{number}", content=body, headers=PARQUET)


def make_npy(number: int) -> bytes:
    """Return an ``.npy`` file.

    Args:
        number: seed of its content.
    """
    file = io.BytesIO()
    np.save(file, _make_rows(number))
    return file.getvalue()


def make_parquet(number: int) -> bytes:
    """Return a ``.parquet`` file.

    Args:
        number: seed of its content.
    """
    flat = pa.array(_make_rows(number).ravel())
    file = io.BytesIO()
    pq.write_table(
        pa.table({"inputs": pa.FixedSizeListArray.from_arrays(flat, DIMENSION)}),
        file,
        use_dictionary=False,
    )
    return file.getvalue()


def _make_rows(number: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(number).normal(scale=0.05, size=(ROWS, DIMENSION))
    return rows.astype(np.float32)


KINDS: Mapping[str, tuple[Upload, Callable[[int], bytes]]] = {
    "POST /v1/simulate, .npy": (simulate, make_npy),
    "PUT /v1/datasets/{name}, .npy": (put_dataset, make_npy),
    "PUT /v1/datasets/{name}, .parquet": (put_parquet, make_parquet),
}


def measure(versions: Mapping[str, Version], options: Options) -> Findings:
    """Send all kinds of requests to servers of both versions, new servers in every round.

    Args:
        versions: this version and the other, by name.
        options: how to measure.
    """
    rounds = options.rounds(ROUNDS)
    found: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in versions} for kind in KINDS
    }
    with TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        for turn in range(rounds):
            print_line(f"uploads: round {turn + 1} of {rounds}")
            with started_servers(versions, Path(folder), options.device, turn, *TINY) as servers:
                for kind, (upload, make_body) in KINDS.items():
                    for name, milliseconds in _round(upload, make_body, servers, turn).items():
                        found[kind][name].append(milliseconds)
    comparisons = {kind: Comparison("ms", of) for kind, of in found.items()}
    show_comparisons("Requests with bodies of 1 MiB, p50", comparisons)
    config = {"rounds": rounds, "uploads": 2 * UPLOADS, "model": TINY}
    return Findings(config, {kind: one.to_dict() for kind, one in comparisons.items()})


def _round(
    upload: Upload,
    make_body: Callable[[int], bytes],
    servers: Mapping[str, StartedServer],
    turn: int,
) -> dict[str, float]:
    """Measure in the order A B B A; the two measurements of a version make one value."""
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
                body = make_body(numbers[name])
                began = time.perf_counter()
                upload(client, numbers[name], body).raise_for_status()
                if not warming_up:
                    latencies[name].append(time.perf_counter() - began)
    return {name: 1e3 * statistics.median(of) for name, of in latencies.items()}
