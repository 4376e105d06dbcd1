"""Experiments through crashes, stops, power cuts and full disks: as if nothing had happened."""

from __future__ import annotations

import random
import signal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.experiments.store import ExperimentStore
from service.lifespan import State
from service.store.catalog import RunCatalog
from service.store.database import Database
from service.store.run_folder import RunFolder
from tests.live_server import live_server
from tests.service.disks import fill, mounted
from tests.service.experiments_of import (
    ENDED,
    act,
    advance,
    done,
    ended,
    kept,
    look,
    put_dataset,
    quiet,
    start,
    trials,
)
from tests.service.servers import LIMIT_SECONDS, TINY, RunningServer, leftovers, serving, until

pytestmark = pytest.mark.usefixtures("no_patience", "small_pool")

SAMPLES = 100
TRIALS = 4
SWEEP: dict[str, Any] = {
    "dataset": "some",
    "sweep": {"grid": {"noise_std": [0.1, 0.3]}},
    "options": {"spawn.threshold": 0.1},
    "seeds": [0, 5],
    "outputs": ["surface", "hits"],
    "trace": {"capacity": 40},
    "max_parallel": 2,
    "chunk_samples": 4,
}
FILES = ("surface.npy", "hits.npy", "trace.parquet", "chunks.jsonl", "memory.json", "profile.json")


def check_as_if_undisturbed(client: httpx.Client, data_dir: Path, name: str) -> None:
    """An experiment that has been disturbed, against one that is not."""
    experiment = ended(client, name)
    assert experiment["state"] == "succeeded"
    assert experiment["trials"]["succeeded"] == TRIALS
    assert experiment["progress"]["samples_done"] == TRIALS * SAMPLES
    found = trials(client, name)
    assert experiment["progress"]["flow_steps"] == sum(
        trial["metrics"]["flow_steps"] for trial in found
    )
    runs = [trial["run_id"] for trial in found]
    assert sorted(leftovers(data_dir)) == sorted(set(runs))
    for run in runs:
        assert {path.name for path in (data_dir / "runs" / run).iterdir()} == set(FILES)
    start(client, name="undisturbed", **SWEEP)
    assert ended(client, "undisturbed")["state"] == "succeeded"
    assert kept(client, name) == kept(client, "undisturbed")


def paused_midway(server: RunningServer, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An experiment that was paused after its first chunks, and its trials, when all is quiet."""
    client = server.client
    put_dataset(client, "some", SAMPLES)
    with server.engine_held() as engine:
        start(client, name=name, **SWEEP)
        advance(client, engine, name, 20)
        act(client, name, "pause")
    return quiet(client, name), trials(client, name)


def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    chance = random.Random(3)
    claimed = 0

    def far_enough(client: httpx.Client, target: int) -> bool:
        return look(client, "killed")["state"] in ENDED or done(client, "killed") >= target

    for life in range(4):
        with (
            live_server(tmp_path) as server,
            httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client,
        ):
            if life == 0:
                put_dataset(client, "some", SAMPLES)
                start(client, name="killed", **SWEEP)
            # What was told as done is done.
            assert done(client, "killed") >= claimed
            until(partial(far_enough, client, claimed + chance.randint(1, SAMPLES)))
            claimed = done(client, "killed")
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
    with serving(tmp_path / "data") as last:
        check_as_if_undisturbed(last.client, tmp_path / "data", "killed")


def test_a_stop_ends_the_chunks_under_way_and_a_start_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, drain_seconds=LIMIT_SECONDS) as first:
        client = first.client
        put_dataset(client, "some", SAMPLES)
        with first.engine_held() as engine:
            start(client, name="stopped", **SWEEP)
            advance(client, engine, "stopped", 20)
            first.server.ask_to_stop()
            until(lambda: first.server.service.state is State.DRAINING)
    with serving(tmp_path) as second:
        assert done(second.client, "stopped") >= 20
        check_as_if_undisturbed(second.client, tmp_path, "stopped")


def test_a_paused_experiment_stays_paused_over_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        before, found = paused_midway(first, "waiting")
    with serving(tmp_path) as second:
        after = look(second.client, "waiting")
        assert after.pop("last_event_id") > before.pop("last_event_id")
        assert after == before
        assert trials(second.client, "waiting") == found
        assert act(second.client, "waiting", "resume")["state"] == "running"
        check_as_if_undisturbed(second.client, tmp_path, "waiting")


def test_what_the_index_forgot_in_a_power_cut_is_found_again(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        put_dataset(first.client, "some", SAMPLES)
        start(first.client, name="forgotten", **SWEEP)
        ended(first.client, "forgotten")
        before = kept(first.client, "forgotten")
        found = trials(first.client, "forgotten")
    database = Database(f"sqlite:///{tmp_path / 'index.sqlite3'}")
    catalog, store = RunCatalog(database), ExperimentStore(database)
    # All files are on the disk; the rows are as when the trials were at work, or not yet that.
    for trial in found[:2]:
        catalog.change(trial["run_id"], state="running", ended_at=None, samples_done=0, bytes=0)
    catalog.change(found[2]["run_id"], state="queued", started_at=None, ended_at=None)
    row = store.find("forgotten")
    assert row is not None
    store.change(row.experiment_id, state="running", ended_at=None, counts=None)
    database.close()
    with serving(tmp_path) as second:
        assert ended(second.client, "forgotten")["trials"]["succeeded"] == TRIALS
        assert kept(second.client, "forgotten") == before
        check_as_if_undisturbed(second.client, tmp_path, "forgotten")


def test_a_crash_after_a_cancel_or_a_failure_does_not_undo_it(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        _, found = paused_midway(first, "cut-short")
    begun = [trial for trial in found if trial["samples_done"]]
    assert len(begun) >= 2
    database = Database(f"sqlite:///{tmp_path / 'index.sqlite3'}")
    catalog, store = RunCatalog(database), ExperimentStore(database)
    # Noted before the folders were sealed, which the crash prevented.
    verdict = {"type": "about:blank", "title": "", "status": 422, "detail": "broken", "errors": []}
    catalog.change(begun[0]["run_id"], state="running", error=verdict)
    row = store.find("cut-short")
    assert row is not None
    store.change(row.experiment_id, state="running", cancelling=True)
    database.close()
    with serving(tmp_path) as second:
        over = ended(second.client, "cut-short")
        assert over["state"] == "cancelled"
        assert over["trials"]["failed"] == 1
        assert over["trials"]["cancelled"] == TRIALS - 1
        after = trials(second.client, "cut-short")
        failed = after[begun[0]["trial"]]
        assert (failed["state"], failed["error"]) == ("failed", verdict)
        for trial in begun:
            known = after[trial["trial"]]
            assert known["samples_done"] == trial["samples_done"]
            assert known["metrics"]["flow_steps"] == trial["metrics"]["flow_steps"]
            surface = RunFolder(tmp_path / "runs" / trial["run_id"]).output("surface")
            assert len(surface) == trial["samples_done"]
        assert sorted(leftovers(tmp_path)) == sorted(trial["run_id"] for trial in begun)


def test_an_experiment_whose_model_is_another_waits_for_it(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        client = first.client
        put_dataset(client, "some", SAMPLES)
        with first.engine_held() as engine:
            start(client, name="faithful", **SWEEP)
            advance(client, engine, "faithful", 20)
            first.stop_while_held()
    with serving(tmp_path, set=(*TINY, "model_seed=1")) as other:
        until(lambda: look(other.client, "faithful")["state"] == "paused")
        experiment = look(other.client, "faithful")
        assert experiment["error"]["status"] == 409
        assert "other weights" in experiment["error"]["detail"]
    with serving(tmp_path) as again:
        assert act(again.client, "faithful", "resume")["error"] is None
        check_as_if_undisturbed(again.client, tmp_path, "faithful")


def test_a_full_disk_pauses_an_experiment_and_breaks_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "32m") as disk, serving(disk / "data") as server:
        data_dir, filler = disk / "data", disk / "filler"
        client = server.client
        put_dataset(client, "some", SAMPLES)
        start(client, name="small", dataset="some", rows=[0, 4])
        ended(client, "small")
        with server.engine_held() as engine:
            start(client, name="squeezed", **SWEEP)
            advance(client, engine, "squeezed", 20)
            fill(filler)
        until(lambda: look(client, "squeezed")["state"] == "paused")
        stuck = quiet(client, "squeezed")
        assert stuck["error"]["status"] == 507
        assert 20 <= stuck["progress"]["samples_done"] < TRIALS * SAMPLES
        for trial in trials(client, "squeezed"):
            assert trial["state"] in ("paused", "queued", "succeeded")
        assert len(kept(client, "small")) == 1
        assert client.get("/readyz").status_code == 200
        filler.unlink()
        assert act(client, "squeezed", "resume")["error"] is None
        assert client.delete("/v1/experiments/small").status_code == 204
        check_as_if_undisturbed(client, data_dir, "squeezed")
