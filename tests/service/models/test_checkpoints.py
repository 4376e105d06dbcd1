"""Uploads of checkpoints: stored if they are sound, else refused with the reason."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load, save

from energy_flow import checkpoint
from energy_flow.config.presets import preset
from energy_flow.simulation.flow_processor import FlowProcessor
from tests.support.servers import (
    CONFIG,
    ENDLESS,
    RunningServer,
    cancel,
    queue,
    rows,
    serving,
    wait_until_ended,
)

Tensors = dict[str, Any]
Metadata = dict[str, str]

BYTES = {"accept": "application/octet-stream"}


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a checkpoint of the tiny model with other weights than the default model."""
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    processor = FlowProcessor(preset("debug").replace({**CONFIG, "model_seed": 42}))
    processor.trained = True
    checkpoint.save(processor, path)
    return path.read_bytes()


def put(client: httpx.Client, name: str, body: bytes | Iterator[bytes]) -> httpx.Response:
    return client.put(f"/v1/models/{name}", content=body)


def files(server: RunningServer) -> list[str]:
    return sorted(path.name for path in (server.data_dir / "models").iterdir())


def test_uploaded_weights_are_those_that_run(
    server: RunningServer, sound: bytes, tmp_path: Path
) -> None:
    client = server.client
    answer = put(client, "sent", sound)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == "/v1/models/sent"
    reported = answer.json()
    assert reported == client.get("/v1/models/sent").json()
    assert (reported["trained"], reported["loaded"], reported["coord_version"]) == (True, False, 2)
    path = tmp_path / "model.safetensors"
    path.write_bytes(sound)
    processor = checkpoint.load(path)
    assert reported["digest"] == processor.digest()
    body = {"embeddings": rows().tolist(), "model": "sent", "seed": 2}
    simulated = client.post("/v1/simulate", json=body).json()
    assert simulated["model"]["digest"] == reported["digest"]
    surface = np.array(simulated["outputs"]["surface"], dtype=np.float32)
    np.testing.assert_array_equal(surface, processor.simulate(rows(), seed=2).outputs["surface"])
    run = wait_until_ended(client, queue(client, 2, model="sent"))
    assert run["model"]["digest"] == reported["digest"]
    assert client.get("/v1/models/sent", headers=BYTES).content == sound


def test_the_same_upload_makes_no_other_model(server: RunningServer, sound: bytes) -> None:
    client = server.client
    first = put(client, "twice", sound)
    before = files(server)
    again = put(client, "twice", sound)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    default = client.get("/v1/models/default", headers=BYTES).content
    refused = put(client, "twice", default)
    assert refused.status_code == 409
    assert refused.json()["digest"] == first.json()["digest"]
    assert put(client, "default", sound).status_code == 409
    assert put(client, "default", default).status_code == 200
    assert [name for name in files(server) if not name.startswith(".default")] == [
        name for name in before if not name.startswith(".default")
    ]


class Trap:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def _torch_file(path: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": Trap(path)}, buffer)
    return buffer.getvalue()


def _changed(change: Callable[[Tensors, Metadata], object]) -> Callable[[bytes, Path], bytes]:
    """Return a function that changes tensors or metadata of the valid checkpoint."""

    def changed(sound: bytes, folder: Path) -> bytes:
        path = folder / "sound.safetensors"
        path.write_bytes(sound)
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata())
        tensors: Tensors = dict(load(sound))
        change(tensors, metadata)
        return save(tensors, metadata)

    return changed


def _set_first(tensors: Tensors, value: float) -> None:
    name = min(tensors)
    tensors[name] = tensors[name].copy()
    tensors[name].flat[0] = value


def _configured(**fields: Any) -> Callable[[Tensors, Metadata], object]:
    def change(_tensors: Tensors, metadata: Metadata) -> None:
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), **fields})

    return change


def _header(length: int, text: bytes) -> bytes:
    return length.to_bytes(8, "little") + text


HOLE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'

MOST = {"max_active_flows": 2**31 - 1, "max_steps": 1000, "trace": {"keep": "lossless"}}

WRONG: dict[str, tuple[Callable[[bytes, Path], bytes], int, str]] = {
    "empty": (lambda _s, _p: b"", 400, "header"),
    "text": (lambda _s, _p: b"these are no weights", 400, "safetensors"),
    "pickle": (lambda _s, p: pickle.dumps(Trap(p / "trap")), 400, "pickle"),
    "torch": (lambda _s, p: _torch_file(p / "trap"), 400, "pickle"),
    "truncated": (lambda s, _p: s[:-100], 400, "states"),
    "in the header": (lambda s, _p: s[:50], 400, "header"),
    "too long": (lambda s, _p: s + b"x", 400, "states"),
    "no json": (lambda _s, _p: _header(4, b"{???"), 400, "JSON"),
    "huge header": (lambda _s, _p: _header(2**40, b"{}"), 400, "header"),
    "overlapping": (
        lambda _s, _p: _header(
            64, b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'.ljust(64)
        ),
        400,
        "follow",
    ),
    "no metadata": (_changed(lambda _t, m: m.clear()), 422, "format"),
    "version": (_changed(lambda _t, m: m.update(coord_version="1")), 422, "coord_version"),
    "config": (_changed(_configured(lattice_width="wide")), 422, "lattice_width"),
    "missing": (_changed(lambda t, _m: t.pop(min(t))), 422, "is missing"),
    "unknown": (_changed(lambda t, _m: t.update(extra=np.zeros(2))), 422, "extra"),
    "shape": (_changed(lambda t, _m: t.update({min(t): np.zeros((3, 3))})), 422, "shape"),
    "integers": (
        _changed(lambda t, _m: t.update({min(t): np.zeros_like(t[min(t)], dtype=np.int32)})),
        422,
        "float32",
    ),
    "NaN": (_changed(lambda t, _m: _set_first(t, np.nan)), 422, "not finite"),
    "infinity": (_changed(lambda t, _m: _set_first(t, -np.inf)), 422, "not finite"),
    "wider": (_changed(_configured(embedding_dim=2**20, mapper_hidden_dim=2**20)), 422, "shape"),
    # Its weights are small, and one sample of it would take more than any machine has.
    "too big": (_changed(_configured(**MOST)), 422, "one sample needs"),
}


@pytest.mark.parametrize("declared", [True, False], ids=["length reported", "chunked"])
@pytest.mark.parametrize("wrong", WRONG)
def test_faulty_uploads_are_refused_and_removed(
    server: RunningServer, sound: bytes, tmp_path: Path, wrong: str, declared: bool
) -> None:
    client = server.client
    before = files(server), client.get("/v1/models").json()
    make, status, reason = WRONG[wrong]
    body = make(sound, tmp_path)
    answer = put(client, "wrong", body if declared else iter([body[:70], body[70:]]))
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert reason in answer.json()["detail"]
    assert (files(server), client.get("/v1/models").json()) == before
    assert client.get("/v1/models/wrong").status_code == 404
    assert not (tmp_path / "trap").exists()


def test_every_fault_of_a_checkpoint_is_reported(
    client: httpx.Client, sound: bytes, tmp_path: Path
) -> None:
    def change(tensors: Tensors, _metadata: Metadata) -> None:
        first, second, *_ = sorted(tensors)
        del tensors[first]
        tensors[second] = np.zeros((2, 2, 2), dtype=np.float32)
        tensors["more"] = np.zeros(1, dtype=np.float32)

    names = sorted(load(sound))
    answer = put(client, "faulty", _changed(change)(sound, tmp_path))
    assert answer.status_code == 422
    reported = {error["loc"][0] for error in answer.json()["errors"]}
    assert reported == {names[0], names[1], "more"}


def test_names_that_no_model_can_have(server: RunningServer, sound: bytes) -> None:
    client = server.client
    before = files(server)
    for name in ("energy_flow", ".hidden", "a b", "x" * 65):
        answer = put(client, name, sound)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["loc"] == ["name"]
    reserved = client.post("/v1/models", json={"name": "energy_flow", "config": CONFIG})
    assert reserved.status_code == 422
    assert "/v2" in reserved.json()["detail"]
    typed = client.put("/v1/models/x", content=b"{}", headers={"content-type": "application/json"})
    assert typed.status_code == 415
    assert files(server) == before


def test_a_model_in_use_is_not_deleted(server: RunningServer, sound: bytes) -> None:
    client = server.client
    put(client, "used", sound)
    run_id = queue(client, 3, model="used", options=ENDLESS)
    refused = client.delete("/v1/models/used")
    assert refused.status_code == 409
    assert refused.json()["users"] == [f"run {run_id}"]
    cancel(client, run_id)
    kept = queue(client, 2, model="used")
    wait_until_ended(client, kept)
    assert client.delete("/v1/models/used").status_code == 204
    assert "used.safetensors" not in files(server)
    assert client.delete("/v1/models/used").status_code == 404
    assert (
        client.post("/v1/runs", json={"embeddings": rows().tolist(), "model": "used"}).status_code
        == 404
    )
    replayed = client.post(f"/v1/runs/{kept}/replay", json={"sample": 0})
    assert replayed.status_code == 409
    assert "no longer exists" in replayed.json()["detail"]
    # Sent again, they are the same weights, and the run can be replayed.
    put(client, "used", sound)
    assert client.post(f"/v1/runs/{kept}/replay", json={"sample": 0}).json()["agrees"] is True
    assert client.delete("/v1/models/default").status_code == 409


def test_a_model_is_unloaded_and_loaded_again(server: RunningServer, sound: bytes) -> None:
    client = server.client
    put(client, "resting", sound)
    body = {"embeddings": rows().tolist(), "model": "resting", "store": False}
    outputs = client.post("/v1/simulate", json=body).json()["outputs"]
    for _ in range(2):
        assert client.post("/v1/models/resting/unload").json()["loaded"] is False
    assert client.get("/v1/models/resting").json()["loaded"] is False
    for _ in range(2):
        assert client.post("/v1/models/resting/load").json()["loaded"] is True
    client.post("/v1/models/resting/unload")
    assert client.post("/v1/simulate", json=body).json()["outputs"] == outputs
    assert client.get("/v1/models/resting").json()["loaded"] is True
    assert client.post("/v1/models/default/unload").status_code == 409
    for action in ("load", "unload"):
        assert client.post(f"/v1/models/nobody/{action}").status_code == 404


def test_an_uploaded_model_exists_after_a_restart(tmp_path: Path, sound: bytes) -> None:
    with serving(tmp_path) as first:
        reported = put(first.client, "sent", sound).json()
        put(first.client, "doomed", sound)
        first.client.delete("/v1/models/doomed")
    with serving(tmp_path) as second:
        assert second.client.get("/v1/models/sent").json() == {**reported, "loaded": False}
        assert second.client.get("/v1/models/doomed").status_code == 404
        assert files(second) == ["sent.safetensors"]
        assert put(second.client, "sent", sound).status_code == 200
