"""``listing``: lists of many finished runs and experiments, searched, filtered and in pages.

Measures: requests that list 100 of 10,000 runs or experiments. Unit: milliseconds. Baseline: the
target of 50 ms. One run and one experiment are computed; the others are copies of their rows in the
index.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import insert, select

from benchmarks.options import Findings, Options
from benchmarks.server_process import server_of
from benchmarks.tables import print_line, show
from benchmarks.workload import DATA, embeddings
from service.store.database import Database
from service.store.list_entries import (
    EXPERIMENTS,
    add_entries,
    add_run_entries,
    find_keys,
    find_text,
)
from service.store.tables import ExperimentRow, RunRow, Table

COUNT = 10_000
TRIALS = 10
"""Number of trials of an experiment that has runs in the index."""
ROUNDS = 40
LIMIT = 100
NOTE = "What was tried, and what came of it. " * 10
"""Note of each run and experiment."""
SEARCHES = (
    "search=copy 77",
    "search=nothing",
    "tag=tag-7",
    "tag=all",
    "sort=name",
    "sort=-duration",
    "sort=state",
    "model=default",
    "created_after=2020-01-01",
    "created_before=2020-01-01",
)
"""Searches, filters and orders of both lists."""
TARGET_MS = 50


def measure(options: Options) -> Findings:
    """Fill an index, start a server on it, and request lists, one after the other.

    Args:
        options: how to measure.
    """
    return measure_lists(options)


def measure_lists(options: Options, database_url: str | None = None) -> Findings:
    """Measure lists of an index.

    Args:
        options: how to measure.
        database_url: URL of an empty index; by default, it is in the data directory.
    """
    rounds = options.rounds(ROUNDS)
    with tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        serve = partial(server_of, Path(folder), options.device, database_url=database_url)
        with serve() as server:
            _compute_one(server.url)
        print_line(f"listing: {COUNT:,} runs and {COUNT:,} experiments")
        _fill(database_url or f"sqlite:///{folder}/data/index.sqlite3")
        with serve() as server:
            times = _times(server.url, rounds)
    figures = {path: _summary(of) for path, of in times.items()}
    show(
        f"Lists of {LIMIT} among {COUNT:,}",
        ("request", "p50, ms", "p99, ms", "max, ms"),
        [(path, one["p50_ms"], one["p99_ms"], one["most_ms"]) for path, one in figures.items()],
        note=f"{rounds} requests each; the target is at most {TARGET_MS} ms.",
    )
    config = {"runs": COUNT, "experiments": COUNT, "limit": LIMIT, "rounds": rounds}
    return Findings(config, {"target_ms": TARGET_MS, "requests": figures})


def _compute_one(url: str) -> None:
    """Compute one run and one experiment."""
    with httpx.Client(base_url=url, timeout=300) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.1)
        headers = {"content-type": "application/octet-stream"}
        put = client.put(
            "/v1/datasets/sentences?format=safetensors", content=DATA.read_bytes(), headers=headers
        )
        put.raise_for_status()
        run = client.post("/v1/simulate", json={"embeddings": embeddings(4).tolist()})
        run.raise_for_status()
        request = {"name": "one", "dataset": "sentences", "rows": [0, 4]}
        client.post("/v1/experiments", json=request).raise_for_status()
        while client.get("/v1/experiments/one").json()["state"] != "succeeded":
            time.sleep(0.1)


def _fill(url: str) -> None:
    """Copy the rows of the index, in every state, until there are ``COUNT`` of each kind."""
    database = Database(url)
    with database.session() as session:
        run = _columns(session.query(RunRow).filter_by(kind="simulate").one())
        trial = _columns(session.query(RunRow).filter_by(kind="trial").one())
        experiment = _columns(session.query(ExperimentRow).one())
    runs, experiments = [], []
    for number in range(COUNT - 1):
        # One in ten has failed, one in ten was cancelled.
        state = {1: "failed", 2: "cancelled"}.get(number % 10, "succeeded")
        identity = f"{number:032x}"
        labels = {"tags": [f"tag-{number % 50}", "all"], "note": NOTE}
        experiments.append(
            {
                **experiment,
                **labels,
                "experiment_id": identity,
                "name": f"copy-{number}",
                "state": state,
            }
        )
    for number in range(COUNT - 2):
        identity, state = f"{number:032x}", experiments[number]["state"]
        labels = {"name": f"Copy {number}", "tags": experiments[number]["tags"], "note": NOTE}
        options = {"noise_std": number % 100 / 1000}
        labels["request"] = {**(trial if number % 2 else run)["request"], "options": options}
        if number % 2:
            of = {"experiment_id": f"{number // TRIALS:032x}", "trial": number % TRIALS}
            runs.append({**trial, **labels, **of, "run_id": identity, "state": state})
        else:
            runs.append({**run, **labels, "run_id": identity, "state": state})
    with database.session() as session:
        session.execute(insert(ExperimentRow), experiments)
        session.execute(insert(RunRow), runs)
        positions = dict(session.execute(select(RunRow.run_id, RunRow.position)).all())
        for row in runs:
            add_run_entries(session, positions[row["run_id"]], row)
        query = select(ExperimentRow.name, ExperimentRow.position)
        positions = dict(session.execute(query).all())
        for row in experiments:
            text = find_text(row["name"], row["tags"], row["note"])
            position = positions[row["name"]]
            add_entries(session, EXPERIMENTS, position, find_keys(row["tags"], {}), text)
    database.close()


def _columns(row: Table) -> dict[str, Any]:
    names = [column.name for column in row.__table__.columns]
    return {name: getattr(row, name) for name in names if name != "position"} | {
        "idempotency_key": None
    }


def _times(url: str, rounds: int) -> Mapping[str, list[float]]:
    """Return the milliseconds of each request, by its name."""
    with httpx.Client(base_url=url, timeout=300) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.1)
        trials = f"/v1/experiments/{'0' * 32}/trials"
        requests = {
            **_lists(
                "/v1/runs", client, ("state=failed", "kind=trial", "kind=simulate", *SEARCHES)
            ),
            "/v1/runs of one experiment": ("/v1/runs", {"experiment": "copy-0"}),
            "/v1/runs?state=failed&kind=trial": ("/v1/runs", {"state": "failed", "kind": "trial"}),
            "/v1/runs?options={noise_std}": ("/v1/runs", {"options": '{"noise_std": 0.077}'}),
            "/v1/runs, all at once": (
                "/v1/runs",
                {"search": "copy", "tag": "tag-8", "state": "succeeded", "sort": "-duration"},
            ),
            **_lists("/v1/experiments", client, ("state=failed", "state=running", *SEARCHES)),
            "one experiment": ("/v1/experiments/copy-5000", None),
            "its trials": (trials, {"state": "succeeded"}),
        }
        times: dict[str, list[float]] = {name: [] for name in requests}
        for round_number in range(rounds + 1):
            for name, (path, query) in requests.items():
                before = time.perf_counter()
                answer = client.get(
                    path, params=None if query is None else {"limit": LIMIT, **query}
                )
                milliseconds = (time.perf_counter() - before) * 1e3
                answer.raise_for_status()
                if round_number:
                    times[name].append(milliseconds)
    return times


def _lists(
    path: str, client: httpx.Client, filters: tuple[str, ...]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return requests for a list, its filtered forms, and a page in the middle, by name."""
    first = client.get(path, params={"limit": 1000})
    first.raise_for_status()
    cursor: str = first.json()["next_cursor"]
    for _ in range(4):
        cursor = client.get(path, params={"limit": 1000, "cursor": cursor}).json()["next_cursor"]
    lists: dict[str, tuple[str, dict[str, Any]]] = {
        path: (path, {}),
        f"{path}, a page in the middle": (path, {"cursor": cursor}),
    }
    for one in filters:
        name, _, value = one.partition("=")
        lists[f"{path}?{one}"] = (path, {name: value})
    return lists


def _summary(times: list[float]) -> dict[str, float]:
    return {
        "p50_ms": round(statistics.median(times), 2),
        "p99_ms": round(float(np.percentile(times, 99)), 2),
        "most_ms": round(max(times), 2),
    }
