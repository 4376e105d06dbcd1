"""``forms``: the cost of the form in which arrays are sent.

Measures: ``/v1/simulate`` by the project's client, whose arrays are bytes. Unit: milliseconds of a
request with its simulation, and their ratio. Baseline: the same request as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.comparison import time_in_turns
from benchmarks.open_inference import DIMENSION, SMALL
from benchmarks.options import Findings, Options
from benchmarks.server_process import energy_flow_server
from benchmarks.tables import show
from energy_flow.client.connection import read_file, read_reply, request_arguments
from energy_flow.client.simulation import Simulation, read_simulation, simulate

ROWS = (1, 8, 64, 512)
INLINE = (0, 10_000)
ROUNDS = 40


def measure(options: Options) -> Findings:
    """Measure batches of several sizes in both forms, in turns.

    Args:
        options: how to measure.
    """
    rounds = options.rounds(ROUNDS)
    rows = 0.05 * np.random.default_rng(0).normal(size=(max(ROWS), DIMENSION))
    embeddings = rows.astype(np.float32)
    figures: dict[str, Any] = {}
    with (
        energy_flow_server(options.device, f"embedding_dim={DIMENSION}", *SMALL) as server,
        httpx.Client(base_url=server.url, timeout=None) as http,
    ):
        for inline in INLINE:
            for count in ROWS:
                part = embeddings[:count]
                fields = {"trace": {"inline": inline}, "store": False}
                forms = {
                    "JSON": _as_json(http, part, fields),
                    "bytes": _as_bytes(http, part, fields),
                }
                times = time_in_turns(forms, rounds)
                ratio = times.ratio("bytes", "JSON")
                figures[f"{count} rows, {inline} records"] = {
                    "json_ms": round(1e3 * times.median("JSON"), 3),
                    "bytes_ms": round(1e3 * times.median("bytes"), 3),
                    "ratio": ratio.to_dict(),
                    "text": str(ratio),
                }
    show(
        f"A request with rows of {DIMENSION} numbers, with its simulation",
        ("batch, most records inline", "JSON, ms", "bytes, ms", "bytes / JSON"),
        [(name, one["json_ms"], one["bytes_ms"], one.pop("text")) for name, one in figures.items()],
        "The ratio is the median over rounds with a 95 % interval. Runs are not stored.",
    )
    config = {"model": SMALL, "dimension": DIMENSION, "rounds": rounds, "device": options.device}
    return Findings(config, figures)


def _as_json(
    http: httpx.Client, rows: NDArray[np.float32], fields: dict[str, Any]
) -> Callable[[], Simulation]:
    def call() -> Simulation:
        request = {"embeddings": rows, **fields}
        answer = http.post(
            "/v1/simulate",
            content=orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY),
            headers={"content-type": "application/json"},
        )
        return read_simulation(read_reply(answer.raise_for_status()))

    return call


def _as_bytes(
    http: httpx.Client, rows: NDArray[np.float32], fields: dict[str, Any]
) -> Callable[[], Simulation]:
    def call() -> Simulation:
        answer = http.request(**request_arguments(simulate(rows, **fields), read_file))
        return read_simulation(read_reply(answer.raise_for_status()))

    return call
