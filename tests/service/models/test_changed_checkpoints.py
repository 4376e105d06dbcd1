"""Models whose checkpoint, or whose name, no longer has what a run uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from energy_flow import checkpoint
from energy_flow.config.presets import preset
from energy_flow.simulation.flow_processor import FlowProcessor
from tests.support.experiments import change_state, put_dataset, start_experiment, wait_for_state
from tests.support.servers import CONFIG, TINY, queue, rows, serving, wait_until_ended

pytestmark = pytest.mark.slow

Damage = Callable[[Path], object]

BODY = {"embeddings": rows().tolist(), "model": "sent", "store": False}


def write_checkpoint(path: Path, **changes: Any) -> None:
    changes = {"model_seed": 42, **changes}
    checkpoint.save(FlowProcessor(preset("debug").replace({**CONFIG, **changes})), path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a checkpoint of a tiny model."""
    path = tmp_path_factory.mktemp("sound") / "model.safetensors"
    write_checkpoint(path)
    return path.read_bytes()


def put(client: httpx.Client, body: bytes, status: int) -> None:
    answer = client.put("/v1/models/sent", content=body)
    assert answer.status_code == status, answer.text


DAMAGES: dict[str, tuple[Damage, str]] = {
    "other weights": (lambda path: write_checkpoint(path, model_seed=7), "has changed"),
    # The weights do not depend on the depth.
    "another shape": (lambda path: write_checkpoint(path, lattice_depth=6), "has changed"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be read"),
    "missing": (Path.unlink, "cannot be read"),
}


@pytest.fixture(params=list(DAMAGES.values()), ids=list(DAMAGES))
def damage(request: pytest.FixtureRequest) -> tuple[Damage, str]:
    damage: tuple[Damage, str] = request.param
    return damage


def test_a_changed_checkpoint_is_refused_until_it_is_uploaded_again(
    tmp_path: Path, sound: bytes, damage: tuple[Damage, str]
) -> None:
    with serving(tmp_path) as server:
        client = server.client
        put(client, sound, 201)
        outputs = client.post("/v1/simulate", json=BODY).json()["outputs"]
        assert client.post("/v1/models/sent/unload").status_code == 200
        change, reason = damage
        change(tmp_path / "models" / "sent.safetensors")
        for url, body in (("/v1/simulate", BODY), ("/v1/models/sent/load", None)):
            refused = client.post(url, json=body)
            assert refused.status_code == 409, refused.text
            refusal = refused.json()
            assert reason in refusal["detail"]
            assert "'sent'" in refusal["detail"]
            assert "upload" in refusal["detail"]
            assert refusal["model"] == "sent"
        assert client.get("/v1/models/sent").json()["loaded"] is False
        if change is Path.unlink:
            content = client.get("/v1/models/sent", params={"format": "safetensors"})
            assert content.status_code == 409
        put(client, sound, 200)
        assert client.post("/v1/simulate", json=BODY).json()["outputs"] == outputs


def test_a_queued_run_fails_if_its_checkpoint_has_changed(
    tmp_path: Path, sound: bytes, damage: tuple[Damage, str]
) -> None:
    with serving(tmp_path) as first:
        put(first.client, sound, 201)
        # A held engine loads no model.
        assert first.client.post("/v1/models/sent/load").status_code == 200
        with first.engine_held():
            waiting = queue(first.client, 2, model="sent")
            first.stop_while_held()
    change, reason = damage
    change(tmp_path / "models" / "sent.safetensors")
    with serving(tmp_path) as second:
        client = second.client
        run = wait_until_ended(client, waiting)
        assert run["state"] == "failed"
        assert run["error"]["status"] == 409
        assert reason in run["error"]["detail"]
        assert "upload" in run["error"]["detail"]
        put(client, sound, 200)
        assert wait_until_ended(client, queue(client, 2, model="sent"))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("change", "reason"),
    [("model_seed=1", "other weights"), ("lattice_depth=6", "other fields")],
    ids=["other weights", "another shape"],
)
def test_a_run_fails_if_the_default_model_has_changed(
    tmp_path: Path, change: str, reason: str
) -> None:
    with serving(tmp_path) as first:
        done = queue(first.client, 2)
        wait_until_ended(first.client, done)
        with first.engine_held():
            waiting = queue(first.client, 2)
            first.stop_while_held()
    with serving(tmp_path, set=(*TINY, change)) as second:
        client = second.client
        run = wait_until_ended(client, waiting)
        assert run["state"] == "failed"
        assert run["error"]["status"] == 409
        assert reason in run["error"]["detail"]
        replayed = client.post(f"/v1/runs/{done}/replay", json={"sample": 0})
        assert replayed.status_code == 409
        assert reason in replayed.json()["detail"]
        assert wait_until_ended(client, queue(client, 2))["state"] == "succeeded"


def test_a_run_is_replayed_only_with_a_model_of_its_shape(tmp_path: Path, sound: bytes) -> None:
    deep = tmp_path / "deep.safetensors"
    write_checkpoint(deep, lattice_depth=6)
    with serving(tmp_path / "data") as server:
        client = server.client
        put(client, sound, 201)
        run_id = queue(client, 2, model="sent")
        wait_until_ended(client, run_id)
        assert client.delete("/v1/models/sent").status_code == 204
        put(client, deep.read_bytes(), 201)
        replayed = client.post(f"/v1/runs/{run_id}/replay", json={"sample": 0})
        assert replayed.status_code == 409
        assert replayed.json()["fields"] == ["lattice_depth"]
        assert "lattice_depth 6, not 4" in replayed.json()["detail"]
        assert client.delete("/v1/models/sent").status_code == 204
        put(client, sound, 201)
        replayed = client.post(f"/v1/runs/{run_id}/replay", json={"sample": 0})
        assert replayed.json()["agrees"] is True


def test_an_experiment_is_paused_until_its_checkpoint_is_uploaded_again(
    tmp_path: Path, sound: bytes, damage: tuple[Damage, str]
) -> None:
    with serving(tmp_path) as server:
        client = server.client
        put(client, sound, 201)
        put_dataset(client, "some", 2)
        assert client.post("/v1/models/sent/unload").status_code == 200
        change, reason = damage
        change(tmp_path / "models" / "sent.safetensors")
        start_experiment(client, name="waiting", dataset="some", model="sent")
        error = wait_for_state(client, "waiting", "paused")["error"]
        assert error["status"] == 409
        assert reason in error["detail"]
        assert client.delete("/v1/models/sent").status_code == 409
        put(client, sound, 200)
        change_state(client, "waiting", "resume")
        assert wait_for_state(client, "waiting", "succeeded", "failed")["state"] == "succeeded"
