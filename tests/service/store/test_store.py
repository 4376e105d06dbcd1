"""Stored runs: after restarts, crashes and full disks, and within the size limit."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from service.serving import FlowServer
from service.settings import Settings
from service.store.run_folder import RunFolder
from tests.support.bodies import NPY, npy
from tests.support.index_databases import DATABASES
from tests.support.live_server import live_server
from tests.support.servers import (
    ENDLESS,
    TINY,
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


def everything(client: httpx.Client, run_id: str) -> list[Any]:
    url = f"/v1/runs/{run_id}"
    paths = ("", "/memory", "/profile", "/samples", "/outputs/surface", "/trace?format=ndjson")
    return [client.get(url + path).text for path in paths]


@pytest.mark.slow
def test_runs_exist_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        ids = [queue(first.client, 3)]
        at_once = first.client.post("/v1/simulate", json={"embeddings": rows().tolist()}).json()
        ids.append(at_once["run_id"])
        for run_id in ids:
            wait_until_ended(first.client, run_id)
        before = [everything(first.client, run_id) for run_id in ids]
        events = first.client.get(f"/v1/runs/{ids[0]}/events").text
    with serving(tmp_path) as second:
        assert [everything(second.client, run_id) for run_id in ids] == before
        # Only the last event is sent again, under its old id.
        reported = second.client.get(f"/v1/runs/{ids[0]}/events").text
        last_id = [line for line in events.splitlines() if line.startswith("id:")][-1]
        assert last_id in reported
        assert '"succeeded"' in reported
        assert len(second.client.get("/v1/runs").json()["items"]) == 2


SLOW = {
    "max_steps": 16,
    "projection_age": 16,
    "convergence.enabled": False,
    "spawn.mode": "off",
    "displacement_scale": 1e-9,
}
"""Options of a run whose flows all reach the last step, so that it takes long."""


@pytest.mark.slow
def test_a_stop_ends_running_runs_and_keeps_queued_runs(tmp_path: Path) -> None:
    options = orjson.dumps(SLOW).decode()
    with serving(tmp_path) as first:
        client = first.client
        with first.engine_held() as held:
            # More than may share the pool: the last ones wait.
            ids = [queue_npy(client, 600, options=options) for _ in range(5)]
            keys = ",".join(map(str, range(600)))
            short = queue_npy(client, 600, seed=3, sample_keys=keys)
            held.run_until(lambda: count_done(client, ids[0]))
            before = {run_id: client.get(f"/v1/runs/{run_id}").json() for run_id in (*ids, short)}
            # The drain is over before the next step.
            first.stop_while_held()
    running = [run_id for run_id, run in before.items() if run["state"] == "running"]
    waiting = [run_id for run_id, run in before.items() if run["state"] == "queued"]
    assert len(running) + len(waiting) == 6
    assert ids[0] in running
    assert short in waiting
    assert not list(tmp_path.rglob("*.part"))
    with serving(tmp_path) as second:
        for run_id in running:
            run = second.client.get(f"/v1/runs/{run_id}").json()
            assert run["state"] == "failed"
            assert "interrupted" in run["error"]["detail"]
        assert count_done(second.client, ids[0]) > 0
        for run_id in waiting:
            assert wait_until_ended(second.client, run_id)["state"] == "succeeded"
        kept = second.client.get(f"/v1/runs/{short}/outputs/surface").json()["data"]
        asked = second.client.post("/v1/simulate?seed=3", content=npy(rows(600)), headers=NPY)
        assert asked.json()["outputs"]["surface"] == kept


def test_a_queued_run_whose_model_has_other_weights_after_a_restart_fails(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        before = first.client.get("/v1/models/default").json()["digest"]
        with first.engine_held():
            run_id = queue(first.client, 2)
            first.stop_while_held()
    with serving(tmp_path, set=(*TINY, "model_seed=1")) as second:
        after = second.client.get("/v1/models/default").json()["digest"]
        run = wait_until_ended(second.client, run_id)
    assert run["state"] == "failed"
    error = run["error"]
    assert error["status"] == 409
    assert (error["model"], error["digest"], error["run_digest"]) == ("default", after, before)
    for text in ("'default'", after, before):
        assert text in error["detail"]


@pytest.mark.slow
def test_a_crash_keeps_the_stored_chunks_and_no_partial_files(tmp_path: Path) -> None:
    options = orjson.dumps(SLOW).decode()
    with (
        live_server(tmp_path) as crashing,
        httpx.Client(base_url=crashing.url, timeout=LIMIT_SECONDS) as client,
    ):
        run_id = queue_npy(client, 50_000, outputs="surface,hits", options=options)
        # Stored chunks can be read while the run is running.
        until(lambda: client.get(f"/v1/runs/{run_id}/trace?format=ndjson&sample=700").text)
        crashing.process.send_signal(signal.SIGKILL)
        crashing.process.wait()
    data_dir = tmp_path / "data"
    folder = data_dir / "runs" / run_id
    assert list(folder.glob("*.part"))
    (folder / "trace" / "000000099999.parquet").write_bytes(b"half of a file")
    with (folder / "chunks.jsonl").open("ab") as file:
        file.write(b'{"first_sample": 9')
    (data_dir / "runs" / f".{run_id}-new.part").mkdir()
    with serving(data_dir) as again:
        assert find_leftovers(data_dir) == [run_id]
        run = again.client.get(f"/v1/runs/{run_id}").json()
        assert run["state"] == "failed"
        assert "interrupted by a restart" in run["error"]["detail"]
        kept = run["progress"]["samples_done"]
        assert 600 < kept < 50_000
        assert run["metrics"]["initial"] == 16 * kept
        surface = again.client.get(f"/v1/runs/{run_id}/outputs/surface").json()
        assert surface["shape"] == [kept, 4, 4]
        first = again.client.post(
            "/v1/simulate", params={"options": options}, content=npy(rows(300)), headers=NPY
        ).json()
        assert surface["data"][:300] == first["outputs"]["surface"]
        lines = again.client.get(f"/v1/runs/{run_id}/trace?format=ndjson").text.splitlines()
        assert len(lines) == sum(run["trace"]["recorded"].values())
        assert orjson.loads(lines[-1])["sample"] == kept - 1
        assert again.client.get(f"/v1/runs/{run_id}/memory").status_code == 200


def test_a_power_cut_that_damaged_a_run_removes_it(tmp_path: Path) -> None:
    from service.store.catalog import RunCatalog
    from service.store.database import Database

    with serving(tmp_path) as first:
        fields = {"embeddings": rows().tolist()}
        ids = [first.client.post("/v1/simulate", json=fields).json()["run_id"] for _ in range(2)]
    database = Database(DATABASES.url_of(tmp_path))
    catalog = RunCatalog(database)
    for run_id in ids:
        row = catalog.get(run_id)
        assert row is not None
        assert row.safe
        catalog.change(run_id, safe=False)
    database.close()
    os.truncate(tmp_path / "runs" / ids[0] / "surface.npy", 0)
    with serving(tmp_path) as second:
        assert second.client.get(f"/v1/runs/{ids[0]}").status_code == 404
        assert second.client.get(f"/v1/runs/{ids[1]}/outputs/surface").status_code == 200
        assert find_leftovers(tmp_path) == [ids[1]]


@pytest.mark.slow
def test_the_oldest_runs_are_removed_beyond_the_limit(tmp_path: Path) -> None:
    with serving(tmp_path, keep_runs_bytes=40_000) as server:
        client = server.client
        ids = [
            client.post("/v1/simulate", json={"embeddings": rows(2).tolist()}).json()["run_id"]
            for _ in range(12)
        ]
        kept = [run["run_id"] for run in client.get("/v1/runs").json()["items"]]
        assert 0 < len(kept) < 12
        assert kept == ids[::-1][: len(kept)]
        assert sorted(find_leftovers(tmp_path)) == sorted(kept)
        stored = client.get("/v1/system").json()["store"]
        sizes = [RunFolder(tmp_path / "runs" / run_id).size() for run_id in kept]
        assert stored["ended_runs_bytes"] == sum(sizes) <= 40_000
        assert client.get(f"/v1/runs/{ids[0]}").status_code == 404
        # The newest is there for its caller, even where it alone is more than may be kept.
        large = queue(client, 400)
        assert wait_until_ended(client, large)["bytes"] > 40_000
        assert [run["run_id"] for run in client.get("/v1/runs").json()["items"]] == [large]


def test_running_runs_are_never_removed_for_space(tmp_path: Path) -> None:
    with serving(tmp_path, keep_runs_bytes=0) as server:
        long = queue(server.client, 3, options=ENDLESS)
        queued = [queue(server.client, 2) for _ in range(3)]
        for run_id in queued:
            until(partial(_gone_or_ended, server.client, run_id))
        run = server.client.get(f"/v1/runs/{long}").json()
        assert run["state"] == "running"
        cancel(server.client, long)


def _gone_or_ended(client: httpx.Client, run_id: str) -> bool:
    answer = client.get(f"/v1/runs/{run_id}")
    return answer.status_code == 404 or answer.json()["state"] == "succeeded"


def test_two_servers_do_not_share_a_data_dir(tmp_path: Path) -> None:
    with serving(tmp_path):
        second = FlowServer(Settings(port=0, data_dir=tmp_path, set=TINY))
        second.run()
        assert second.exit_code == 1
        assert "another server" in str(second.service.failure)


@pytest.mark.slow
def test_a_full_disk_is_507_with_nothing_left_behind(small_disk: Path) -> None:
    with serving(small_disk) as server:
        client = server.client
        good = client.post("/v1/simulate", json={"embeddings": rows().tolist()}).json()["run_id"]
        used = _used(small_disk)

        def check_nothing_left() -> None:
            assert find_leftovers(small_disk) == [good]
            runs = client.get("/v1/runs").json()["items"]
            assert [run["run_id"] for run in runs if run["state"] == "succeeded"] == [good]
            # The index may have grown by pages that it reuses.
            assert _used(small_disk) < used + 400_000

        # Its inputs fit, its outputs and trace do not.
        query = {"outputs": "surface,planes,hits"}
        answer = client.post("/v1/simulate", params=query, content=npy(rows(9000)), headers=NPY)
        assert answer.status_code == 507
        assert answer.headers["content-type"] == "application/problem+json"
        check_nothing_left()
        # Nor do the inputs.
        answer = client.post("/v1/runs", content=npy(rows(97_000)), headers=NPY)
        assert answer.status_code == 507
        check_nothing_left()
        # A queued run runs out of room in the middle.
        run = wait_until_ended(client, queue_npy(client, 9000, **query))
        assert run["state"] == "failed"
        assert run["error"]["status"] == 507
        assert 0 < run["progress"]["samples_done"] < 9000
        assert find_leftovers(small_disk).count(run["run_id"]) == 1
        assert client.delete(f"/v1/runs/{run['run_id']}").status_code == 204
        check_nothing_left()
        assert client.get("/readyz").status_code == 200
        again = client.post("/v1/simulate", json={"embeddings": rows().tolist()})
        assert again.status_code == 200
        assert np.shape(again.json()["outputs"]["surface"]) == (3, 4, 4)


def _used(path: Path) -> int:
    reported = os.statvfs(path)
    return (reported.f_blocks - reported.f_bfree) * reported.f_frsize
