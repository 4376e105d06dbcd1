"""Names, tags and notes of runs and experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from tests.support.bodies import NPY, npy
from tests.support.command_line import Caller
from tests.support.experiments import put_dataset, start_experiment
from tests.support.experiments import wait_until_ended as wait_for_experiment
from tests.support.servers import (
    RunningServer,
    queue,
    queue_npy,
    rows,
    serving,
    wait_until_ended,
)

LABELS = {"name": "first try", "tags": ["a", "b"], "note": "two\nlines"}
NONE: dict[str, Any] = {"name": None, "tags": [], "note": None}


def labels_of(client: httpx.Client, run_id: str) -> dict[str, Any]:
    run = client.get(f"/v1/runs/{run_id}").json()
    return {name: run[name] for name in LABELS}


def change(client: httpx.Client, run_id: str, **fields: Any) -> httpx.Response:
    return client.patch(f"/v1/runs/{run_id}", json=fields)


def test_a_run_has_what_it_was_created_with(server: RunningServer) -> None:
    given = {"name": " first try ", "tags": ["b", "a", "b"], "note": "two\nlines"}
    queued = queue(server.client, 2, **given)
    assert labels_of(server.client, queued) == LABELS
    body = {"embeddings": rows(2).tolist(), **given}
    simulated = server.client.post("/v1/simulate", json=body).json()
    assert labels_of(server.client, simulated["run_id"]) == LABELS
    sent = queue_npy(server.client, 2, name="first try", tags="b,a", note="two\nlines")
    assert labels_of(server.client, sent) == LABELS
    assert labels_of(server.client, queue(server.client, 2)) == NONE


def test_they_have_no_effect_on_results(server: RunningServer) -> None:
    found = []
    for fields in ({}, LABELS):
        run_id = queue(server.client, 2, **fields)
        run = wait_until_ended(server.client, run_id)
        surface = server.client.get(f"/v1/runs/{run_id}/outputs/surface?format=npy").content
        found.append((surface, run["metrics"]["flow_steps"], run["model"]["digest"]))
    assert found[0] == found[1]


def test_absent_members_stay_and_empty_ones_remove(server: RunningServer) -> None:
    run_id = queue(server.client, 2, **LABELS)
    assert change(server.client, run_id, tags=["c"]).json()["tags"] == ["c"]
    assert labels_of(server.client, run_id) == {**LABELS, "tags": ["c"]}
    wait_until_ended(server.client, run_id)
    assert change(server.client, run_id, name="other", note=None).status_code == 200
    assert labels_of(server.client, run_id) == {**LABELS, "tags": ["c"], "name": "other"}
    assert change(server.client, run_id, name="", tags=[], note="").status_code == 200
    assert labels_of(server.client, run_id) == NONE
    assert change(server.client, "nothing", name="x").status_code == 404


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"name": "x" * 201}, ["name"]),
        ({"name": "two\nlines"}, ["name"]),
        ({"tags": ["x" * 65]}, ["tags", 0]),
        ({"tags": ["good", "with, comma"]}, ["tags", 1]),
        ({"tags": [" "]}, ["tags", 0]),
        ({"tags": [str(number) for number in range(33)]}, ["tags"]),
        ({"note": "x" * 10_001}, ["note"]),
        ({"note": "\0"}, ["note"]),
        ({"title": "x"}, ["title"]),
    ],
)
def test_what_breaks_a_rule_is_refused(
    server: RunningServer, fields: dict[str, Any], place: list[Any]
) -> None:
    run_id = queue(server.client, 1)
    refused = change(server.client, run_id, **fields)
    assert refused.status_code == 422
    assert [fault["loc"] for fault in refused.json()["errors"]] == [place]
    body = {"embeddings": rows(1).tolist(), **fields}
    assert server.client.post("/v1/runs", json=body).status_code == 422
    assert labels_of(server.client, run_id) == NONE


def test_an_experiment_keeps_its_name_and_has_tags_and_a_note(server: RunningServer) -> None:
    client = server.client
    put_dataset(client, "few", 2)
    made = start_experiment(client, name="labelled", dataset="few", tags=["b", "a"], note="x")
    assert (made["name"], made["tags"], made["note"]) == ("labelled", ["a", "b"], "x")
    answer = client.patch("/v1/experiments/labelled", json={"tags": ["c"]})
    assert (answer.json()["tags"], answer.json()["note"]) == (["c"], "x")
    wait_for_experiment(client, "labelled")
    assert client.patch("/v1/experiments/labelled", json={"note": ""}).json()["note"] is None
    after = client.get("/v1/experiments/labelled").json()
    assert (after["tags"], after["note"]) == (["c"], None)
    assert client.patch("/v1/experiments/labelled", json={"name": "new"}).status_code == 422
    [trial] = client.get("/v1/experiments/labelled/trials").json()["items"]
    assert labels_of(client, trial["run_id"]) == NONE


@pytest.mark.sqlite
def test_a_rebuilt_index_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path) as server:
        client = server.client
        given, changed, running = (queue(client, 2, **LABELS) for _ in range(3))
        with server.engine_held():
            late = queue(client, 2)
            # Described when it is queued, and again when it ends.
            change(client, late, name="while it waits")
        for run_id in (given, changed, running, late):
            wait_until_ended(client, run_id)
        change(client, changed, name="other", tags=["é"])
        files = {path: path.read_bytes() for path in tmp_path.glob("runs/*/surface.npy")}
    for path in tmp_path.glob("index.sqlite3*"):
        path.unlink()
    rebuilt = Caller(capsys)("data", "rebuild-index", "--data-dir", tmp_path)
    assert rebuilt.returncode == 0, rebuilt.stderr
    with serving(tmp_path) as server:
        client = server.client
        assert labels_of(client, given) == LABELS
        assert labels_of(client, changed) == {**LABELS, "name": "other", "tags": ["é"]}
        assert labels_of(client, late) == {**NONE, "name": "while it waits"}
    assert files == {path: path.read_bytes() for path in tmp_path.glob("runs/*/surface.npy")}


@pytest.mark.sqlite
def test_a_description_of_an_earlier_version_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path) as server:
        run_id = queue(server.client, 1, **LABELS)
        wait_until_ended(server.client, run_id)
    path = tmp_path / "runs" / run_id / "run.json"
    described = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({k: v for k, v in described.items() if k not in LABELS}))
    for index in tmp_path.glob("index.sqlite3*"):
        index.unlink()
    rebuilt = Caller(capsys)("data", "rebuild-index", "--data-dir", tmp_path)
    assert rebuilt.returncode == 0, rebuilt.stderr
    with serving(tmp_path) as server:
        assert labels_of(server.client, run_id) == NONE
        body = npy(np.asarray(rows(1)))
        assert server.client.post("/v1/runs", content=body, headers=NPY).status_code == 202
