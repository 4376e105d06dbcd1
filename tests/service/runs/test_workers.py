"""The workers of runs, and what is stated of runs whose workers differ in kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from energy_flow.client import FlowClient
from tests.support.command_line import run as run_command
from tests.support.experiments import (
    change_state,
    experiment_server,
    read_trials,
    wait_until_ended,
)
from tests.support.interrupted import paused_midway
from tests.support.servers import queue, rows, serving
from tests.support.servers import wait_until_ended as wait_for_run
from tests.support.stored_rows import change_rows

OTHER = "0123456789ab"


def read_worker(client: httpx.Client) -> dict[str, Any]:
    (worker,) = client.get("/v1/system").json()["workers"]
    found: dict[str, Any] = worker
    return found


def read_run(client: httpx.Client, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
    return run


def replay_note(client: httpx.Client, run_id: str) -> str | None:
    answer = client.post(f"/v1/runs/{run_id}/replay", json={"sample": 1})
    assert answer.status_code == 200, answer.text
    note: str | None = answer.json()["note"]
    return note


def test_the_worker_is_listed(client: httpx.Client) -> None:
    system = client.get("/v1/system").json()
    worker = read_worker(client)
    default = client.get("/v1/models/default").json()
    assert worker["name"] == "local"
    assert worker["device"] == system["device"] == "cpu"
    assert worker["state"] == system["engine"]["state"] == "running"
    assert worker["threads"] == system["cpu"]["threads"]
    assert default["digest"] in worker["models"]
    assert worker["memory"]["limit_bytes"] == system["memory"]["limit_bytes"]
    assert worker["last_heartbeat_ms"] >= 0
    assert 'energy_flow_active_flows{worker="local"}' in client.get("/metrics").text


def test_a_run_has_its_worker_and_its_kind(client: httpx.Client) -> None:
    kind = read_worker(client)["kind"]
    queued = queue(client, 2)
    simulated = client.post("/v1/simulate", json={"embeddings": rows().tolist()}).json()["run_id"]
    for run_id in (queued, simulated):
        wait_for_run(client, run_id)
        run = read_run(client, run_id)
        assert (run["worker"], run["worker_kinds"], run["attempts"]) == ("local", [kind], 1)
    assert replay_note(client, queued) is None
    url = str(client.base_url)
    with FlowClient(url) as user:
        seen = user.run(queued)
        assert (seen.worker, seen.worker_kinds, seen.attempts) == ("local", (kind,), 1)
    shown = run_command("runs", "show", queued, "--url", url)
    assert f"local, kind {kind}" in shown.stdout


def test_a_replay_on_another_kind_of_worker_says_so(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        runs = [queue(server.client, 3) for _ in range(3)]
        for run_id in runs:
            wait_for_run(server.client, run_id)
    other, mixed, earlier = runs
    change_rows(tmp_path, "runs", {"run_id": other}, worker_kinds=[OTHER])
    change_rows(tmp_path, "runs", {"run_id": mixed}, worker_kinds=[OTHER, "fedcba"])
    change_rows(tmp_path, "runs", {"run_id": earlier}, worker_kinds=[], worker=None, attempts=None)
    with serving(tmp_path) as server:
        own = read_worker(server.client)["kind"]
        note = replay_note(server.client, other)
        assert note is not None
        assert OTHER in note
        assert own in note
        note = replay_note(server.client, mixed)
        assert note is not None
        assert f"{OTHER} and fedcba" in note
        assert replay_note(server.client, earlier) is None
        assert read_run(server.client, earlier)["attempts"] is None


def test_a_trial_that_continues_on_another_kind_is_marked(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        _, found = paused_midway(first, "waiting")
        begun = [trial for trial in found if trial["samples_done"]]
        assert begun
    change_rows(tmp_path, "runs", {"state": "paused"}, worker_kinds=[OTHER])
    with experiment_server(tmp_path) as second:
        client = second.client
        kind = read_worker(client)["kind"]
        change_state(client, "waiting", "resume")
        assert wait_until_ended(client, "waiting")["state"] == "succeeded"
        for trial in read_trials(client, "waiting"):
            run = read_run(client, trial["run_id"])
            is_mixed = any(trial["run_id"] == one["run_id"] for one in begun)
            assert run["worker_kinds"] == ([OTHER, kind] if is_mixed else [kind])
            warned = [text for text in run["warnings"] if f"{OTHER} and {kind}" in text]
            assert len(warned) == is_mixed
            if is_mixed:
                assert run["attempts"] == 2


def test_a_trial_of_an_earlier_version_takes_the_kind_that_continues_it(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        paused_midway(first, "waiting")
    change_rows(tmp_path, "runs", worker_kinds=[], worker=None, attempts=None)
    with experiment_server(tmp_path) as second:
        client = second.client
        kind = read_worker(client)["kind"]
        change_state(client, "waiting", "resume")
        assert wait_until_ended(client, "waiting")["state"] == "succeeded"
        for trial in read_trials(client, "waiting"):
            run = read_run(client, trial["run_id"])
            assert run["worker_kinds"] == [kind]
            assert not any("of the kinds" in text for text in run["warnings"])
