"""Makes models, datasets and runs of every kind on a server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import save

from tests.support.bodies import npy
from tests.support.waits import until

WIDTH = 12
"""embedding_dim of the models."""

CONFIG = {
    "lattice_width": 6,
    "lattice_height": 5,
    "lattice_depth": 4,
    "embedding_dim": WIDTH,
    "mapper_hidden_dim": 16,
    "neuron_hidden_dim": 8,
    "neuron_output_dim": 8,
    "carrier_hidden_size": 16,
    "carrier_num_layers": 2,
    "trace.capacity": 64,
}
"""Of the default model, beside the preset."""

FLAGS = (
    *("--max-body-bytes", "60000", "--max-upload-bytes", "100000"),
    *("--drain-seconds", "0.2", "--device", "cpu"),
)
"""Of ``energy-flow serve``; small limits, so that small bodies are beyond them."""

SETS = tuple(word for field, value in CONFIG.items() for word in ("--set", f"{field}={value}"))
"""More flags, which make the default model."""

ENDLESS = {
    "max_steps": 10**6,
    "projection_age": 10**6,
    "convergence.enabled": False,
    "noise_std": 0.001,
    "spawn.mode": "off",
    "displacement_scale": 1e-9,
}
"""Options of a run that goes on until somebody ends it."""

ENDED = ("succeeded", "failed", "cancelled")
NPY = {"Content-Type": "application/x-npy"}
ALL_OUTPUTS = ["surface", "planes", "hits", "embedding"]

MODELS: dict[str, dict[str, Any]] = {
    "half": {
        "preset": "debug",
        "config": {**CONFIG, "precision": "bfloat16", "carrier_num_layers": 1},
        "model_seed": 3,
    },
    "other": {
        "preset": "experiment",
        "config": {**CONFIG, "carrier_num_layers": 1, "trace": {"capacity": 16}},
        "model_seed": 5,
    },
    "doomed": {"config": {**CONFIG, "carrier_num_layers": 1}, "model_seed": 6},
}
MODELS["other"]["config"].pop("trace.capacity")

RUNS: dict[str, dict[str, Any]] = {
    "latest": {
        "outputs": ALL_OUTPUTS,
        "trace": {"capacity": 12, "keep": "latest"},
        "seed": 7,
        "sample_keys": [4, 9, 2],
    },
    "earliest": {"outputs": ["surface", "hits"], "trace": {"capacity": 12, "keep": "earliest"}},
    "lossless": {"trace": {"capacity": 8, "keep": "lossless"}, "seed": 7},
    "kinds": {"trace": {"kinds": ["reflect", "terminate"]}},
    "untraced": {"outputs": ["embedding"], "trace": {"capacity": 0}},
    "percentile": {
        "options": {"spawn": {"mode": "percentile", "percentile": 80.0, "max_children": 2}},
        "seed": 1,
    },
    "legacy": {
        "options": {
            "aggregation_mode": "legacy",
            "boundary": "clamp",
            "min_displacement": 0.3,
            "spawn.mode": "off",
        }
    },
    "long": {
        "options": {
            "max_steps": 7,
            "projection_age": 7,
            "convergence": {"enabled": False},
            "spawn": {"threshold": 0.25},
        }
    },
    "crowded": {"options": {"max_active_flows": 31, "spawn.threshold": 0.2}},
    "deterministic": {"options": {"deterministic": True, "spawn.mode": "off"}},
    "bfloat16": {"options": {"precision": "bfloat16"}, "outputs": ALL_OUTPUTS},
    "half": {"model": "half", "outputs": ALL_OUTPUTS, "seed": 2},
    "other": {"model": "other", "outputs": ["surface", "embedding"]},
    "orphan": {"model": "doomed"},
}
"""Queued runs, with embeddings of their own."""

DATASET_RUNS: dict[str, dict[str, Any]] = {
    "of-a-dataset": {"dataset": "parquet", "rows": [2, 5], "outputs": ["surface", "hits"]},
    "of-all-rows": {"dataset": "jsonl", "seed": 11},
    "of-a-lost-dataset": {"dataset": "lost", "rows": [1, 3]},
}


def rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Embeddings."""
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


def dataset_files() -> Iterator[tuple[str, str, bytes]]:
    """Name, format and content of a dataset of each format, with targets and without."""
    yield "npy", "npy", npy(rows(4, 20).astype(np.float64))
    yield "safetensors", "safetensors", save({"embeddings": rows(5, 21)})
    pairs = {"inputs": rows(40, 22), "targets": rows(40, 23)}
    yield "pairs", "safetensors", save(pairs)
    halves = {"inputs": rows(3, 24).astype(np.float16), "targets": rows(3, 25).astype(np.float16)}
    yield "halves", "safetensors", save(halves)
    yield "bfloat16", "safetensors", _bfloat16(rows(3, 33))
    yield "parquet", "parquet", _parquet(embedding=rows(6, 26))
    yield "parquet-targets", "parquet", _parquet(input=rows(3, 27), target=rows(3, 28))
    yield "jsonl", "jsonl", _jsonl([row.tolist() for row in rows(3, 29)])
    entries = [{"input": row.tolist(), "target": row[::-1].tolist()} for row in rows(3, 30)]
    yield "jsonl-targets", "jsonl", _jsonl(entries)
    yield "lost", "npy", npy(rows(4, 31))
    yield "trials", "npy", npy(rows(8, 32))
    # The same numbers again: one file under two names.
    yield "again", "npy", npy(rows(8, 32))


def put_datasets(client: httpx.Client) -> None:
    """Send the datasets."""
    for name, kind, content in dataset_files():
        sent = client.put(f"/v1/datasets/{name}", params={"format": kind}, content=content)
        assert sent.status_code == 201, sent.text


def make_models(client: httpx.Client) -> None:
    """Make the models, each with an idempotency key."""
    for name, fields in MODELS.items():
        made = client.post(
            "/v1/models",
            json={"name": name, **fields},
            headers={"Idempotency-Key": f"model-{name}"},
        )
        assert made.status_code == 201, made.text


def make_runs(client: httpx.Client) -> dict[str, str]:
    """Make the runs; return their ids by name."""
    made: dict[str, str] = {}
    for number, (name, fields) in enumerate(RUNS.items()):
        body = {"embeddings": rows(3, number).tolist(), **fields}
        made[name] = _queued(client, name, json=body)
    for name, fields in DATASET_RUNS.items():
        made[name] = _queued(client, name, json=fields)
    made["npy"] = _queued(client, "npy", params={"seed": 3}, content=npy(rows(2, 40)), headers=NPY)
    asked = json.dumps({"outputs": ["hits"], "seed": 4}).encode()
    tensors = save({"embeddings": rows(2, 41), "request": np.frombuffer(asked, np.uint8)})
    binary = {"Content-Type": "application/octet-stream"}
    made["tensors"] = _queued(client, "tensors", content=tensors, headers=binary)
    answer = client.post("/v1/simulate", json={"embeddings": rows(2, 42).tolist()})
    assert answer.status_code == 200, answer.text
    made["simulated"] = answer.json()["run_id"]
    made["inferred"] = _inferred(client)
    for name, run_id in made.items():
        assert ended(client, run_id)["state"] == "succeeded", name
    return {**made, **_make_runs_that_do_not_succeed(client)}


def forget_some(client: httpx.Client) -> None:
    """Remove a model, and a dataset, that runs have used."""
    for path in ("/v1/models/doomed", "/v1/datasets/lost"):
        assert client.delete(path).status_code == 204


def ended(client: httpx.Client, run_id: str) -> dict[str, Any]:
    """Wait for the end of a run; return it."""

    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
        return run if run["state"] in ENDED else None

    found: dict[str, Any] = until(look)
    return found


def _make_runs_that_do_not_succeed(client: httpx.Client) -> dict[str, str]:
    made: dict[str, str] = {}
    body: dict[str, Any] = {"embeddings": rows(2).tolist(), "options": ENDLESS}
    made["cancelled"] = _queued(client, "cancelled", json=body)
    until(lambda: client.get(f"/v1/runs/{made['cancelled']}").json()["state"] == "running")
    assert client.post(f"/v1/runs/{made['cancelled']}/cancel").status_code in (200, 202)
    assert ended(client, made["cancelled"])["state"] == "cancelled"
    made["failed"] = _queued(client, "failed", json={**body, "timeout_ms": 300})
    assert ended(client, made["failed"])["state"] == "failed"
    return made


def _queued(client: httpx.Client, name: str, **request: Any) -> str:
    headers = {"Idempotency-Key": f"run-{name}", **request.pop("headers", {})}
    answer = client.post("/v1/runs", headers=headers, **request)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def _inferred(client: httpx.Client) -> str:
    data = rows(2, 43)
    tensor = {"name": "embeddings", "shape": [2, WIDTH], "datatype": "FP32"}
    body = {"inputs": [{**tensor, "data": data.ravel().tolist()}], "parameters": {"seed": 5}}
    answer = client.post("/v2/models/energy_flow/infer", json=body)
    assert answer.status_code == 200, answer.text
    run_id: str = answer.json()["parameters"]["run_id"]
    return run_id


def _bfloat16(array: NDArray[np.float32]) -> bytes:
    """A ``.safetensors`` file with the upper halves of the numbers, which NumPy has no type for."""
    data = (array.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    tensor = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": [0, len(data)]}
    header = json.dumps({"embeddings": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + data


def _parquet(**columns: NDArray[np.float32]) -> bytes:
    lists = {name: pa.array(list(column)) for name, column in columns.items()}
    sink = io.BytesIO()
    pq.write_table(pa.table(lists), sink)
    return sink.getvalue()


def _jsonl(entries: list[Any]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
