"""Runs as a resource: queued, followed, cancelled, listed, removed, and repeated requests."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from energy_flow.client import RunEvent
from service.lifespan import ServiceLimits
from tests.support.bodies import NPY, npy
from tests.support.event_stream import read_events
from tests.support.servers import (
    ENDLESS,
    RunningServer,
    cancel,
    count_done,
    find_leftovers,
    queue,
    queue_npy,
    rows,
    serving,
    wait_until_ended,
)
from tests.support.waits import LIMIT_SECONDS, until


@pytest.fixture
def impatient_server(tmp_path: Path) -> Iterator[RunningServer]:
    """Return a server whose answers do not wait until a cancelled run has ended."""
    with serving(tmp_path, limits=ServiceLimits(max_wait_seconds=0.1)) as running:
        yield running


def follow(
    client: httpx.Client, run_id: str, after: str | None = None, stop_after: int = 10**9
) -> list[RunEvent]:
    return read_events(client, f"/v1/runs/{run_id}", after, stop_after)


def test_a_queued_run_is_answered_at_once_and_then_executed(server: RunningServer) -> None:
    client = server.client
    body = {"embeddings": rows().tolist(), "outputs": ["surface", "hits"], "seed": 4}
    with server.engine_held():
        answer = client.post("/v1/runs", json=body)
    assert answer.status_code == 202
    run = answer.json()
    assert run["state"] == "queued"
    assert answer.headers["location"] == run["url"] == f"/v1/runs/{run['run_id']}"
    done = wait_until_ended(client, run["run_id"])
    assert done["state"] == "succeeded"
    assert done["progress"] == {"samples": 3, "samples_done": 3, "step": None, "fraction": 1.0}
    at_once = client.post("/v1/simulate", json=body).json()
    timeless = {"mean_step_ms", "max_step_ms"}
    for name in set(done["metrics"]) - timeless:
        assert done["metrics"][name] == at_once["metrics"][name]
    for name in ("surface", "hits"):
        reported = client.get(f"{run['url']}/outputs/{name}").json()
        assert reported["data"] == at_once["outputs"][name]
    assert done["bytes"] > 0
    assert done["created_at"] <= done["started_at"] <= done["ended_at"]


def test_memory_profile_and_samples_can_be_read(client: httpx.Client) -> None:
    run_id = queue(client, 5)
    wait_until_ended(client, run_id)
    memory = client.get(f"/v1/runs/{run_id}/memory").json()
    profile = client.get(f"/v1/runs/{run_id}/profile").json()
    assert memory["predicted_bytes"] > 0
    assert profile["steps"] == len(profile["step_metrics"]) == len(memory["steps"])
    assert set(profile["mean"]) == set(profile["max"])
    page = client.get(f"/v1/runs/{run_id}/samples?limit=2").json()
    rest = client.get(f"/v1/runs/{run_id}/samples", params={"cursor": page["next_cursor"]}).json()
    assert [item["sample"] for item in page["items"] + rest["items"]] == [0, 1, 2, 3, 4]
    assert rest["next_cursor"] is None


def test_events_are_complete_and_can_be_resumed(client: httpx.Client) -> None:
    run_id = queue(client, 3)
    events = follow(client, run_id)
    assert [int(event.id or 0) for event in events] == list(range(1, len(events) + 1))
    states = [event.data["state"] for event in events if event.event == "state"]
    assert states == ["queued", "running", "succeeded"]
    assert [event.data["step"] for event in events if event.event == "step"] == [0, 1, 2]
    progress = [event.data for event in events if event.event == "progress"]
    assert progress[-1]["fraction"] == 1.0
    # What a state event announces is stored before the event.
    assert client.get(f"/v1/runs/{run_id}/outputs/surface").status_code == 200
    middle = events[2]
    assert follow(client, run_id, middle.id) == events[3:]
    again = follow(client, run_id, events[-1].id)
    assert again in ([], events[-1:])


def test_events_can_be_followed_while_a_run_is_running(server: RunningServer) -> None:
    client = server.client
    with server.engine_held() as engine:
        run_id = queue(client, 3, options=ENDLESS)
        (queued,) = follow(client, run_id, stop_after=1)
        assert queued.data["state"] == "queued"
        engine.run_until(lambda: client.get(f"/v1/runs/{run_id}").json()["state"] == "running")
        for _ in range(3):
            engine.run_round()
        later = follow(client, run_id, queued.id, stop_after=3)
        assert later[0].data["state"] == "running"
        assert [int(event.id or 0) for event in later] == [2, 3, 4]
    with ThreadPoolExecutor(2) as readers:
        have_begun = [threading.Event() for _ in range(2)]

        def read(begun: threading.Event) -> list[RunEvent]:
            return read_events(client, f"/v1/runs/{run_id}", on_event=lambda _: begun.set())

        reading = [readers.submit(read, begun) for begun in have_begun]
        for begun in have_begun:
            assert begun.wait(LIMIT_SECONDS)
        cancel(client, run_id)
        for reader in reading:
            assert reader.result(LIMIT_SECONDS)[-1].data["state"] == "cancelled"


def test_a_cancelled_run_keeps_its_results(impatient_server: RunningServer) -> None:
    client, count = impatient_server.client, 6000
    with impatient_server.engine_held() as engine:
        run_id = queue_npy(client, count, outputs="surface,hits")
        engine.run_until(lambda: count_done(client, run_id) > 600)
        # The engine takes no step meanwhile, and most samples have not started.
        answer = client.post(f"/v1/runs/{run_id}/cancel")
        assert answer.status_code == 202
        assert answer.json()["state"] == "running"
    run = wait_until_ended(client, run_id)
    assert run["state"] == "cancelled"
    kept = run["progress"]["samples_done"]
    assert 600 < kept < count
    surface = client.get(f"/v1/runs/{run_id}/outputs/surface?format=npy").content
    assert np.load(io.BytesIO(surface)).shape == (kept, 4, 4)
    records = client.get(f"/v1/runs/{run_id}/trace?format=ndjson&sample=599").text.splitlines()
    assert records
    assert run["metrics"]["initial"] == kept * 16
    assert run["metrics"]["created"] == run["metrics"]["initial"] + run["metrics"]["spawned"]
    assert sum(run["trace"]["recorded"].values()) > kept
    again = client.post(f"/v1/runs/{run_id}/cancel")
    assert again.status_code == 409
    assert again.json()["allowed"] == ["queued", "running"]
    assert again.json()["state"] == "cancelled"


def test_a_running_run_is_cancelled_within_a_step(client: httpx.Client) -> None:
    run_id = queue(client, 3, options=ENDLESS)
    until(lambda: client.get(f"/v1/runs/{run_id}").json()["state"] == "running")
    assert cancel(client, run_id)["progress"]["samples_done"] == 3


@pytest.mark.slow
def test_a_long_simulation_is_shown_and_can_be_cancelled(client: httpx.Client) -> None:
    """Other callers see a run while its caller still waits for the answer."""
    with ThreadPoolExecutor(1) as pool:
        body = {"embeddings": rows(2).tolist(), "options": ENDLESS}
        waiting = pool.submit(client.post, "/v1/simulate", json=body)
        (run,) = until(lambda: client.get("/v1/runs?state=running").json()["items"])
        assert run["kind"] == "simulate"
        assert client.get(f"/v1/runs/{run['run_id']}").json()["progress"]["step"] > 0
        assert cancel(client, run["run_id"])["progress"]["samples_done"] == 2
    refused = waiting.result()
    assert refused.status_code == 409
    assert refused.json()["run_id"] == run["run_id"]
    kept = client.get(f"/v1/runs/{run['run_id']}/outputs/surface?format=npy").content
    assert np.load(io.BytesIO(kept)).shape == (2, 4, 4)


def test_actions_are_allowed_by_state(client: httpx.Client) -> None:
    run_id = queue(client, 3, options=ENDLESS)
    url = f"/v1/runs/{run_id}"
    for answer in (
        client.delete(url),
        client.get(f"{url}/outputs/surface"),
        client.get(f"{url}/memory"),
    ):
        assert answer.status_code == 409
        assert answer.json()["allowed"] == ["succeeded", "failed", "cancelled"]
    cancel(client, run_id)
    assert client.delete(url).status_code == 204
    for path in ("", "/trace", "/events", "/outputs/surface", "/memory", "/samples"):
        assert client.get(url + path).status_code == 404
    assert client.delete(url).status_code == 404
    assert client.post(f"{url}/cancel").status_code == 404


def test_a_removed_run_leaves_nothing(server: RunningServer) -> None:
    run_id = queue(server.client, 3)
    wait_until_ended(server.client, run_id)
    assert run_id in find_leftovers(server.data_dir)
    assert server.client.delete(f"/v1/runs/{run_id}").status_code == 204
    assert not [name for name in find_leftovers(server.data_dir) if run_id in name]


def test_a_deadline_fails_a_queued_run_and_keeps_its_results(client: httpx.Client) -> None:
    run_id = queue(client, 3, options=ENDLESS, timeout_ms=700)
    run = wait_until_ended(client, run_id)
    assert run["state"] == "failed"
    assert run["error"]["status"] == 504
    samples = client.get(f"/v1/runs/{run_id}/samples").json()["items"]
    assert len(samples) == run["progress"]["samples_done"]
    assert all(sample["completed"] < sample["created"] for sample in samples)


def test_lists_are_newest_first_and_in_pages(client: httpx.Client) -> None:
    made = [queue(client, 1) for _ in range(5)]
    for run_id in made:
        wait_until_ended(client, run_id)
    found: list[str] = []
    cursor: str | None = None
    while len(found) < 5:
        params: dict[str, Any] = {"limit": 2, "state": "succeeded"}
        if cursor is not None:
            params["cursor"] = cursor
        page = client.get("/v1/runs", params=params).json()
        assert len(page["items"]) <= 2
        found += [run["run_id"] for run in page["items"]]
        cursor = page["next_cursor"]
    assert found[:5] == made[::-1]
    assert client.get("/v1/runs?cursor=nonsense").status_code == 422
    assert client.get("/v1/runs?limit=0").status_code == 422
    assert client.get("/v1/runs?state=asleep").status_code == 422


def test_an_idempotency_key_makes_one_run(client: httpx.Client) -> None:
    content = orjson.dumps({"embeddings": rows(2).tolist()})
    headers = {"content-type": "application/json", "idempotency-key": "only-once"}

    def send(_: int) -> httpx.Response:
        return client.post("/v1/runs", content=content, headers=headers)

    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(send, range(4)))
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["run_id"] for answer in answers}
    assert len(ids) == 1
    replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
    assert replayed.count("true") == 3
    other = orjson.dumps({"embeddings": rows(3).tolist()})
    refused = client.post("/v1/runs", content=other, headers=headers)
    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["detail"]
    too_long = {**headers, "idempotency-key": "x" * 300}
    assert client.post("/v1/runs", content=content, headers=too_long).status_code == 422
    assert wait_until_ended(client, ids.pop())["state"] == "succeeded"


@pytest.mark.parametrize("count", [1, 513, 2000])
def test_a_run_in_chunks_equals_the_same_run_at_once(client: httpx.Client, count: int) -> None:
    run_id = queue_npy(client, count)
    run = wait_until_ended(client, run_id)
    assert run["state"] == "succeeded"
    at_once = client.post(
        "/v1/simulate",
        params={"store": "false", "trace": '{"inline": 1000000}'},
        content=npy(rows(count)),
        headers=NPY,
    ).json()
    timeless = {"mean_step_ms", "max_step_ms"}
    for name in set(run["metrics"]) - timeless:
        assert run["metrics"][name] == at_once["metrics"][name], name
    kept = client.get(f"/v1/runs/{run_id}/outputs/surface").json()["data"]
    assert kept == at_once["outputs"]["surface"]
    lines = client.get(f"/v1/runs/{run_id}/trace?format=ndjson").text.splitlines()
    records = [orjson.loads(line) for line in lines]
    for name, column in at_once["trace"]["records"].items():
        assert [record[name] for record in records] == column
