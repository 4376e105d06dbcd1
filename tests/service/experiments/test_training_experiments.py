"""Trainings as experiments: the same model after every interruption."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.numpy import save

from energy_flow.testing import TINY_FIELDS
from tests.support.bodies import NPY, npy
from tests.support.command_line import Caller
from tests.support.damage import DAMAGES, Damage, damaged, flip, truncate
from tests.support.experiments import (
    ENDED,
    change_state,
    experiment_server,
    put_dataset,
    read_experiment,
    read_trials,
    start_experiment,
    wait_for_state,
    wait_until_ended,
    wait_until_quiet,
)
from tests.support.live_server import live_server
from tests.support.servers import rows
from tests.support.waits import LIMIT_SECONDS, until

pytestmark = pytest.mark.slow

PAIRS = 48
STEPS = 40
TRAINING: dict[str, Any] = {
    "kind": "train",
    "dataset": "pairs",
    "options": {"max_steps": 3, "noise_std": 0.1},
    "train": {
        "losses": {"cosine": {"weight": 1.0}},
        "data.held_out": 0.25,
        "batch.rows": 8,
        "length.steps": STEPS,
        "validation.every": 10,
        "checkpoints.every": 5,
        "optimiser.learning_rate": 0.01,
    },
}


def put_pairs(client: httpx.Client) -> None:
    body = save({"inputs": rows(PAIRS), "targets": rows(PAIRS, seed=2)})
    answer = client.put("/v1/datasets/pairs", params={"format": "safetensors"}, content=body)
    assert answer.status_code in (200, 201), answer.text


def digest(client: httpx.Client, model: str) -> str:
    answer = client.get(f"/v1/models/{model}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["trained"] is True
    reported: str = answer.json()["digest"]
    return reported


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of the weights of an undisturbed training."""
    with experiment_server(tmp_path_factory.mktemp("undisturbed")) as server:
        put_pairs(server.client)
        start_experiment(server.client, name="trained", **TRAINING)
        assert wait_until_ended(server.client, "trained")["state"] == "succeeded"
        return digest(server.client, "trained")


def at_work(client: httpx.Client, step: int) -> bool:
    """Return whether so many optimiser steps are done."""
    (trial,) = read_trials(client, "trained")
    return bool(trial["samples_done"] >= PAIRS * step / STEPS)


def test_its_best_model_is_served(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        put_pairs(client)
        start_experiment(
            client,
            name="swept",
            sweep={"grid": {"optimiser.weight_decay": [0.0, 0.1]}},
            seeds=[0, 1],
            max_parallel=2,
            **TRAINING,
        )
        experiment = wait_until_ended(client, "swept")
        assert experiment["state"] == "succeeded", experiment
        assert experiment["progress"]["samples_done"] == 4 * PAIRS
        assert [text for text in experiment["warnings"] if "about 12 rows are held out" in text]
        made = read_trials(client, "swept")
        assert [trial["makes_model"] for trial in made] == [f"swept-{n}" for n in range(4)]
        assert len({digest(client, trial["makes_model"]) for trial in made}) == 4
        for trial in made:
            metrics = trial["metrics"]
            assert metrics["step"] == metrics["steps"] == STEPS
            assert 0 < metrics["loss"] < 2
            assert trial["timing"]["flow_steps_per_second"] is None
            assert metrics["held_out"]["rows"] == PAIRS // 4
        answer = client.post("/v1/simulate?model=swept-1", content=npy(rows(2)), headers=NPY)
        assert answer.status_code == 200
        assert answer.json()["model"]["trained"] is True
        points = client.get("/v1/experiments/swept/results?of=points").json()
        assert [row["seeds"] for row in points["rows"]] == [2, 2]
        assert "held_out.cosine.mean" in points["columns"]


def test_targets_have_the_width_of_the_models_outputs(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        body = save({"inputs": rows(PAIRS), "targets": rows(PAIRS, seed=2)[:, :3]})
        client.put("/v1/datasets/pairs", params={"format": "safetensors"}, content=body)
        config = {**TINY_FIELDS, "output_dim": 3}
        model = {"name": "narrow", "preset": "debug", "config": config}
        assert client.post("/v1/models", json=model).status_code == 201
        train = {**TRAINING["train"], "losses": {"r2": {}}, "early_stopping.metric": "r2"}

        def refused(**changes: Any) -> list[list[str]]:
            wanted = {**TRAINING, "name": "trained", "model": "narrow", "train": train, **changes}
            answer = client.post("/v1/experiments", json=wanted)
            assert answer.status_code == 422, answer.text
            return [fault["loc"] for fault in answer.json()["errors"]]

        assert refused(model="default") == [["dataset"]]
        unsuitable = {**train, "losses": {"surface": {}, "mse": {"on": "planes"}}}
        assert refused(train=unsuitable) == [
            ["train", "losses", "mse", "on"],
            ["train", "losses", "surface"],
        ]
        start_experiment(client, name="trained", **{**TRAINING, "model": "narrow", "train": train})
        assert wait_until_ended(client, "trained")["state"] == "succeeded"
        (trial,) = read_trials(client, "trained")
        assert trial["metrics"]["held_out"]["r2"] <= 1
        curves = client.get(f"{trial['url']}/curves").json()["curves"]
        assert (
            max(value for value in curves["held_out/r2"] if value is not None)
            == (trial["metrics"]["held_out"]["r2"])
        )
        answer = client.post("/v1/simulate?model=trained", content=npy(rows(2)), headers=NPY)
        assert answer.status_code == 200


def test_a_background_is_scheduled_for_models_that_have_one(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        put_pairs(client)
        schedule = {"background": {"start": 1.0, "warm_up": 0.5}}
        wanted = {**TRAINING, "train": {**TRAINING["train"], "schedule": schedule}}
        answer = client.post("/v1/experiments", json={"name": "trained", **wanted})
        assert answer.status_code == 422
        (fault,) = answer.json()["errors"]
        assert fault["loc"] == ["train", "schedule", "background"]
        options = {**TRAINING["options"], "aggregation_mode": "splat"}
        start_experiment(client, name="trained", **{**wanted, "options": options})
        assert wait_until_ended(client, "trained")["state"] == "succeeded"
        (trial,) = read_trials(client, "trained")
        curves = client.get(f"{trial['url']}/curves").json()["curves"]
        backgrounds = [value for value in curves["train/background"] if value is not None]
        assert 0.9 < backgrounds[0] < 1.0
        assert backgrounds[-1] == pytest.approx(0.1)


def test_curves_are_those_of_the_training(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        put_pairs(client)
        start_experiment(client, name="trained", **TRAINING)
        wait_until_ended(client, "trained")
        url = "/v1/experiments/trained/trials/0/curves"
        curves = client.get(url).json()["curves"]
        assert {len(column) for column in curves.values()} == {len(curves["step"])}
        losses = [value for value in curves["train/loss"] if value is not None]
        assert len(losses) == STEPS
        measured = [value for value in curves["held_out/cosine"] if value is not None]
        assert len(measured) == STEPS // 10
        few = client.get(url, params={"points": 4}).json()["curves"]
        assert sum(value is not None for value in few["train/loss"]) == 4
        put_dataset(client, "some", 4)
        start_experiment(client, name="other", dataset="some")
        assert client.get("/v1/experiments/other/trials/0/curves").status_code == 404
        trial = read_trials(client, "trained")[0]
        for what in ("trace", "outputs/surface", "memory"):
            assert client.get(f"{trial['run_url']}/{what}").status_code == 404


def test_a_pause_and_a_restart_change_nothing(tmp_path: Path, undisturbed: str) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        put_pairs(client)
        with server.engine_held() as engine:
            start_experiment(client, name="trained", **TRAINING)
            engine.run_until(lambda: at_work(client, 7))
            assert read_experiment(client, "trained")["progress"]["seconds_left"] > 0
            change_state(client, "trained", "pause")
        wait_until_quiet(client, "trained")
        (trial,) = read_trials(client, "trained")
        assert trial["state"] == "paused"
        assert read_experiment(client, "trained")["state"] == "paused"
    with experiment_server(tmp_path) as server:
        client = server.client
        assert read_experiment(client, "trained")["state"] == "paused"
        change_state(client, "trained", "resume")
        assert wait_until_ended(client, "trained")["state"] == "succeeded"
        assert digest(client, "trained") == undisturbed


# An index in PostgreSQL belongs to the place of its data directory in these tests.
@pytest.mark.sqlite
def test_a_training_continues_in_a_moved_data_directory(tmp_path: Path, undisturbed: str) -> None:
    with experiment_server(tmp_path / "before") as server:
        client = server.client
        put_pairs(client)
        with server.engine_held() as engine:
            start_experiment(client, name="trained", **TRAINING)
            engine.run_until(lambda: at_work(client, 7))
            change_state(client, "trained", "pause")
        assert wait_until_quiet(client, "trained")["progress"]["samples_done"] > 0
    (tmp_path / "before").rename(tmp_path / "after")
    with experiment_server(tmp_path / "after") as server:
        client = server.client
        change_state(client, "trained", "resume")
        experiment = wait_until_ended(client, "trained")
        assert experiment["state"] == "succeeded", experiment["error"]
        assert digest(client, "trained") == undisturbed


def test_a_damaged_snapshot_pauses_it(tmp_path: Path, undisturbed: str) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        put_pairs(client)
        with server.engine_held() as engine:
            start_experiment(client, name="trained", **TRAINING)
            engine.run_until(lambda: at_work(client, 17))
            change_state(client, "trained", "pause")
        wait_until_quiet(client, "trained")
        (folder,) = tmp_path.glob("runs/*/training")
        snapshot = max((folder / "checkpoints").iterdir())
        for path in (*sorted(snapshot.iterdir()), folder / "events.jsonl"):
            for damage in DAMAGES.values():
                # Earlier versions stored no digests; events that are lost are no longer needed.
                if damage is Path.unlink and path.name in ("digests.json", "events.jsonl"):
                    continue
                if damage is not flip and path.name == "events.jsonl":
                    continue
                with damaged(path, partial(damage, **({"place": 0.0} if damage is flip else {}))):
                    change_state(client, "trained", "resume")
                    paused = wait_for_state(client, "trained", "paused", *ENDED)
                    wait_until_quiet(client, "trained")
                assert paused["state"] == "paused", (path, damage, paused)
                assert paused["error"]["status"] == 409
                assert paused["error"]["file"] == path.relative_to(tmp_path).as_posix()
                assert "restore it" in paused["error"]["detail"]
        assert change_state(client, "trained", "resume")["error"] is None
        assert wait_until_ended(client, "trained")["state"] == "succeeded"
        assert digest(client, "trained") == undisturbed


@pytest.mark.parametrize("damage", [truncate, partial(flip, place=0.9)], ids=["cut", "flipped"])
def test_a_damaged_best_model_pauses_it(
    tmp_path: Path, damage: Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first validation has the best model, which is needed again at the end.
    fields = {**TRAINING["train"], "early_stopping.min_improvement": 10}
    with experiment_server(tmp_path) as server:
        client = server.client
        put_pairs(client)
        with server.engine_held() as engine:
            start_experiment(client, name="trained", **{**TRAINING, "train": fields})
            engine.run_until(lambda: at_work(client, 35))
            (best,) = tmp_path.glob("runs/*/training/model.safetensors")
            sound = best.read_bytes()
            damage(best)
        error = wait_for_state(client, "trained", "paused", *ENDED)["error"]
        file = best.relative_to(tmp_path).as_posix()
        assert (error["status"], error["file"]) == (409, file)
        wait_until_quiet(client, "trained")
        verify = ("data", "verify", "--data-dir", tmp_path)
        assert Caller(capsys)(*verify).stdout.startswith(f"{file}: it has changed")
        best.write_bytes(sound)
        assert Caller(capsys)(*verify).returncode == 0
        assert change_state(client, "trained", "resume")["error"] is None
        assert wait_until_ended(client, "trained")["state"] == "succeeded"


def test_kills_do_not_change_results(tmp_path: Path, undisturbed: str) -> None:
    for step in (3, 12, 26):
        with (
            live_server(tmp_path) as server,
            httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client,
        ):
            if step == 3:
                put_pairs(client)
                start_experiment(client, name="trained", **TRAINING)
            until(partial(at_work, client, step))
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
    with experiment_server(tmp_path / "data") as last:
        assert wait_until_ended(last.client, "trained")["state"] == "succeeded"
        assert digest(last.client, "trained") == undisturbed
        (trial,) = read_trials(last.client, "trained")
        curves = last.client.get(f"{trial['url']}/curves").json()["curves"]
        reported = [s for s, loss in zip(curves["step"], curves["train/loss"], strict=True) if loss]
        assert reported == list(range(1, STEPS + 1))


def test_cancel_ends_it_without_a_model(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        put_pairs(client)
        endless = {**TRAINING["train"], "length.steps": 10**6}
        start_experiment(client, name="trained", **{**TRAINING, "train": endless})
        wait_for_state(client, "trained", "running")
        change_state(client, "trained", "cancel")
        assert wait_until_ended(client, "trained")["state"] == "cancelled"
        assert client.get("/v1/models/trained").status_code == 404
        assert client.delete("/v1/experiments/trained").status_code == 204
        assert list((tmp_path / "runs").iterdir()) == []


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        put_dataset(client, "inputs", 20)
        answer = client.post(
            "/v1/experiments",
            json={
                "name": "wrong",
                "kind": "train",
                "dataset": "inputs",
                "outputs": ["hits"],
                "train": {"seed": 3, "data": {"train": "/etc/passwd"}},
                "sweep": {"grid": {"optimiser.learning_rate": [0.1, -1], "data.train": ["x"]}},
            },
        )
        assert answer.status_code == 422
        reported = {".".join(map(str, fault["loc"])) for fault in answer.json()["errors"]}
        sent = {".".join(map(str, fault["loc"])): fault["got"] for fault in answer.json()["errors"]}
        assert sent["train.seed"] == 3
        assert sent["train.data.train"] == "/etc/passwd"
        assert sent["outputs"] == ["hits"]
        assert {
            "dataset",
            "outputs",
            "train.seed",
            "train.data.train",
            "sweep.grid.data.train",
        } <= reported
        assert client.get("/v1/experiments").json()["items"] == []
        put_pairs(client)
        bad = {**TRAINING, "sweep": {"grid": {"optimiser.learning_rate": [0.1, -1]}}}
        bad["train"] = {
            name: value
            for name, value in TRAINING["train"].items()
            if name != "optimiser.learning_rate"
        }
        answer = client.post("/v1/experiments", json={"name": "wrong", **bad})
        assert answer.status_code == 422
        (fault,) = answer.json()["errors"]
        assert fault["loc"] == ["sweep", "grid", "optimiser.learning_rate", 1]
        answer = client.post(
            "/v1/experiments", json={"name": "wrong", "dataset": "inputs", "train": {}}
        )
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["train"]
