"""Experiments through crashes, stops and restarts: as if nothing had happened."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.lifecycle import State
from tests.live_server import live_server
from tests.service.experiments_of import (
    act,
    advance,
    ended,
    kept,
    look,
    put_dataset,
    quiet,
    start,
    trials,
)
from tests.service.servers import LIMIT_SECONDS, leftovers, serving, until

SAMPLES = 240
SWEEP: dict[str, Any] = {
    "dataset": "some",
    "sweep": {"grid": {"noise_std": [0.1, 0.3], "spawn.threshold": [0.1, 0.2]}},
    "seeds": [0, 5],
    "outputs": ["surface", "hits"],
    "trace": {"capacity": 40},
    "max_parallel": 3,
    "chunk_samples": 8,
}
TRIALS = 8


def undisturbed(data_dir: Path, **fields: Any) -> list[dict[str, Any]]:
    with serving(data_dir) as server:
        put_dataset(server.client, "some", SAMPLES)
        start(server.client, name="undisturbed", **{**SWEEP, **fields})
        assert ended(server.client, "undisturbed")["state"] == "succeeded"
        return kept(server.client, "undisturbed")


def check_nothing_left(data_dir: Path, client: httpx.Client, name: str) -> None:
    runs = {trial["run_id"] for trial in trials(client, name)}
    assert len(runs) == TRIALS
    assert sorted(leftovers(data_dir)) == sorted(runs)
    for run in runs:
        names = {path.name for path in (data_dir / "runs" / run).iterdir()}
        assert names <= {
            "surface.npy",
            "hits.npy",
            "trace.parquet",
            "chunks.jsonl",
            "memory.json",
            "profile.json",
        }


def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    chance = random.Random(3)
    data_dir = tmp_path / "data"
    seen, interrupted = -1, 0
    for life in range(5):
        with (
            live_server(tmp_path) as server,
            httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client,
        ):
            if life == 0:
                put_dataset(client, "some", SAMPLES)
                start(client, name="killed", **SWEEP)
            before = _done(client, "killed")
            # What was told as done is done.
            assert before >= seen
            enough = min(before + chance.randint(1, SAMPLES), TRIALS * SAMPLES)
            until(lambda client=client, enough=enough: _done(client, "killed") >= enough)
            seen = _done(client, "killed")
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        interrupted += seen < TRIALS * SAMPLES
    assert interrupted > 0
    with serving(data_dir) as last:
        experiment = ended(last.client, "killed")
        assert experiment["state"] == "succeeded"
        assert experiment["trials"]["succeeded"] == TRIALS
        assert experiment["progress"]["samples_done"] == TRIALS * SAMPLES
        assert kept(last.client, "killed") == undisturbed(tmp_path / "other")
        check_nothing_left(data_dir, last.client, "killed")
        flow_steps = sum(trial["metrics"]["flow_steps"] for trial in trials(last.client, "killed"))
        assert experiment["progress"]["flow_steps"] == flow_steps


def _done(client: httpx.Client, name: str) -> int:
    done: int = look(client, name)["progress"]["samples_done"]
    return done


def test_a_stop_ends_the_chunks_under_way_and_a_start_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path / "data", drain_seconds=LIMIT_SECONDS) as server:
        put_dataset(server.client, "some", SAMPLES)
        with server.engine_held() as engine:
            start(server.client, name="stopped", **SWEEP)
            seen = advance(server.client, engine, "stopped", 50)["progress"]["samples_done"]
            server.server.ask_to_stop()
            until(lambda: server.server.service.state is State.DRAINING)
    with serving(tmp_path / "data") as server:
        assert look(server.client, "stopped")["progress"]["samples_done"] >= seen
        assert ended(server.client, "stopped")["state"] == "succeeded"
        assert kept(server.client, "stopped") == undisturbed(tmp_path / "other")
        check_nothing_left(tmp_path / "data", server.client, "stopped")


def test_a_paused_experiment_stays_paused_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Callers are not kept waiting while the engine is held.
    monkeypatch.setattr("service.experiments.desk.SETTLE_SECONDS", 0.1)
    with serving(tmp_path / "data") as server:
        put_dataset(server.client, "some", SAMPLES)
        with server.engine_held() as engine:
            start(server.client, name="waiting", **SWEEP)
            advance(server.client, engine, "waiting", 50)
            assert act(server.client, "waiting", "pause")["state"] == "paused"
        paused = quiet(server.client, "waiting")
        assert paused["trials"]["paused"] > 0
    with serving(tmp_path / "data") as server:
        again = look(server.client, "waiting")
        assert again["state"] == "paused"
        assert again["trials"] == paused["trials"]
        assert again["progress"] == paused["progress"]
        assert act(server.client, "waiting", "resume")["state"] == "running"
        assert ended(server.client, "waiting")["state"] == "succeeded"
        assert kept(server.client, "waiting") == undisturbed(tmp_path / "other")
        check_nothing_left(tmp_path / "data", server.client, "waiting")
