"""Names that differ only in case, or that Windows reserves, are refused for new things only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from safetensors.numpy import save

from tests.support.bodies import NPY, npy
from tests.support.servers import CONFIG, rows, serving

Create = Callable[[httpx.Client, str], httpx.Response]


def put_dataset(client: httpx.Client, name: str) -> httpx.Response:
    return client.put(f"/v1/datasets/{name}", content=npy(rows(4)), headers=NPY)


def create_model(client: httpx.Client, name: str) -> httpx.Response:
    return client.post("/v1/models", json={"name": name, "config": CONFIG})


def put_model(client: httpx.Client, name: str) -> httpx.Response:
    file = client.get("/v1/models/default?format=safetensors").content
    return client.put(f"/v1/models/{name}", content=file)


def create_experiment(client: httpx.Client, name: str) -> httpx.Response:
    put_dataset(client, "four")
    return client.post("/v1/experiments", json={"name": name, "dataset": "four"})


CREATE: list[tuple[str, Create]] = [
    ("datasets", put_dataset),
    ("models", create_model),
    ("models", put_model),
    ("experiments", create_experiment),
]


@pytest.mark.parametrize(("kind", "create"), CREATE)
def test_a_name_that_differs_only_in_case_is_refused(
    client: httpx.Client, kind: str, create: Create
) -> None:
    name = f"Case-{create.__name__}"
    assert create(client, name).status_code == 201
    for other in (name.lower(), name.upper()):
        refused = create(client, other)
        assert refused.status_code == 409
        assert refused.json()["name"] == name
        assert client.get(f"/v1/{kind}/{other}").status_code == 404
    assert client.get(f"/v1/{kind}/{name}").status_code == 200


def test_no_model_can_be_called_like_the_default_model(client: httpx.Client) -> None:
    for create in (create_model, put_model):
        refused = create(client, "Default")
        assert refused.status_code == 409
        assert refused.json()["name"] == "default"


@pytest.mark.parametrize("name", ["con", "NUL", "Com1", "lpt9.txt", "aux.tar.gz", "ends."])
@pytest.mark.parametrize(("kind", "create"), CREATE)
def test_a_reserved_name_is_refused(
    client: httpx.Client, kind: str, create: Create, name: str
) -> None:
    refused = create(client, name)
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["loc"], error["got"]) == (["name"], name)
    assert client.get(f"/v1/{kind}/{name}").status_code == 404


@pytest.mark.parametrize("name", ["console", "com10", "a.con", "co", "nul-1", "x.y"])
def test_similar_names_are_allowed(client: httpx.Client, name: str) -> None:
    assert put_dataset(client, name).status_code == 201
    assert client.delete(f"/v1/datasets/{name}").status_code == 204


def test_a_training_whose_model_would_differ_only_in_case_is_refused(client: httpx.Client) -> None:
    assert create_model(client, "Trained-Once").status_code == 201
    pairs = save({"inputs": rows(16), "targets": rows(16, seed=1)})
    client.put("/v1/datasets/sixteen?format=safetensors", content=pairs)
    fields = {
        "name": "trained-once",
        "kind": "train",
        "dataset": "sixteen",
        "train": {"losses.cosine.weight": 1.0, "length.steps": 2, "batch.rows": 4},
    }
    refused = client.post("/v1/experiments", json=fields)
    assert refused.status_code == 409, refused.text
    assert refused.json()["name"] == "Trained-Once"
    assert client.get("/v1/experiments/trained-once").status_code == 404


def test_existing_names_can_still_be_used(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for number in range(3):
            assert create_model(server.client, f"m{number}").status_code == 201
            assert put_dataset(server.client, f"d{number}").status_code == 201
    names = ("con", "Twin", "twin")
    with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as index, index:
        for number, name in enumerate(names):
            for table, kind in (("models", "m"), ("datasets", "d")):
                index.execute(
                    f"UPDATE {table} SET name = ? WHERE name = ?", (name, f"{kind}{number}")
                )
            old = tmp_path / "models" / f"m{number}.safetensors"
            old.rename(tmp_path / "models" / f"{name}.safetensors")
    with serving(tmp_path) as server:
        client = server.client
        for name in names:
            assert client.get(f"/v1/datasets/{name}").status_code == 200
            # Sent again, as to restore a file.
            assert put_dataset(client, name).status_code == 200
            body = {"embeddings": rows().tolist(), "model": name}
            assert client.post("/v1/simulate", json=body).status_code == 200
            file = client.get(f"/v1/models/{name}?format=safetensors").content
            assert client.put(f"/v1/models/{name}", content=file).status_code == 200
