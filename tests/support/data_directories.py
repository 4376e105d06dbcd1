"""Data directories of stopped servers, as users, crashes and earlier versions leave them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from energy_flow.choices import ServerState
from service.store.migrations.versions.v0008_names_tags_and_notes import INDEXES
from tests.support.bodies import NPY, npy
from tests.support.servers import CONFIG, rows, serving, wait_until_ended
from tests.support.waits import until

NAMES = ("datasets", "models", "runs")
# Those of runs alone that the version of :func:`make_earlier` did not have.
RUN_COLUMNS = ("name", "worker", "worker_kinds", "attempts")


def fill(data_dir: Path, *, seed: int = 0, **settings: Any) -> dict[str, str]:
    """Start a server, store a dataset, a model and two runs, and stop it.

    Returns:
        The ids of the runs by kind, and the digest of the dataset.
    """
    with serving(data_dir, **settings) as server:
        return store_some(server.client, seed)


def store_some(client: httpx.Client, seed: int = 0) -> dict[str, str]:
    """Store a dataset, a model and two runs, as :func:`fill`."""
    dataset = client.put("/v1/datasets/words", content=npy(rows(4, seed)), headers=NPY)
    assert dataset.status_code in (200, 201), dataset.text
    model = client.post("/v1/models", json={"name": "small", "config": CONFIG, "model_seed": seed})
    assert model.status_code == 201, model.text
    body = {"embeddings": rows(2, seed).tolist(), "model": "small", "outputs": ["surface", "hits"]}
    simulated = client.post("/v1/simulate", json=body).json()["run_id"]
    queued = client.post("/v1/runs", json={"dataset": "words", "seed": 3}).json()["run_id"]
    assert wait_until_ended(client, queued)["state"] == "succeeded"
    return {"simulate": simulated, "run": queued, "dataset": dataset.json()["digest"]}


def refusal(data_dir: Path, **settings: Any) -> str:
    """Start a server that cannot start, and return why."""
    with serving(data_dir, wait=False, **settings) as server:
        service = server.server.service
        until(lambda: service.state is not ServerState.STARTING)
        assert service.state is ServerState.FAILED
        return str(service.failure)


def content(data_dir: Path) -> dict[str, bytes]:
    """Return the files of datasets, models and runs by path."""
    return {
        str(path.relative_to(data_dir)): path.read_bytes()
        for name in NAMES
        for path in sorted((data_dir / name).rglob("*"))
        if path.is_file()
    }


def make_earlier(data_dir: Path) -> None:
    """Take from a directory what versions without ids and digests did not store."""
    (data_dir / "identity.json").unlink()
    with closing(sqlite3.connect(data_dir / "index.sqlite3")) as index, index:
        index.execute("DROP TABLE identity")
        index.execute("DROP TABLE api_keys")
        for table in ("list_keys", "list_texts"):
            index.execute(f"DROP TABLE {table}")
        for table, indexes in INDEXES.items():
            for name in indexes:
                index.execute(f"DROP INDEX {name}")
            for column in ("tags", "note", *(RUN_COLUMNS if table == "runs" else ())):
                index.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        index.execute("ALTER TABLE dataset_contents DROP COLUMN pieces")
        index.execute("ALTER TABLE runs DROP COLUMN digests")
        index.execute("UPDATE alembic_version SET version_num = '0004'")
    for path in (data_dir / "runs").glob("*/run.json"):
        path.unlink()
    for path in (data_dir / "dataset_names").iterdir():
        path.unlink()
