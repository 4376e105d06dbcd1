"""Runs of a dataset: the same results as with embeddings, and no copy of the numbers."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.bodies import NPY, npy
from tests.support.servers import ENDLESS, RunningServer, cancel, rows, serving, wait_until_ended
from tests.support.waits import LIMIT_SECONDS

NOISY = {"noise_std": 0.3, "max_steps": 8}
TRACE = {"capacity": 1000}


def put(client: httpx.Client, name: str, count: int, seed: int = 0) -> str:
    """Store a dataset of so many rows and return its digest."""
    headers = NPY
    answer = client.put(f"/v1/datasets/{name}", content=npy(rows(count, seed)), headers=headers)
    assert answer.status_code in (200, 201), answer.text
    digest: str = answer.json()["digest"]
    return digest


def submit(client: httpx.Client, **fields: Any) -> str:
    answer = client.post("/v1/runs", json={"options": NOISY, "trace": TRACE, "seed": 5, **fields})
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def results(client: httpx.Client, run_id: str) -> list[Any]:
    assert wait_until_ended(client, run_id)["state"] == "succeeded"
    paths = ("outputs/surface", "trace?format=ndjson", "samples")
    reported = [client.get(f"/v1/runs/{run_id}/{path}") for path in paths]
    return [reported[0].json()["data"], reported[1].text, reported[2].json()]


def content_file(server: RunningServer, digest: str) -> Path:
    return server.data_dir / "datasets" / f"{digest}.safetensors"


def test_rows_of_a_dataset_give_what_the_same_embeddings_give(server: RunningServer) -> None:
    client = server.client
    digest = put(client, "ten", 10)
    embeddings = rows(10).tolist()
    run_id = submit(client, dataset="ten", rows=[4, 9])
    run = wait_until_ended(client, run_id)
    assert run["dataset"] == {"name": "ten", "digest": digest, "rows": [4, 9]}
    assert run["model"]["digest"] == client.get("/v1/models/default").json()["digest"]
    keys = list(range(4, 9))
    sent = submit(client, embeddings=embeddings[4:9], sample_keys=keys)
    assert results(client, run_id) == results(client, sent)
    assert wait_until_ended(client, sent)["dataset"] is None
    whole = submit(client, dataset="ten")
    assert wait_until_ended(client, whole)["dataset"]["rows"] == [0, 10]
    assert results(client, whole)[0][4:9] == results(client, run_id)[0]
    given = submit(client, dataset="ten", rows=[0, 2], sample_keys=[7, 3])
    same = submit(client, embeddings=embeddings[:2], sample_keys=[7, 3])
    assert results(client, given) == results(client, same)
    # No copy of the numbers.
    assert not list((server.data_dir / "runs" / run_id).glob("inputs*"))


def test_a_replay_after_the_dataset_was_deleted(server: RunningServer) -> None:
    client = server.client
    digest = put(client, "gone", 6, seed=8)
    run_id = submit(client, dataset="gone", rows=[2, 6])
    wait_until_ended(client, run_id)
    assert client.delete("/v1/datasets/gone").status_code == 204
    assert content_file(server, digest).exists()
    for sample in (0, 3):
        reported = client.post(f"/v1/runs/{run_id}/replay", json={"sample": sample}).json()
        assert reported["agrees"] is True
    # Under its old name there may be something else now.
    put(client, "gone", 6, seed=9)
    assert client.post(f"/v1/runs/{run_id}/replay", json={"sample": 1}).json()["agrees"] is True
    assert client.delete(f"/v1/runs/{run_id}").status_code == 204
    assert not content_file(server, digest).exists()


def test_a_dataset_in_use_is_not_deleted(server: RunningServer) -> None:
    client = server.client
    put(client, "busy", 3)
    run_id = submit(client, dataset="busy", options=ENDLESS)
    refused = client.delete("/v1/datasets/busy")
    assert refused.status_code == 409
    assert refused.json()["users"] == [f"run {run_id}"]
    assert run_id in refused.json()["detail"]
    cancel(client, run_id)
    assert client.delete("/v1/datasets/busy").status_code == 204


def test_a_queued_run_starts_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        put(first.client, "kept", 2000)
        with first.engine_held():
            waiting = submit(first.client, dataset="kept", rows=[100, 104])
            # The drain is over before the run can start.
            first.stop_while_held()
    with serving(tmp_path) as second:
        sent = rows(2000)[100:104].tolist()
        same = submit(second.client, embeddings=sent, sample_keys=list(range(100, 104)))
        assert results(second.client, waiting) == results(second.client, same)


@pytest.mark.slow
def test_no_accepted_run_loses_its_rows(server: RunningServer) -> None:
    """Each request for a run is refused or succeeds while datasets are deleted and replaced."""
    base = server.client.base_url
    stop = threading.Event()
    chance = random.Random(0)
    asking = [0.0]

    def change() -> None:
        with httpx.Client(base_url=base, timeout=LIMIT_SECONDS) as client:
            seed = 0
            # Now in the middle of a request, now between two, however long they take here.
            while not stop.wait(chance.uniform(0, 4 * asking[0])):
                seed += 1
                client.delete("/v1/datasets/changing")
                headers = NPY
                client.put("/v1/datasets/changing", content=npy(rows(4, seed)), headers=headers)

    changing = threading.Thread(target=change)
    changing.start()
    taken: list[str] = []
    statuses: set[int] = set()
    try:
        end = time.monotonic() + LIMIT_SECONDS
        while len(taken) < 20 and time.monotonic() < end:
            began = time.monotonic()
            answer = server.client.post("/v1/runs", json={"dataset": "changing", "rows": [1, 3]})
            asking[0] = time.monotonic() - began
            statuses.add(answer.status_code)
            if answer.status_code == 202:
                taken.append(answer.json()["run_id"])
    finally:
        stop.set()
        changing.join(LIMIT_SECONDS)
    assert statuses <= {202, 404}
    assert taken
    for run_id in taken:
        run = wait_until_ended(server.client, run_id)
        assert run["state"] == "succeeded", run["error"]
        replayed = server.client.post(f"/v1/runs/{run_id}/replay", json={"sample": 1})
        assert replayed.json()["agrees"] is True
        digest = run["dataset"]["digest"]
        assert content_file(server, digest).exists()
        assert server.client.delete(f"/v1/runs/{run_id}").status_code == 204
    server.client.delete("/v1/datasets/changing")
    assert not content_file(server, digest).exists()


@pytest.mark.usefixtures("still_works")
def test_refusals_name_every_fault(client: httpx.Client) -> None:
    put(client, "small", 3)
    headers = NPY
    wide = npy(np.zeros((2, 9), dtype=np.float32))
    assert client.put("/v1/datasets/of_nine", content=wide, headers=headers).status_code == 201
    for fields, locs in (
        ({}, [["embeddings"]]),
        ({"embeddings": None}, [["embeddings"]]),
        ({"rows": [0, 1]}, [["embeddings"], ["rows"]]),
        ({"dataset": "small", "embeddings": rows().tolist()}, [["dataset"]]),
        ({"dataset": "small", "rows": [0, 4]}, [["rows"]]),
        ({"dataset": "small", "rows": [2, 2]}, [["rows"]]),
        ({"dataset": "small", "rows": [-1, 2]}, [["rows"]]),
        ({"dataset": "small", "rows": [1]}, [["rows"]]),
        ({"dataset": "small", "rows": "all"}, [["rows"]]),
        ({"dataset": "small", "rows": [0, 2], "sample_keys": [1]}, [["sample_keys"]]),
        ({"dataset": "of_nine", "rows": [0, 9], "seed": -1}, [["seed"], ["rows"], ["dataset"]]),
        ({"dataset": "a/b", "options": {"gravity": 1}}, [["dataset"], ["options", "gravity"]]),
    ):
        answer = client.post("/v1/runs", json=fields)
        assert answer.status_code == 422, (fields, answer.text)
        assert [error["loc"] for error in answer.json()["errors"]] == locs, answer.text
    unknown = client.post("/v1/runs", json={"dataset": "nowhere"})
    assert unknown.status_code == 404
    assert unknown.json()["errors"][0]["loc"] == ["dataset"]
    for query, loc in (({"dataset": "small"}, "dataset"), ({"rows": "[0,1]"}, "rows")):
        answer = client.post("/v1/runs", params=query, content=npy(rows()), headers=headers)
        assert loc in [error["loc"][0] for error in answer.json()["errors"]]
    simulated = client.post("/v1/simulate", json={"dataset": "small"})
    assert simulated.status_code == 422
    assert {error["loc"][0] for error in simulated.json()["errors"]} == {"dataset", "embeddings"}


def test_a_damaged_dataset_fails_its_runs_and_no_others(server: RunningServer) -> None:
    client = server.client
    digest = put(client, "damaged", 30, seed=12)
    path = content_file(server, digest)
    sound = path.read_bytes()
    path.write_bytes(sound[:700])
    run = wait_until_ended(client, submit(client, dataset="damaged", rows=[20, 30]))
    assert run["state"] == "failed"
    assert run["error"]["detail"]
    path.unlink()
    assert wait_until_ended(client, submit(client, dataset="damaged"))["state"] == "failed"
    path.write_bytes(sound)
    assert wait_until_ended(client, submit(client, dataset="damaged"))["state"] == "succeeded"


def test_a_dataset_may_be_longer_than_a_run(tmp_path: Path) -> None:
    with serving(tmp_path, max_samples=4) as server:
        put(server.client, "long", 9)
        refused = server.client.post("/v1/runs", json={"dataset": "long"})
        assert refused.status_code == 413
        assert refused.json()["limit_samples"] == 4
        run_id = submit(server.client, dataset="long", rows=[5, 9])
        assert wait_until_ended(server.client, run_id)["state"] == "succeeded"
