"""``open_inference``: the overhead of a request by the Open Inference Protocol.

Measures: requests with 64 × 768 numbers in several forms, and a scrape of the metrics. Unit:
milliseconds that a request takes above its simulation. Baseline: the simulation itself, as the
server reports it, and ``/v1/simulate``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import tritonclient.http as triton
from numpy.typing import NDArray

from benchmarks.comparison import estimate
from benchmarks.options import Findings, Options
from benchmarks.server_process import energy_flow_server
from benchmarks.tables import show

ROWS = 64
DIMENSION = 768
SMALL = (
    "lattice_width=4",
    "lattice_height=4",
    "lattice_depth=4",
    "mapper_hidden_dim=64",
    "carrier_hidden_size=16",
    "carrier_num_layers=1",
)
"""A model with a simulation so short that its noise does not hide the overhead."""

ROUNDS = 40
SCRAPES = 40

Call = Callable[[], tuple[float, int]]
"""Sends a request; returns the milliseconds of its simulation and the bytes of the answer."""


def measure(options: Options) -> Findings:
    """Send the same embeddings in every form, in turns, and scrape the metrics.

    Args:
        options: how to measure.
    """
    rows = 0.05 * np.random.default_rng(0).normal(size=(ROWS, DIMENSION))
    embeddings = rows.astype(np.float32)
    rounds = options.rounds(ROUNDS)
    with energy_flow_server(options.device, f"embedding_dim={DIMENSION}", *SMALL) as server:
        address = server.url.removeprefix("http://")
        with (
            triton.InferenceServerClient(address) as client,
            httpx.Client(base_url=server.url, timeout=60) as http,
        ):
            calls: dict[str, Call] = {
                "binary": _inference(client, embeddings, binary=True),
                "binary, not kept": _inference(client, embeddings, binary=True, store=False),
                "binary, gzip": _inference(client, embeddings, binary=True, compression="gzip"),
                "JSON": _inference(client, embeddings, binary=False),
                "/v1/simulate": _simulation(http, embeddings),
            }
            figures = _in_turns(calls, rounds)
            scrape = _scrape(http)
    show(
        f"One request with {ROWS} × {DIMENSION} numbers, and its time above the simulation",
        ("form", "round trip, ms", "simulation, ms", "above it, ms", "95 % interval"),
        [
            (
                name,
                one["round_trip_ms"],
                one["simulation_ms"],
                one["above_ms"]["median"],
                f"[{one['above_ms']['low']:.2f}, {one['above_ms']['high']:.2f}]",
            )
            for name, one in figures.items()
        ],
        "Medians over rounds. above it: round trip minus simulation, request by request; with the "
        "wait for the engine and, if the run is stored, the writing. A scrape of the metrics takes "
        f"{scrape['ms']:.1f} ms.",
    )
    config = {
        "model": SMALL,
        "rows": ROWS,
        "dimension": DIMENSION,
        "rounds": rounds,
        "device": options.device,
    }
    return Findings(config, {"requests": figures, "scrape": scrape})


def _in_turns(calls: dict[str, Call], rounds: int) -> dict[str, Any]:
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    sizes: dict[str, int] = {}
    for number in range(rounds + 2):
        for name, call in calls.items():
            began = time.perf_counter()
            simulation_ms, sizes[name] = call()
            round_trip_ms = (time.perf_counter() - began) * 1e3
            # The first two rounds warm up.
            if number > 1:
                taken[name].append((round_trip_ms, simulation_ms))
    return {
        name: {
            "round_trip_ms": round(statistics.median(trip for trip, _ in pairs), 3),
            "simulation_ms": round(statistics.median(own for _, own in pairs), 3),
            "above_ms": estimate([trip - own for trip, own in pairs]).to_dict(),
            "answer_bytes": sizes[name],
        }
        for name, pairs in taken.items()
    }


def _inference(
    client: triton.InferenceServerClient,
    embeddings: NDArray[np.float32],
    *,
    binary: bool,
    store: bool = True,
    compression: str | None = None,
) -> Call:
    def call() -> tuple[float, int]:
        tensor = triton.InferInput("embeddings", list(embeddings.shape), "FP32")
        tensor.set_data_from_numpy(embeddings, binary_data=binary)
        result = client.infer(
            "energy_flow",
            [tensor],
            outputs=[triton.InferRequestedOutput("surface", binary_data=binary)],
            parameters={"store": store},
            request_compression_algorithm=compression,
        )
        surface = result.as_numpy("surface")
        return float(result.get_response()["parameters"]["compute_ms"]), surface.nbytes

    return call


def _simulation(http: httpx.Client, embeddings: NDArray[np.float32]) -> Call:
    def call() -> tuple[float, int]:
        request = {"embeddings": embeddings.tolist(), "trace": {"inline": 0}}
        answer = http.post("/v1/simulate", json=request).raise_for_status()
        document = answer.json()
        np.array(document["outputs"]["surface"], dtype=np.float32)
        return float(document["timing"]["compute_ms"]), len(answer.content)

    return call


def _scrape(http: httpx.Client) -> dict[str, Any]:
    """Return the time of a scrape, and the share of a CPU that one scrape a second needs."""

    def cpu_seconds() -> float:
        text = http.get("/metrics").text
        line = next(one for one in text.splitlines() if one.startswith("process_cpu_seconds_total"))
        return float(line.split()[1])

    first, began = cpu_seconds(), time.perf_counter()
    for _ in range(SCRAPES):
        answer = http.get("/metrics").raise_for_status()
    seconds = time.perf_counter() - began
    cpu = cpu_seconds() - first
    return {
        "ms": round(seconds / SCRAPES * 1e3, 3),
        "cpu_share_at_one_a_second": round(cpu / (SCRAPES + 1), 5),
        "bytes": len(answer.content),
    }
