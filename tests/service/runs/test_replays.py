"""Replay and comparison of stored runs, through the server."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from energy_flow.trace.records import REASONS
from tests.support.bodies import NPY, npy
from tests.support.servers import RunningServer, queue, rows, wait_until_ended
from tests.support.stored_rows import change_rows

LIVELY = {
    "noise_std": 0.3,
    "max_steps": 8,
    "projection_age": 6,
    "spawn.threshold": 0.15,
    "spawn.max_children": 2,
    "convergence.enabled": False,
}


def records(client: httpx.Client, run_id: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/runs/{run_id}/trace", params={"format": "ndjson", **query})
    return [orjson.loads(line) for line in answer.text.splitlines()]


def replayed(client: httpx.Client, run_id: str, **fields: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/runs/{run_id}/replay", json=fields)
    assert answer.status_code == 200, answer.text
    reported: dict[str, Any] = answer.json()
    return reported


def place(reported: dict[str, Any], step: int, flow: int) -> list[np.float32]:
    """Return the position of a flow after a step of its path."""
    path = reported["path"]
    (row,) = (
        row
        for row, where in enumerate(zip(path["step"], path["flow"], strict=True))
        if where == (step, flow)
    )
    return [np.float32(path[name][row]) for name in ("x", "y", "z", "energy")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "trace", [{}, {"capacity": 20}, {"capacity": 20, "keep": "earliest"}, {"keep": "lossless"}]
)
def test_twenty_flows_of_a_noisy_run_are_replayed(
    client: httpx.Client, trace: dict[str, Any]
) -> None:
    run_id = queue(client, 12, options=LIVELY, trace=trace, seed=11)
    assert wait_until_ended(client, run_id)["metrics"]["spawned"] > 20
    generator = np.random.default_rng(3)
    for sample in generator.choice(12, 5, replace=False).tolist():
        stored = records(client, run_id, sample=sample)
        flows = sorted({record["flow"] for record in stored})
        for flow in generator.choice(flows, 4, replace=False).tolist():
            reported = replayed(client, run_id, sample=sample, flow=flow)
            assert reported["agrees"] is True
            assert reported["difference"] is None
            mine = [record for record in stored if record["flow"] == flow]
            lives = reported["flows"]
            at = lives["flow"].index(flow)
            for record in mine:
                after = [np.float32(record[name]) for name in ("x", "y", "z", "energy")]
                if record["kind"] == "terminate":
                    assert place(reported, record["step"], flow) == after
                    assert lives["reason"][at] == REASONS[record["code"]]
                    assert lives["plane"][at] == record["plane"]
                    assert lives["end_step"][at] == record["step"]
                if record["kind"] == "spawn":
                    assert place(reported, record["step"], flow) == after
                    assert lives["born_step"][at] == record["step"]
                    assert lives["parent"][at] == record["parent"]


def test_all_flows_of_a_sample(client: httpx.Client) -> None:
    run_id = queue(client, 3, options=LIVELY, sample_keys=[5, 6, 7])
    wait_until_ended(client, run_id)
    reported = replayed(client, run_id, sample=2)
    counts = client.get(f"/v1/runs/{run_id}/samples").json()["items"][2]
    assert (reported["run_id"], reported["sample"], reported["flow"]) == (run_id, 2, None)
    assert reported["agrees"]
    assert reported["flows"]["flow"] == list(range(counts["created"]))
    path = reported["path"]
    assert list(path) == ["step", "flow", "x", "y", "z", "energy", "length", "age"]
    where = list(zip(path["step"], path["flow"], strict=True))
    assert where == sorted(where)
    # A row for each move, and one where each flow starts.
    assert len(where) == counts["flow_steps"] + counts["created"]


def test_a_sample_of_many_does_the_same(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/runs",
        params={"seed": 4, "trace": '{"capacity": 9}'},
        content=npy(rows(1100)),
        headers=NPY,
    )
    run_id = answer.json()["run_id"]
    wait_until_ended(client, run_id)
    for sample in (0, 700, 1099):
        assert replayed(client, run_id, sample=sample)["agrees"]


def test_a_stored_trace_that_differs_is_reported(
    client: httpx.Client, server: RunningServer
) -> None:
    from energy_flow.trace.batches import columns_of
    from energy_flow.trace.formats.parquet import write_parquet
    from energy_flow.trace.reader import read_batches

    run_id = queue(client, 2, options=LIVELY)
    wait_until_ended(client, run_id)
    path = server.data_dir / "runs" / run_id / "trace.parquet"
    columns = columns_of(read_batches([path]))
    rows_of_one = np.flatnonzero(columns["sample"] == 1)
    columns["energy"][rows_of_one[7]] += np.float32(0.5)

    class Changed:
        pass

    changed = Changed()
    changed.columns = columns  # type: ignore[attr-defined]
    write_parquet(changed, path)  # type: ignore[arg-type]
    # As a run of an earlier version, whose files are not compared with digests.
    change_rows(server.data_dir, "runs", where={"run_id": run_id}, digests=None)
    reported = replayed(client, run_id, sample=1)
    assert reported["agrees"] is False
    difference = reported["difference"]
    assert difference["seq"] == 7
    assert difference["stored"]["energy"] == pytest.approx(difference["replayed"]["energy"] + 0.5)
    assert replayed(client, run_id, sample=0)["agrees"] is True


def test_replays_that_are_refused(client: httpx.Client) -> None:
    run_id = queue(client, 2)
    wait_until_ended(client, run_id)
    url = f"/v1/runs/{run_id}/replay"
    for body, status, where in (
        ({"sample": 2}, 422, ["sample"]),
        ({"sample": 0, "flow": 10**6}, 422, ["flow"]),
        ({}, 422, ["sample"]),
        ({"sample": "0"}, 422, ["sample"]),
        ({"sample": 0, "flows": 1}, 422, ["flows"]),
    ):
        answer = client.post(url, json=body)
        assert answer.status_code == status, answer.text
        assert answer.json()["errors"][0]["loc"] == where
    assert (
        client.post(url, content=b"[]", headers={"content-type": "application/json"}).status_code
        == 400
    )
    assert client.post(url, content=b"x").status_code == 415
    assert client.post("/v1/runs/none/replay", json={"sample": 0}).status_code == 404


def test_a_removed_or_replaced_model_is_409(client: httpx.Client, server: RunningServer) -> None:
    run_id = queue(client, 2)
    wait_until_ended(client, run_id)
    catalog = server.server.service.archive.catalog
    row = catalog.get(run_id)
    assert row is not None
    catalog.change(run_id, model_digest="0" * 64)
    answer = client.post(f"/v1/runs/{run_id}/replay", json={"sample": 0})
    assert answer.status_code == 409
    refusal = answer.json()
    assert "other weights" in refusal["detail"]
    assert (refusal["model"], refusal["digest"]) == (row.model, row.model_digest)
    assert refusal["run_digest"] == "0" * 64
    catalog.change(run_id, model="away")
    answer = client.post(f"/v1/runs/{run_id}/replay", json={"sample": 0})
    assert answer.status_code == 409
    assert "no longer exists" in answer.json()["detail"]


def test_equal_runs_do_not_differ(client: httpx.Client) -> None:
    one, two = (queue(client, 4, options=LIVELY, seed=2) for _ in range(2))
    wait_until_ended(client, one)
    wait_until_ended(client, two)
    reported = client.get(f"/v1/runs/{one}/compare/{two}").json()
    assert (reported["a"], reported["b"]) == (one, two)
    assert [entry["sample"] for entry in reported["samples"]] == [0, 1, 2, 3]
    for entry in reported["samples"]:
        assert entry["first_difference"] is None
        assert entry["surface_max_abs_difference"] == 0
    assert reported["metrics"]["created"]["a"] == reported["metrics"]["created"]["b"]


def test_runs_differ_from_their_first_different_record(client: httpx.Client) -> None:
    one = queue(client, 3, options=LIVELY, seed=2)
    # One sample less, and the middle one with another key.
    two = queue(client, 2, options=LIVELY, seed=2, sample_keys=[0, 77])
    wait_until_ended(client, one)
    wait_until_ended(client, two)
    samples = client.get(f"/v1/runs/{one}/compare/{two}").json()["samples"]
    assert len(samples) == 2
    assert samples[0]["first_difference"] is None
    found = samples[1]["first_difference"]
    mine, other = (records(client, run_id, sample=1) for run_id in (one, two))
    first = next(
        number for number, pair in enumerate(zip(mine, other, strict=False)) if pair[0] != pair[1]
    )
    assert found["seq"] == first
    assert found["a"]["kind"] == mine[first]["kind"]
    assert found["b"]["flow"] == other[first]["flow"]
    assert samples[1]["surface_max_abs_difference"] > 0


@pytest.mark.parametrize("keep", ["latest", "earliest"])
def test_records_that_one_ring_lost_are_no_difference(client: httpx.Client, keep: str) -> None:
    one = queue(client, 3, options=LIVELY, trace={"keep": "lossless"})
    two = queue(client, 3, options=LIVELY, trace={"keep": keep, "capacity": 10})
    wait_until_ended(client, one)
    wait_until_ended(client, two)
    for pair in ((one, two), (two, one)):
        samples = client.get(f"/v1/runs/{pair[0]}/compare/{pair[1]}").json()["samples"]
        assert [entry["first_difference"] for entry in samples] == [None] * 3


def test_runs_of_different_shapes_are_409(client: httpx.Client) -> None:
    fields = {
        "name": "wide",
        "config": {
            **dict.fromkeys(("lattice_width", "lattice_height", "lattice_depth"), 5),
            "embedding_dim": 8,
            "mapper_hidden_dim": 16,
            "carrier_hidden_size": 16,
            "carrier_num_layers": 1,
        },
    }
    assert client.post("/v1/models", json=fields).status_code == 201
    one, two = queue(client, 2), queue(client, 2, model="wide")
    wait_until_ended(client, one)
    wait_until_ended(client, two)
    answer = client.get(f"/v1/runs/{one}/compare/{two}")
    assert answer.status_code == 409
    assert "5 x 5" in answer.json()["detail"]
    assert client.get(f"/v1/runs/{one}/compare/none").status_code == 404
