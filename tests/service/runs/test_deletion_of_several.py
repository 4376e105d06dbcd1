"""Several runs or experiments are deleted by one request."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.experiments import put_dataset, start_experiment
from tests.support.experiments import wait_until_ended as wait_for_experiment
from tests.support.servers import RunningServer, queue, wait_until_ended


def finished(client: httpx.Client, **fields: Any) -> str:
    run_id = queue(client, 1, **fields)
    wait_until_ended(client, run_id)
    return run_id


def delete(client: httpx.Client, path: str = "/v1/runs:delete", **fields: Any) -> dict[str, Any]:
    answer = client.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def statuses(answer: dict[str, Any]) -> dict[str, int]:
    return {one["id"]: one["error"]["status"] for one in answer["kept"]}


def test_runs_are_deleted_by_id_and_others_are_kept_with_the_reason(
    server: RunningServer,
) -> None:
    client = server.client
    first, second = finished(client), finished(client)
    put_dataset(client, "few", 2)
    start_experiment(client, name="of-several", dataset="few")
    wait_for_experiment(client, "of-several")
    trial = client.get("/v1/experiments/of-several/trials/0").json()["run_id"]
    with server.engine_held():
        waiting = queue(client, 1)
        found = delete(client, ids=[first, waiting, "nothing", trial, second, first])
    assert found["deleted"] == [first, second]
    assert statuses(found) == {waiting: 409, "nothing": 404, trial: 409}
    # As the request about one of them answers.
    again = client.delete("/v1/runs/nothing").json()
    assert found["kept"][1]["error"] == again
    assert client.get(f"/v1/runs/{first}").status_code == 404
    assert not (server.data_dir / "runs" / first).exists()
    assert client.get(f"/v1/runs/{trial}").status_code == 200
    wait_until_ended(client, waiting)


def test_a_filter_deletes_as_many_as_are_expected(server: RunningServer) -> None:
    client = server.client
    runs = [finished(client, tags=["gone"]) for _ in range(3)]
    stays = finished(client, tags=["stays"])
    refused = client.post("/v1/runs:delete", json={"filter": {"tag": ["gone"]}, "count": 2})
    assert (refused.status_code, refused.json()["count"]) == (409, 3)
    assert len(client.get("/v1/runs", params={"tag": "gone"}).json()["items"]) == 3
    chosen = {"tag": ["gone"], "state": "succeeded", "kind": ["run"]}
    found = delete(client, filter=chosen, count=3)
    assert set(found["deleted"]) == set(runs)
    assert found["kept"] == []
    assert delete(client, filter=chosen, count=0) == {"deleted": [], "kept": []}
    assert client.get(f"/v1/runs/{stays}").status_code == 200


def test_experiments_are_deleted_with_their_runs(server: RunningServer) -> None:
    client, path = server.client, "/v1/experiments:delete"
    put_dataset(client, "few", 2)
    for name in ("one", "two", "three"):
        start_experiment(client, name=name, dataset="few", tags=["batch"])
        wait_for_experiment(client, name)
    trial = client.get("/v1/experiments/one/trials/0").json()["run_id"]
    found = delete(client, path, ids=["one", "nothing"])
    assert found["deleted"] == ["one"]
    assert statuses(found) == {"nothing": 404}
    assert client.get(f"/v1/runs/{trial}").status_code == 404
    refused = client.post(path, json={"filter": {"tag": ["batch"]}, "count": 3})
    assert refused.status_code == 409
    assert len(delete(client, path, filter={"tag": ["batch"]}, count=2)["deleted"]) == 2
    assert client.get("/v1/experiments", params={"tag": "batch"}).json()["items"] == []


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, ["ids"]),
        ({"ids": []}, ["ids"]),
        ({"ids": ["x"] * 1001}, ["ids"]),
        ({"ids": ["x"], "filter": {}, "count": 1}, ["ids"]),
        ({"ids": ["x"], "count": 1}, ["count"]),
        ({"filter": {"state": "failed"}}, ["count"]),
        ({"filter": {"state": "failed"}, "count": 1001}, ["count"]),
        ({"filter": {"states": "failed"}, "count": 1}, ["filter", "states"]),
        ({"filter": {"created_before": "soon"}, "count": 1}, ["filter", "created_before"]),
    ],
)
def test_a_request_that_states_no_choice_is_refused(
    server: RunningServer, fields: dict[str, Any], place: list[str]
) -> None:
    for path in ("/v1/runs:delete", "/v1/experiments:delete"):
        refused = server.client.post(path, json=fields)
        assert refused.status_code == 422, refused.text
        assert [fault["loc"] for fault in refused.json()["errors"]] == [place]
