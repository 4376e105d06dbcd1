"""Limits of all datasets and of all models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from safetensors.numpy import load, save

from tests.support.bodies import NPY, npy
from tests.support.experiments import put_dataset
from tests.support.pairs import put_pairs
from tests.support.servers import CONFIG, rows, serving

FILE_BYTES = 512 + 10 * 8 * 4
"""Size of a dataset of ten rows."""


def assert_limit(answer: httpx.Response, what: str, limit: int) -> None:
    assert answer.status_code == 507, answer.text
    refusal = answer.json()
    assert refusal["type"] == "urn:energy-flow:problem:storage-limit-reached"
    assert refusal["limit_bytes"] == limit
    assert refusal["stored_bytes"] + refusal["needed_bytes"] > limit
    assert (
        f"delete {what}, or start the server with a larger --max-{what}-bytes"
        in (refusal["detail"])
    )


def find_metric(client: httpx.Client, name: str) -> float | None:
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"energy_flow_{name} "):
            return float(line.rpartition(" ")[2])
    return None


def test_datasets_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    limit = 2 * FILE_BYTES
    with serving(tmp_path, max_datasets_bytes=limit) as server:
        client = server.client
        put_dataset(client, "first", 10)
        second = npy(rows(10, seed=1))
        assert client.put("/v1/datasets/b", content=second, headers=NPY).status_code == 201
        third = npy(rows(1, seed=2))
        assert_limit(client.put("/v1/datasets/c", content=third, headers=NPY), "datasets", limit)
        assert len(list((tmp_path / "datasets").iterdir())) == 2
        # The same content takes no room, under its own name or another one.
        assert client.put("/v1/datasets/b", content=second, headers=NPY).status_code == 200
        assert client.put("/v1/datasets/again", content=second, headers=NPY).status_code == 201
        store = client.get("/v1/system").json()["store"]
        assert (store["datasets_bytes"], store["max_datasets_bytes"]) == (limit, limit)
        assert find_metric(client, "datasets_bytes") == limit
        assert find_metric(client, "datasets_limit_bytes") == limit
        assert client.delete("/v1/datasets/first").status_code == 204
        assert client.put("/v1/datasets/c", content=third, headers=NPY).status_code == 201


def test_models_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    with serving(tmp_path / "without") as server:
        client = server.client
        made = client.post("/v1/models", json={"name": "one", "config": CONFIG})
        assert made.status_code == 201
        content = client.get("/v1/models/one?format=safetensors").content
        store = client.get("/v1/system").json()["store"]
        assert (store["models_bytes"], store["max_models_bytes"]) == (len(content), None)
        assert find_metric(client, "models_limit_bytes") is None
    limit = len(content) + 100
    with serving(tmp_path / "with", max_models_bytes=limit) as server:
        client = server.client
        assert client.put("/v1/models/one", content=content).status_code == 201
        other = {"name": "two", "config": {**CONFIG, "model_seed": 5}}
        assert_limit(client.post("/v1/models", json=other), "models", limit)
        assert_limit(client.put("/v1/models/two", content=content), "models", limit)
        assert client.get("/v1/models/two").status_code == 404
        assert client.put("/v1/models/one", content=content).status_code == 200
        put_pairs(client, "pairs", 20)
        training = {
            "name": "trained",
            "kind": "train",
            "dataset": "pairs",
            "train": {"losses": {"cosine": {"weight": 1.0}}, "batch.rows": 8, "length.steps": 2},
        }
        assert_limit(client.post("/v1/experiments", json=training), "models", limit)
        assert find_metric(client, "models_bytes") == len(content)
        assert find_metric(client, "models_limit_bytes") == limit
        assert client.delete("/v1/models/one").status_code == 204
        assert client.post("/v1/models", json=other).status_code == 201


def with_junk(content: bytes) -> bytes:
    """Return a checkpoint with the same weights and more metadata."""
    length = int.from_bytes(content[:8], "little")
    header = orjson.loads(content[8 : 8 + length])
    header["__metadata__"]["junk"] = "x" * 100_000
    text = orjson.dumps(header)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def with_wide_numbers(content: bytes) -> bytes:
    """Return a checkpoint with the same weights as float64."""
    length = int.from_bytes(content[:8], "little")
    metadata = orjson.loads(content[8 : 8 + length])["__metadata__"]
    wide = {name: array.astype(np.float64) for name, array in load(content).items()}
    return save(wide, metadata)


@pytest.mark.parametrize("enlarge", [with_junk, with_wide_numbers])
def test_a_model_that_is_sent_again_does_not_grow(
    tmp_path: Path, enlarge: Callable[[bytes], bytes]
) -> None:
    with serving(tmp_path) as server:
        made = server.client.post("/v1/models", json={"name": "one", "config": CONFIG})
        assert made.status_code == 201
        content = server.client.get("/v1/models/one?format=safetensors").content
    limit = len(content) + 100
    path = tmp_path / "models" / "one.safetensors"
    large = enlarge(content)
    with serving(tmp_path, max_models_bytes=limit) as server:
        client = server.client
        assert client.put("/v1/models/one", content=large).status_code == 200
        assert path.read_bytes() == content
        # A damaged file is restored, but not by one beyond the limit.
        path.write_bytes(content[:100])
        assert_limit(client.put("/v1/models/one", content=large), "models", limit)
        assert client.put("/v1/models/one", content=content).status_code == 200
        assert path.read_bytes() == content
    with serving(tmp_path, max_models_bytes=len(large)) as server:
        client = server.client
        path.unlink()
        assert client.put("/v1/models/one", content=large).status_code == 200
        assert client.get("/v1/system").json()["store"]["models_bytes"] == len(large)
        assert path.read_bytes() == large


@pytest.mark.parametrize("name", ["max_datasets_bytes", "max_models_bytes"])
def test_a_limit_of_nothing_refuses_everything(tmp_path: Path, name: str) -> None:
    limits: dict[str, Any] = {name: 0}
    with serving(tmp_path, **limits) as server:
        if name == "max_datasets_bytes":
            answer = server.client.put("/v1/datasets/d", content=npy(rows(1)), headers=NPY)
        else:
            answer = server.client.post("/v1/models", json={"name": "m", "config": CONFIG})
        assert_limit(answer, name.split("_")[1], 0)
