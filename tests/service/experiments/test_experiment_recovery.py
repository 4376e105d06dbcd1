"""Experiments after crashes, stops, power cuts and full disks have the same results."""

from __future__ import annotations

import io
import random
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from energy_flow.choices import ServerState
from service.experiments.store import ExperimentStore
from service.store.catalog import RunCatalog
from service.store.database import Database
from tests.support.disks import fill, mounted
from tests.support.experiments import (
    ENDED,
    advance,
    change_state,
    count_stored,
    experiment_server,
    put_dataset,
    read_experiment,
    read_stored_results,
    read_trials,
    start_experiment,
    wait_until_ended,
    wait_until_quiet,
)
from tests.support.index_databases import DATABASES
from tests.support.interrupted import (
    SAMPLES,
    SWEEP,
    TRIALS,
    check_as_if_undisturbed,
    paused_midway,
)
from tests.support.live_server import live_server
from tests.support.servers import TINY, find_leftovers
from tests.support.waits import LIMIT_SECONDS, until

pytestmark = pytest.mark.slow


def test_kills_at_random_moments_do_not_change_results(tmp_path: Path) -> None:
    chance = random.Random(3)
    claimed = 0

    def far_enough(client: httpx.Client, target: int) -> bool:
        return (
            read_experiment(client, "killed")["state"] in ENDED
            or count_stored(client, "killed") >= target
        )

    for life in range(4):
        with (
            live_server(tmp_path) as server,
            httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client,
        ):
            if life == 0:
                put_dataset(client, "some", SAMPLES)
                start_experiment(client, name="killed", **SWEEP)
            # Reported samples are stored.
            assert count_stored(client, "killed") >= claimed
            until(partial(far_enough, client, claimed + chance.randint(1, SAMPLES)))
            claimed = count_stored(client, "killed")
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
    with experiment_server(tmp_path / "data") as last:
        check_as_if_undisturbed(last.client, tmp_path / "data", "killed")


def test_a_stop_completes_started_chunks_and_a_start_continues(tmp_path: Path) -> None:
    with experiment_server(tmp_path, drain_seconds=LIMIT_SECONDS) as first:
        client = first.client
        put_dataset(client, "some", SAMPLES)
        with first.engine_held() as engine:
            start_experiment(client, name="stopped", **SWEEP)
            advance(client, engine, "stopped", 20)
            first.server.request_stop()
            until(lambda: first.server.service.state is ServerState.DRAINING)
    with experiment_server(tmp_path) as second:
        assert count_stored(second.client, "stopped") >= 20
        check_as_if_undisturbed(second.client, tmp_path, "stopped")


def test_a_paused_experiment_stays_paused_over_a_restart(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        before, found = paused_midway(first, "waiting")
    with experiment_server(tmp_path) as second:
        after = read_experiment(second.client, "waiting")
        assert after.pop("last_event_id") > before.pop("last_event_id")
        assert after == before
        assert read_trials(second.client, "waiting") == found
        assert change_state(second.client, "waiting", "resume")["state"] == "running"
        check_as_if_undisturbed(second.client, tmp_path, "waiting")


@pytest.mark.parametrize("pattern", ["hits.npy.part", "trace/*.parquet"])
def test_a_lost_file_of_finished_chunks_pauses_it(tmp_path: Path, pattern: str) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        _, found = paused_midway(server, "waiting")
        begun = next(trial for trial in found if trial["samples_done"])
        path = min((tmp_path / "runs" / begun["run_id"]).glob(pattern))
        path.rename(tmp_path / "kept")
        change_state(client, "waiting", "resume")
        error = until(lambda: read_experiment(client, "waiting")["error"])
        assert (error["status"], error["file"]) == (409, path.relative_to(tmp_path).as_posix())
        assert wait_until_quiet(client, "waiting")["state"] == "paused"
        (tmp_path / "kept").rename(path)
        change_state(client, "waiting", "resume")
        check_as_if_undisturbed(client, tmp_path, "waiting")


def test_runs_missing_from_the_index_after_a_power_cut_are_restored(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        put_dataset(first.client, "some", SAMPLES)
        start_experiment(first.client, name="forgotten", **SWEEP)
        wait_until_ended(first.client, "forgotten")
        before = read_stored_results(first.client, "forgotten")
        found = read_trials(first.client, "forgotten")
    database = Database(DATABASES.url_of(tmp_path))
    catalog, store = RunCatalog(database), ExperimentStore(database)
    # All files are on the disk; the rows are as while the trials were running or queued.
    for trial in found[:2]:
        catalog.change(trial["run_id"], state="running", ended_at=None, samples_done=0, bytes=0)
    catalog.change(found[2]["run_id"], state="queued", started_at=None, ended_at=None)
    row = store.find("forgotten")
    assert row is not None
    store.change(row.experiment_id, state="running", ended_at=None, counts=None)
    database.close()
    with experiment_server(tmp_path) as second:
        assert wait_until_ended(second.client, "forgotten")["trials"]["succeeded"] == TRIALS
        assert read_stored_results(second.client, "forgotten") == before
        check_as_if_undisturbed(second.client, tmp_path, "forgotten")


def test_a_crash_after_a_cancel_or_a_failure_does_not_undo_it(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        _, found = paused_midway(first, "cut-short")
    begun = [trial for trial in found if trial["samples_done"]]
    assert len(begun) >= 2
    database = Database(DATABASES.url_of(tmp_path))
    catalog, store = RunCatalog(database), ExperimentStore(database)
    # Noted before the folders were sealed, which the crash prevented.
    verdict = {"type": "about:blank", "title": "", "status": 422, "detail": "broken", "errors": []}
    catalog.change(begun[0]["run_id"], state="running", error=verdict)
    row = store.find("cut-short")
    assert row is not None
    store.change(row.experiment_id, state="running", cancelling=True)
    database.close()
    with experiment_server(tmp_path) as second:
        over = wait_until_ended(second.client, "cut-short")
        assert over["state"] == "cancelled"
        assert over["trials"]["failed"] == 1
        assert over["trials"]["cancelled"] == TRIALS - 1
        after = read_trials(second.client, "cut-short")
        failed = after[begun[0]["trial"]]
        assert (failed["state"], failed["error"]) == ("failed", verdict)
        for trial in begun:
            known = after[trial["trial"]]
            assert known["samples_done"] == trial["samples_done"]
            assert known["metrics"]["flow_steps"] == trial["metrics"]["flow_steps"]
            surface = np.load(tmp_path / "runs" / trial["run_id"] / "surface.npy")
            assert len(surface) == trial["samples_done"]
        assert sorted(find_leftovers(tmp_path)) == sorted(trial["run_id"] for trial in begun)


def test_an_experiment_whose_model_is_another_waits_for_it(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        client = first.client
        put_dataset(client, "some", SAMPLES)
        with first.engine_held() as engine:
            start_experiment(client, name="faithful", **SWEEP)
            advance(client, engine, "faithful", 20)
            first.stop_while_held()
    with experiment_server(tmp_path, set=(*TINY, "model_seed=1")) as other:
        until(lambda: read_experiment(other.client, "faithful")["state"] == "paused")
        experiment = read_experiment(other.client, "faithful")
        assert experiment["error"]["status"] == 409
        assert "other weights" in experiment["error"]["detail"]
    with experiment_server(tmp_path) as again:
        assert change_state(again.client, "faithful", "resume")["error"] is None
        check_as_if_undisturbed(again.client, tmp_path, "faithful")


def test_a_full_disk_pauses_an_experiment_and_breaks_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "32m") as disk, experiment_server(disk / "data") as server:
        data_dir, filler = disk / "data", disk / "filler"
        client = server.client
        put_dataset(client, "some", SAMPLES)
        start_experiment(client, name="small", dataset="some", rows=[0, 4])
        wait_until_ended(client, "small")
        with server.engine_held() as engine:
            start_experiment(client, name="squeezed", **SWEEP)
            advance(client, engine, "squeezed", 20)
            fill(filler)
        until(lambda: read_experiment(client, "squeezed")["state"] == "paused")
        stuck = wait_until_quiet(client, "squeezed")
        assert stuck["error"]["status"] == 507
        assert 20 <= stuck["progress"]["samples_done"] < TRIALS * SAMPLES
        for trial in read_trials(client, "squeezed"):
            assert trial["state"] in ("paused", "queued", "succeeded")
        assert len(read_stored_results(client, "small")) == 1
        assert client.get("/readyz").status_code == 200
        filler.unlink()
        assert change_state(client, "squeezed", "resume")["error"] is None
        assert client.delete("/v1/experiments/small").status_code == 204
        check_as_if_undisturbed(client, data_dir, "squeezed")


@pytest.mark.sqlite
def test_a_start_on_a_full_disk_pauses_an_interrupted_experiment(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "32m") as disk:
        data_dir, filler = disk / "data", disk / "filler"
        with experiment_server(tmp_path / "live") as server:
            put_dataset(server.client, "some", SAMPLES)
            with server.engine_held() as engine:
                start_experiment(server.client, name="squeezed", **SWEEP)
                advance(server.client, engine, "squeezed", 20)
                # As a crash would leave it.
                shutil.copytree(tmp_path / "live", data_dir)
        fill(filler)
        with experiment_server(data_dir) as server:
            client = server.client
            until(lambda: read_experiment(client, "squeezed")["state"] == "paused")
            stuck = wait_until_quiet(client, "squeezed")
            assert stuck["error"]["status"] == 507
            assert stuck["progress"]["samples_done"] >= 20
            filler.unlink()
            assert change_state(client, "squeezed", "resume")["error"] is None
            check_as_if_undisturbed(client, data_dir, "squeezed")


def test_trials_that_are_cancelled_on_a_full_disk_keep_their_chunks(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "32m") as disk, experiment_server(disk / "data") as server:
        filler = disk / "filler"
        client = server.client
        put_dataset(client, "some", SAMPLES)
        with server.engine_held() as engine:
            start_experiment(client, name="squeezed", **SWEEP)
            advance(client, engine, "squeezed", 20)
            stored = [trial["samples_done"] for trial in read_trials(client, "squeezed")]
            assert change_state(client, "squeezed", "cancel")["state"] == "running"
            fill(filler)
        until(lambda: not find_unended(client, "squeezed"))
        stuck = read_trials(client, "squeezed")
        begun = [trial for trial in stuck if stored[trial["trial"]]]
        assert sum(trial["samples_done"] for trial in begun) >= 20
        filler.unlink()
        assert wait_until_ended(client, "squeezed")["state"] == "cancelled"
        until(lambda: not [one for one in read_trials(client, "squeezed") if not one["ended_at"]])
        kept = read_stored_results(client, "squeezed")
        start_experiment(client, name="undisturbed", **SWEEP)
        assert wait_until_ended(client, "undisturbed")["state"] == "succeeded"
        expected = read_stored_results(client, "undisturbed")
        for trial in begun:
            found, whole = kept[trial["trial"]], expected[trial["trial"]]
            assert found["state"] == "cancelled"
            # Samples that the cancellation has cut short can follow.
            done = stored[trial["trial"]]
            assert found["samples"][:done] == whole["samples"][:done]
            for name, data in found["outputs"].items():
                arrays = [np.load(io.BytesIO(one)) for one in (data, whole["outputs"][name])]
                assert len(arrays[0]) == len(found["samples"]) == trial["samples_done"]
                assert np.array_equal(arrays[0][:done], arrays[1][:done])
            records = [[r for r in one["records"] if r["sample"] < done] for one in (found, whole)]
            assert records[0] == records[1]


def find_unended(client: httpx.Client, name: str) -> list[dict[str, Any]]:
    """Return the trials that have samples and have not ended."""
    found = read_trials(client, name)
    return [one for one in found if one["samples_done"] and one["state"] not in ENDED]
