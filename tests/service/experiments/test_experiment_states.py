"""Experiments paused, resumed, cancelled, and with trials that fail."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor
from energy_flow.choices import TRANSITIONS
from energy_flow.simulation.checkpoint import save
from energy_flow.testing import tiny_config
from tests.support.experiments import (
    advance,
    change_state,
    count_stored,
    experiment_server,
    put_dataset,
    read_experiment,
    read_stored_results,
    read_trials,
    start_experiment,
    wait_for_state,
    wait_until_ended,
    wait_until_quiet,
)
from tests.support.repository import ROOT
from tests.support.servers import RunningServer, count_done, local_engine
from tests.support.waits import until

ROWS = 800
CHUNK = 5
LONG: dict[str, Any] = {"dataset": "many", "chunk_samples": CHUNK}
"""Has more samples than are in a small pool at once."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("experiments")
    with experiment_server(folder) as server:
        put_dataset(server.client, "few", 6)
        put_dataset(server.client, "many", ROWS)
        failing(server.client, folder / "failing.safetensors")
        yield server


@pytest.fixture
def client(server: RunningServer) -> httpx.Client:
    return server.client


def failing(client: httpx.Client, path: Path) -> None:
    """Upload a model whose displacement overflows in the third step of a flow, and not before.

    A GRU without weights goes the same way in every flow: its state grows from step to step, and
    with it what the displacement's head makes of it.
    """
    processor = FlowProcessor(tiny_config())
    size = processor.config.carrier_hidden_size
    with torch.no_grad():
        for name, weight in processor.named_parameters():
            if name.startswith(("carrier.gru.", "carrier.displacement_head.")):
                weight.zero_()
        # n = tanh(4), z = 1/2: the state is n/2, 3n/4, 7n/8, …
        processor.get_parameter("carrier.gru.bias_ih_l0")[2 * size :] = 4.0
        processor.get_parameter("carrier.displacement_head.0.weight")[:2, 0] = 1.0
        # GELU of the state is 0.34, 0.58, 0.70, and float32 ends at 3.4e38.
        processor.get_parameter("carrier.displacement_head.2.weight")[:, :2] = 2.65e38
    save(processor, path)
    answer = client.put(
        "/v1/models/failing",
        content=path.read_bytes(),
        headers={"content-type": "application/octet-stream"},
    )
    assert answer.status_code == 201, answer.text


# Each flow takes as many steps as its trial allows.
STEPS: dict[str, Any] = {
    "model": "failing",
    "dataset": "few",
    "options": {
        "noise_std": 0.0,
        "spawn.mode": "off",
        "convergence.enabled": False,
        "max_displacement": 0.1,
    },
    "chunk_samples": 2,
}


def test_every_change_of_state_is_in_one_table() -> None:
    page = ROOT / "docs" / "experiments.md"
    lines = page.read_text().replace("`", "").splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("|")]
    reported: dict[str, list[str]] = {}
    for left, right in rows:
        for state in left.strip().split(", "):
            if state in TRANSITIONS:
                reported[state] = [name for name in right.strip().split(", ") if name != "none"]
    assert reported == {state: list(following) for state, following in TRANSITIONS.items()}


def test_pausing_completes_started_chunks_and_starts_no_others(server: RunningServer) -> None:
    client = server.client
    with server.engine_held() as engine:
        start_experiment(client, name="held", **LONG, seeds=[1, 2, 3], max_parallel=2)
        engine.run_until(lambda: read_experiment(client, "held")["trials"]["running"] == 2)
        advance(client, engine, "held", 2 * CHUNK)
        # Those that entered together may have ended together.
        engine.run_until(lambda: local_engine(server.server.service).status().active_samples)
        under_way = local_engine(server.server.service).status().active_samples
        assert under_way < ROWS
        paused = change_state(client, "held", "pause")
        assert paused["state"] == "paused"
        assert paused["trials"]["running"] == 2
        assert paused["progress"]["seconds_left"] is None
        # Some of it may still wait to be written.
        computed = sum(count_done(client, one["run_id"]) for one in read_trials(client, "held"))
    paused = wait_until_quiet(client, "held")
    assert paused["trials"]["paused"] == 2
    assert paused["state"] == "paused"
    assert paused["trials"]["queued"] == 1
    assert paused["progress"]["samples_done"] == computed + under_way
    found = read_trials(client, "held")
    assert [trial["state"] for trial in found] == ["paused", "paused", "queued"]
    for trial in found[:2]:
        assert trial["samples_done"] % CHUNK == 0
        assert trial["metrics"]["initial"] == 16 * trial["samples_done"]
        lines = client.get(f"{trial['url']}/trace?format=ndjson").text.splitlines()
        assert len(lines) == sum(trial["trace"]["recorded"].values())
    assert client.get("/v1/runs?state=paused").json()["items"]
    refused = client.post("/v1/experiments/held/pause")
    assert refused.status_code == 409
    assert refused.json()["allowed"] == ["queued", "running"]
    assert refused.json()["transitions"] == ["running", "succeeded", "failed", "cancelled"]
    assert client.delete("/v1/experiments/held").status_code == 409
    # Nothing moves meanwhile.
    assert read_trials(client, "held") == found
    assert read_experiment(client, "held") == paused
    assert change_state(client, "held", "cancel")["state"] in ("paused", "cancelled")
    assert wait_for_state(client, "held", "cancelled")["trials"]["cancelled"] == 3
    assert [trial["samples_done"] for trial in read_trials(client, "held")] == [
        trial["samples_done"] for trial in found
    ]


@pytest.mark.slow
def test_pausing_changes_no_result(server: RunningServer) -> None:
    client = server.client
    fields = {**LONG, "rows": [0, 400], "outputs": ["surface", "hits"], "trace": {"capacity": 30}}
    start_experiment(client, name="straight", **fields)
    wait_until_ended(client, "straight")
    with server.engine_held() as engine:
        start_experiment(client, name="halting", **fields)
        for _ in range(2):
            advance(client, engine, "halting", count_stored(client, "halting") + 1)
            change_state(client, "halting", "pause")
            engine.run_until(lambda: read_experiment(client, "halting")["trials"]["paused"])
            assert count_stored(client, "halting") < 400
            change_state(client, "halting", "resume")
            refused = client.post("/v1/experiments/halting/resume")
            assert refused.status_code == 409
            assert refused.json()["allowed"] == ["paused"]
    assert wait_until_ended(client, "halting")["state"] == "succeeded"
    assert read_stored_results(client, "halting") == read_stored_results(client, "straight")


@pytest.mark.slow
def test_resuming_while_chunks_are_still_running(server: RunningServer) -> None:
    client = server.client
    with server.engine_held() as engine:
        start_experiment(
            client, name="wavering", **LONG, rows=[0, 200], seeds=[1, 2], max_parallel=2
        )
        engine.run_until(lambda: read_experiment(client, "wavering")["trials"]["running"] == 2)
        for _ in range(3):
            change_state(client, "wavering", "pause")
            change_state(client, "wavering", "resume")
    over = wait_until_ended(client, "wavering")
    assert over["trials"]["succeeded"] == 2
    assert over["progress"]["samples_done"] == 2 * 200


def test_cancelling_takes_effect_within_a_step_and_keeps_results(server: RunningServer) -> None:
    client = server.client
    with server.engine_held() as engine:
        start_experiment(client, name="given-up", **LONG, seeds=[1, 2, 3], max_parallel=2)
        advance(client, engine, "given-up", CHUNK)
        answer = client.post("/v1/experiments/given-up/cancel")
        assert answer.status_code == 202
        assert answer.json()["state"] == "running"
        refused = client.post("/v1/experiments/given-up/pause")
        assert refused.status_code == 409
        assert refused.json()["state"] == "cancelled"
        engine.run_round()
        until(lambda: read_experiment(client, "given-up")["state"] == "cancelled")
    cancelled = read_experiment(client, "given-up")
    assert cancelled["trials"]["cancelled"] == 3
    assert cancelled["ended_at"] is not None
    found = read_trials(client, "given-up")
    first = max(found[:2], key=lambda trial: trial["samples_done"])
    assert CHUNK <= first["samples_done"] < ROWS
    surface = client.get(f"{first['run_url']}/outputs/surface?format=npy").content
    assert len(np.load(io.BytesIO(surface))) == first["samples_done"]
    lines = client.get(f"{first['url']}/trace?format=ndjson").text.splitlines()
    assert len(lines) == sum(first["trace"]["recorded"].values())
    assert found[2]["samples_done"] == 0
    assert found[2]["started_at"] is None
    again = client.post("/v1/experiments/given-up/cancel")
    assert again.status_code == 409
    assert again.json()["allowed"] == ["queued", "running", "paused"]
    assert again.json()["transitions"] == []
    assert client.delete("/v1/experiments/given-up").status_code == 204


@pytest.mark.slow
def test_queued_experiments_can_be_paused_and_cancelled(server: RunningServer) -> None:
    client = server.client
    with server.engine_held():
        for name in ("early", "earlier"):
            start_experiment(client, name=name, **LONG)
        paused = change_state(client, "early", "pause")
        assert paused["state"] == "paused"
        assert change_state(client, "earlier", "cancel")["trials"]["succeeded"] == 0
        change_state(client, "early", "resume")
    assert wait_for_state(client, "earlier", "cancelled")["progress"]["samples_done"] == 0
    assert wait_until_ended(client, "early")["state"] == "succeeded"


def test_a_failed_trial_keeps_its_error_and_does_not_affect_others(client: httpx.Client) -> None:
    sweep = {"grid": {"projection_age": [2, 4, 1]}}
    start_experiment(client, name="mixed", **STEPS, sweep=sweep, seeds=[0, 1])
    over = wait_until_ended(client, "mixed")
    assert over["state"] == "failed"
    assert over["trials"]["failed"] == 2
    assert over["trials"]["succeeded"] == 4
    assert "2 of 6 trials failed; trial 2: sample 0" in over["error"]["detail"]
    assert over["error"]["status"] == 422
    found = read_trials(client, "mixed")
    states = [trial["state"] for trial in found]
    assert states == ["succeeded"] * 2 + ["failed"] * 2 + ["succeeded"] * 2
    assert "not finite" in found[2]["error"]["detail"]
    assert found[2]["error"]["step"] == 2
    failed = client.get("/v1/experiments/mixed/trials?state=failed").json()["items"]
    assert failed == found[2:4]
    rows = client.get("/v1/experiments/mixed/results").json()["rows"]
    assert rows[2]["error"] == found[2]["error"]["detail"]
    points = client.get("/v1/experiments/mixed/results?of=points").json()["rows"]
    assert [point["seeds"] for point in points] == [2, 0, 2]
    assert points[1]["steps.mean"] is None


def test_failed_trials_start_again_as_new_runs(client: httpx.Client) -> None:
    sweep = {"grid": {"projection_age": [2, 4]}}
    start_experiment(client, name="repeated", **STEPS, sweep=sweep, tags=["again"])
    over = wait_until_ended(client, "repeated")
    before = read_trials(client, "repeated")
    assert [trial["state"] for trial in before] == ["succeeded", "failed"]

    answer = client.post("/v1/experiments/repeated/retry")
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] in ("queued", "running")
    again = wait_until_ended(client, "repeated")
    after = read_trials(client, "repeated")
    # What fails for its numbers fails again.
    assert again["trials"] == over["trials"]
    assert again["error"] == over["error"]
    assert again["ended_at"] > over["ended_at"]
    assert again["last_event_id"] > over["last_event_id"]
    assert after[0] == before[0]
    same = ("trial", "parameters", "seed", "state", "error")
    assert [after[1][name] for name in same] == [before[1][name] for name in same]
    assert after[1]["run_id"] != before[1]["run_id"]
    assert client.get(before[1]["run_url"]).status_code == 404
    renewed = client.get(after[1]["run_url"]).json()
    assert renewed["attempts"] == 1
    assert renewed["worker_kinds"] == client.get(after[0]["run_url"]).json()["worker_kinds"]
    assert client.get(f"/v1/runs?experiment={over['experiment_id']}").json()["items"][1:]
    chosen = {"options": '{"projection_age": 4}', "tag": "again"}
    listed = client.get("/v1/experiments", params=chosen)
    assert [one["name"] for one in listed.json()["items"]] == ["repeated"]
    assert client.delete("/v1/experiments/repeated").status_code == 204


def test_a_retry_includes_trials_that_were_cancelled_as_one_failed(client: httpx.Client) -> None:
    sweep = {"grid": {"projection_age": [1, 4, 2]}}
    start_experiment(client, name="hurried", **STEPS, sweep=sweep, fail_fast=True)
    over = wait_until_ended(client, "hurried")
    assert (over["trials"]["failed"], over["trials"]["cancelled"]) == (1, 1)
    before = read_trials(client, "hurried")
    change_state(client, "hurried", "retry")
    wait_until_ended(client, "hurried")
    after = read_trials(client, "hurried")
    renewed = [one["run_id"] != other["run_id"] for one, other in zip(before, after, strict=True)]
    assert renewed == [False, True, True]


def test_only_failed_experiments_are_retried(server: RunningServer) -> None:
    client = server.client
    with server.engine_held():
        start_experiment(client, name="fine", dataset="few")
        running = client.post("/v1/experiments/fine/retry")
        assert running.status_code == 409
        assert running.json()["allowed"] == ["failed"]
    wait_until_ended(client, "fine")
    refused = client.post("/v1/experiments/fine/retry")
    assert refused.status_code == 409
    assert refused.json()["state"] == "succeeded"


def test_a_paused_experiment_with_nothing_left_succeeds(server: RunningServer) -> None:
    client = server.client
    with server.engine_held() as engine:
        start_experiment(client, name="last", dataset="few")
        engine.run_until(lambda: read_experiment(client, "last")["trials"]["running"])
        paused = change_state(client, "last", "pause")
        assert paused["state"] == "paused"
    # Its only chunk had started.
    over = wait_until_ended(client, "last")
    assert (over["state"], over["trials"]["succeeded"]) == ("succeeded", 1)
    assert client.post("/v1/experiments/last/resume").status_code == 409


def test_one_failure_ends_an_experiment_that_fails_fast(client: httpx.Client) -> None:
    sweep = {"grid": {"projection_age": [1, 4, 2]}}
    start_experiment(client, name="hasty", **STEPS, sweep=sweep, seeds=[0, 1, 2], fail_fast=True)
    over = wait_until_ended(client, "hasty")
    assert over["state"] == "failed"
    assert over["trials"]["succeeded"] == 3
    assert over["trials"]["failed"] == 1
    assert over["trials"]["cancelled"] == 5
    assert [trial["state"] for trial in read_trials(client, "hasty")][3] == "failed"


def test_a_deterministic_sweep_takes_the_seeds_of_its_configs(client: httpx.Client) -> None:
    start_experiment(
        client,
        name="fixed",
        dataset="few",
        options={"deterministic": True},
        sweep={"grid": {"seed": [4, 5], "spawn.mode": ["off"]}},
    )
    assert wait_until_ended(client, "fixed")["state"] == "succeeded"
    assert [trial["seed"] for trial in read_trials(client, "fixed")] == [4, 5]
