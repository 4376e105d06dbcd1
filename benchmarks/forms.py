"""The forms in which a simulation travels: the client's arrays as bytes against JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from benchmarks.comparison import in_turns
from benchmarks.open_inference import DIMENSION, SMALL
from benchmarks.options import Findings, Options
from benchmarks.server_process import energy_flow_server
from benchmarks.tables import show
from energy_flow.client import calls
from energy_flow.client.connection import reply_of, request_arguments
from energy_flow.client.results import Simulation, read_simulation

ROWS = (1, 8, 64, 512)
INLINE = (0, 10_000)
ROUNDS = 40


def measure(options: Options) -> Findings:
    """Simulates batches of several sizes by either form, in turns."""
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
                times = in_turns(forms, rounds)
                ratio = times.ratio("bytes", "JSON")
                figures[f"{count} rows, {inline} records"] = {
                    "json_ms": round(1e3 * times.median("JSON"), 3),
                    "bytes_ms": round(1e3 * times.median("bytes"), 3),
                    "ratio": ratio.to_dict(),
                    "text": str(ratio),
                }
    show(
        f"A simulation of rows of {DIMENSION} numbers, there and back, simulation included",
        ("batch, records inline at most", "JSON, ms", "bytes, ms", "bytes over JSON"),
        [(name, one["json_ms"], one["bytes_ms"], one.pop("text")) for name, one in figures.items()],
        "The ratio is the median over rounds, with its 95 % interval; nothing is kept.",
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
        return read_simulation(reply_of(answer.raise_for_status()))

    return call


def _as_bytes(
    http: httpx.Client, rows: NDArray[np.float32], fields: dict[str, Any]
) -> Callable[[], Simulation]:
    """As the project's client does it."""

    def call() -> Simulation:
        answer = http.request(**request_arguments(calls.simulate(rows, **fields), None))
        return read_simulation(reply_of(answer.raise_for_status()))

    return call
