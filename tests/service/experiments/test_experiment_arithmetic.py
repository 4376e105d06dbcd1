"""Unfinished experiments of another arithmetic do not continue; all others do."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.numpy import save

from energy_flow.choices import Precision, arithmetic_of
from tests.support.experiments import (
    advance,
    change_state,
    experiment_server,
    put_dataset,
    read_experiment,
    read_stored_results,
    read_trials,
    start_experiment,
    wait_until_ended,
    wait_until_quiet,
)
from tests.support.servers import RunningServer, rows
from tests.support.stored_rows import change_rows
from tests.support.waits import until

OWN = arithmetic_of(Precision.FLOAT32)
"""Arithmetic of the tiny model in this version."""
OTHER = OWN + 1
INSTALLED = version("energy-flow")
SAMPLES = 40
BEGUN = 8
"""Least stored samples of an experiment that is interrupted."""
SWEEP: dict[str, Any] = {
    "name": "noise",
    "dataset": "some",
    "sweep": {"grid": {"noise_std": [0.1, 0.3]}},
    "options": {"max_steps": 4},
    "seeds": [0, 5],
    "max_parallel": 2,
    "chunk_samples": 4,
}
TRAINING: dict[str, Any] = {
    "name": "trained",
    "kind": "train",
    "dataset": "pairs",
    "options": {"max_steps": 3, "noise_std": 0.1},
    "train": {
        "losses": {"cosine": {"weight": 1.0}},
        "data.held_out": 0.25,
        "batch.rows": 8,
        "length.steps": 8,
        "validation.every": 4,
        "checkpoints.every": 2,
    },
}


def put_pairs(client: httpx.Client) -> None:
    body = save({"inputs": rows(24), "targets": rows(24, seed=2)})
    answer = client.put("/v1/datasets/pairs", params={"format": "safetensors"}, content=body)
    assert answer.status_code == 201, answer.text


def begin(server: RunningServer) -> None:
    """Start an experiment and stop the server after its first chunks."""
    put_dataset(server.client, "some", SAMPLES)
    with server.engine_held() as engine:
        start_experiment(server.client, **SWEEP)
        advance(server.client, engine, "noise", BEGUN)
        server.stop_while_held()


def pause_midway(server: RunningServer) -> dict[str, Any]:
    """Start an experiment and pause it after its first chunks."""
    put_dataset(server.client, "some", SAMPLES)
    with server.engine_held() as engine:
        start_experiment(server.client, **SWEEP)
        advance(server.client, engine, "noise", BEGUN)
        change_state(server.client, "noise", "pause")
    return wait_until_quiet(server.client, "noise")


def make_earlier(data_dir: Path, arithmetic: int, number: str | None = "9.8.7") -> None:
    """Make all runs and experiments those of another version."""
    for table in ("runs", "experiments"):
        change_rows(data_dir, table, version=number, arithmetic=arithmetic)


def check_refused(client: httpx.Client, name: str, number: str | None = "9.8.7") -> None:
    """Check that a paused experiment states both arithmetics and cannot be resumed."""
    experiment = read_experiment(client, name)
    assert experiment["state"] == "paused"
    assert (experiment["version"], experiment["arithmetic"]) == (number, OTHER)
    answer = client.post(f"/v1/experiments/{name}/resume")
    assert answer.status_code == 409
    refusal = answer.json()
    shown = "an unknown version" if number is None else f"version {number}"
    assert refusal["detail"] == (
        f"the experiment cannot continue: it was started by {shown}, arithmetic {OTHER}, and this "
        f"server, version {INSTALLED}, computes with arithmetic {OWN}; cancel it, and start it "
        "again as a new experiment"
    )
    members = ("version", "arithmetic", "server_version", "server_arithmetic")
    assert [refusal[member] for member in members] == [number, OTHER, INSTALLED, OWN]
    assert experiment["error"] == refusal
    assert read_experiment(client, name)["state"] == "paused"


@pytest.mark.parametrize("number", ["9.8.7", None])
def test_one_that_was_running_is_paused_and_computes_nothing(
    tmp_path: Path, number: str | None
) -> None:
    with experiment_server(tmp_path) as first:
        begin(first)
    make_earlier(tmp_path, OTHER, number)
    with experiment_server(tmp_path) as second:
        client = second.client
        check_refused(client, "noise", number)
        experiment, trials = read_experiment(client, "noise"), read_trials(client, "noise")
        assert experiment["trials"]["running"] == 0
        assert {trial["state"] for trial in trials} <= {"paused", "queued"}
        done = experiment["progress"]["samples_done"]
        assert BEGUN <= done < 4 * SAMPLES
        # Other work is done as before.
        start_experiment(client, name="again", dataset="some", rows=[0, 4])
        assert wait_until_ended(client, "again")["state"] == "succeeded"
        assert read_experiment(client, "noise")["progress"]["samples_done"] == done
        # What there is can be read, and is kept when it is cancelled.
        before = {trial["trial"]: trial["samples_done"] for trial in trials}
        change_state(client, "noise", "cancel")
        ended = wait_until_ended(client, "noise")
        assert (ended["state"], ended["trials"]["cancelled"]) == ("cancelled", 4)
        assert ended["progress"]["samples_done"] == done
        for trial in read_trials(client, "noise"):
            assert trial["samples_done"] == before[trial["trial"]]
            answer = client.get(f"{trial['run_url']}/outputs/surface")
            assert answer.status_code == (200 if trial["samples_done"] else 404)
        assert client.delete("/v1/experiments/noise").status_code == 204


def test_one_that_was_paused_or_never_started_is_refused(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        assert pause_midway(first)["error"] is None
        with first.engine_held():
            start_experiment(first.client, **{**SWEEP, "name": "queued"})
            first.stop_while_held()
    make_earlier(tmp_path, OTHER)
    with experiment_server(tmp_path) as second:
        for name in ("noise", "queued"):
            check_refused(second.client, name)
    # The version that started it continues it.
    make_earlier(tmp_path, OWN)
    with experiment_server(tmp_path) as third:
        assert change_state(third.client, "noise", "resume")["error"] is None
        assert wait_until_ended(third.client, "noise")["state"] == "succeeded"


def test_one_that_is_being_cancelled_ends(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        begin(first)
    make_earlier(tmp_path, OTHER)
    change_rows(tmp_path, "experiments", cancelling=True)
    with experiment_server(tmp_path) as second:
        assert wait_until_ended(second.client, "noise")["state"] == "cancelled"


def test_one_that_has_ended_stays_as_it_is(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        put_dataset(first.client, "some", SAMPLES)
        start_experiment(first.client, **SWEEP)
        before = wait_until_ended(first.client, "noise")
        assert (before["version"], before["arithmetic"]) == (INSTALLED, OWN)
        results = read_stored_results(first.client, "noise")
    make_earlier(tmp_path, OTHER)
    with experiment_server(tmp_path) as second:
        client = second.client
        after = read_experiment(client, "noise")
        assert after == {**before, "version": "9.8.7", "arithmetic": OTHER}
        assert read_stored_results(client, "noise") == results
        run_id = read_trials(client, "noise")[0]["run_id"]
        replay = client.post(f"/v1/runs/{run_id}/replay", json={"sample": 0}).json()
        assert f"computed by version 9.8.7, arithmetic {OTHER}" in replay["note"]


def test_a_version_of_the_same_arithmetic_continues(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        pause_midway(first)
        begun = [trial["started_at"] is not None for trial in read_trials(first.client, "noise")]
    assert set(begun) == {True, False}
    make_earlier(tmp_path, OWN)
    with experiment_server(tmp_path) as second:
        client = second.client
        change_state(client, "noise", "resume")
        experiment = wait_until_ended(client, "noise")
        assert (experiment["state"], experiment["version"]) == ("succeeded", "9.8.7")
        start_experiment(client, **{**SWEEP, "name": "undisturbed"})
        wait_until_ended(client, "undisturbed")
        assert read_stored_results(client, "noise") == read_stored_results(client, "undisturbed")
        runs = [client.get(trial["run_url"]).json() for trial in read_trials(client, "noise")]
    # A run has the version that started it.
    assert [run["version"] for run in runs] == [
        "9.8.7" if has_begun else INSTALLED for has_begun in begun
    ]


@pytest.mark.slow
def test_a_training_is_refused_too(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        client = first.client
        put_pairs(client)
        with first.engine_held() as engine:
            start_experiment(client, **TRAINING)
            engine.run_until(lambda: read_trials(client, "trained")[0]["samples_done"] > 0)
            change_state(client, "trained", "pause")
        wait_until_quiet(client, "trained")
    make_earlier(tmp_path, OTHER)
    with experiment_server(tmp_path) as second:
        check_refused(second.client, "trained")
        change_state(second.client, "trained", "cancel")
        until(lambda: read_experiment(second.client, "trained")["state"] == "cancelled")


@pytest.mark.parametrize("precision", Precision)
def test_the_arithmetic_is_that_of_the_precision(tmp_path: Path, precision: Precision) -> None:
    chosen = {"precision": precision.value}
    with experiment_server(tmp_path) as server:
        client = server.client
        put_dataset(client, "some", 4)
        put_pairs(client)
        with server.engine_held():
            fixed = start_experiment(client, name="fixed", dataset="some", options=chosen)
            swept = start_experiment(
                client,
                name="swept",
                dataset="some",
                sweep={"grid": {"precision": [one.value for one in Precision]}},
            )
            train = {**TRAINING["train"], **chosen}
            training = start_experiment(client, **{**TRAINING, "train": train})
            for experiment in (fixed, training):
                assert experiment["arithmetic"] == arithmetic_of(precision)
                (trial,) = read_trials(client, experiment["name"])
                run = client.get(trial["run_url"]).json()
                assert run["arithmetic"] == arithmetic_of(precision)
            assert swept["arithmetic"] == max(arithmetic_of(one) for one in Precision)
            server.stop_while_held()
