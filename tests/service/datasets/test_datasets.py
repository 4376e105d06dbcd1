"""Datasets by name: stored once, whatever their format, and read back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from tests.support.bodies import npy, parquet
from tests.support.servers import RunningServer, rows

BYTES = {"accept": "application/octet-stream"}


def put(client: httpx.Client, name: str, body: bytes, file_format: str) -> httpx.Response:
    return client.put(f"/v1/datasets/{name}", params={"format": file_format}, content=body)


def jsonl(*lines: Any) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"


def files(server: RunningServer) -> list[str]:
    return sorted(path.name for path in (server.data_dir / "datasets").iterdir())


INPUTS = rows(20, seed=1)
LISTS = INPUTS.astype(float).tolist()
SAME: dict[str, tuple[str, bytes]] = {
    "float32": ("npy", npy(INPUTS)),
    "float64": ("npy", npy(INPUTS.astype(np.float64))),
    "big-endian": ("npy", npy(INPUTS.astype(">f8"))),
    "columns": ("npy", npy(np.asfortranarray(INPUTS))),
    "embeddings": ("safetensors", save({"embeddings": INPUTS})),
    "inputs": ("safetensors", save({"inputs": INPUTS, "other": np.zeros(3)})),
    "lists": ("parquet", parquet(pa.table({"embedding": LISTS, "text": ["x"] * 20}))),
    "fixed": (
        "parquet",
        parquet(pa.table({"inputs": pa.array(list(INPUTS), pa.list_(pa.float32(), 8))})),
    ),
    "objects": ("jsonl", jsonl(*({"embedding": row, "id": 1} for row in LISTS))),
    "bare": ("jsonl", jsonl(*LISTS)),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_same_numbers_are_the_same_dataset(server: RunningServer, kind: str) -> None:
    client = server.client
    known = put(client, "float32", npy(INPUTS), "npy").json()
    before = files(server)
    file_format, body = SAME[kind]
    answer = put(client, f"kind-{kind}", body, file_format)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/datasets/kind-{kind}"
    reported = answer.json()
    assert reported["digest"] == known["digest"]
    assert (reported["rows"], reported["dim"], reported["targets_dim"]) == (20, 8, None)
    assert files(server) == before
    again = put(client, f"kind-{kind}", body, file_format)
    assert (again.status_code, again.json()) == (200, reported)


def test_the_digest_is_that_of_the_file(client: httpx.Client) -> None:
    targets = np.arange(40, dtype=np.float16).reshape(20, 2)
    reported = put(
        client, "both", save({"inputs": INPUTS, "targets": targets}), "safetensors"
    ).json()
    assert reported["targets_dim"] == 2
    content = client.get("/v1/datasets/both", headers=BYTES).content
    assert hashlib.sha256(content).hexdigest() == reported["digest"]
    assert len(content) == reported["bytes"]
    held: dict[str, NDArray[Any]] = load(content)
    assert held["inputs"].dtype == held["targets"].dtype == np.float32
    np.testing.assert_array_equal(held["inputs"], INPUTS)
    np.testing.assert_array_equal(held["targets"], targets)
    assert put(client, "again", content, "safetensors").json()["digest"] == reported["digest"]


def test_a_used_name_keeps_its_content(server: RunningServer) -> None:
    client = server.client
    reported = put(client, "used", npy(rows(3, seed=2)), "npy").json()
    before = files(server)
    refused = put(client, "used", npy(rows(3, seed=3)), "npy")
    assert refused.status_code == 409
    assert refused.json()["digest"] == reported["digest"]
    assert {**client.get("/v1/datasets/used").json(), "source": None} == reported
    assert files(server) == before


def test_the_file_is_removed_with_its_last_name(server: RunningServer) -> None:
    client = server.client
    body = npy(rows(3, seed=4))
    before = client.get("/v1/system").json()["store"]
    for name in ("one", "two"):
        reported = put(client, name, body, "npy").json()
    digest = reported["digest"]
    store = client.get("/v1/system").json()["store"]
    assert store["datasets"] == before["datasets"] + 2
    assert store["datasets_bytes"] == before["datasets_bytes"] + reported["bytes"]
    assert client.delete("/v1/datasets/one").status_code == 204
    assert client.get("/v1/datasets/one").status_code == 404
    assert client.get("/v1/datasets/two", headers=BYTES).status_code == 200
    assert client.delete("/v1/datasets/two").status_code == 204
    assert f"{digest}.safetensors" not in files(server)
    assert client.delete("/v1/datasets/two").status_code == 404


def test_a_list_continues_at_a_cursor(client: httpx.Client, tmp_path: Path) -> None:
    for index in range(3):
        put(client, f"listed-{index}", npy(rows(index + 1, seed=5)), "npy")
    names: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        page = client.get("/v1/datasets", params=query).json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names[:3] == ["listed-2", "listed-1", "listed-0"]
    assert len(names) == len(set(names))


def test_a_lost_file_can_be_uploaded_again(server: RunningServer) -> None:
    client = server.client
    body = npy(rows(5, seed=6))
    digest = put(client, "lost", body, "npy").json()["digest"]
    path = server.data_dir / "datasets" / f"{digest}.safetensors"
    sound = path.read_bytes()
    path.write_bytes(b"damaged")
    assert put(client, "lost", body, "npy").status_code == 200
    assert path.read_bytes() == sound
    path.unlink()
    assert put(client, "found", body, "npy").status_code == 201
    assert client.get("/v1/datasets/lost", headers=BYTES).content == sound
