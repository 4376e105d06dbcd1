"""On a full disk, things can be deleted; nothing else is stored, and every refusal is 507."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.bodies import NPY, npy
from tests.support.disks import fill, mounted
from tests.support.experiments import put_dataset, start_experiment, wait_for_state
from tests.support.servers import CONFIG, find_leftovers, rows, serving

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]

BYTES = {"accept": "application/octet-stream"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a small file system."""
    with mounted(tmp_path / "disk", "6m") as path:
        yield path


def store_everything(client: httpx.Client) -> list[str]:
    """Store a thing of every kind, and return the paths in an order in which they can go."""
    put_dataset(client, "alone", 400)
    put_dataset(client, "used", 4)
    made = client.post("/v1/models", json={"name": "made", "config": CONFIG})
    assert made.status_code == 201, made.text
    sent = {"embeddings": rows().tolist()}
    run_id = client.post("/v1/simulate", json=sent).json()["run_id"]
    sweep = {"grid": {"noise_std": [0.01 * number for number in range(8)]}}
    start_experiment(client, name="swept", dataset="used", sweep=sweep)
    assert wait_for_state(client, "swept", "succeeded", "failed")["state"] == "succeeded"
    return [
        f"/v1/runs/{run_id}",
        "/v1/models/made",
        "/v1/experiments/swept",
        "/v1/datasets/used",
        "/v1/datasets/alone",
    ]


def delete_everything(client: httpx.Client, data_dir: Path, paths: list[str]) -> None:
    for path in paths:
        answer = client.delete(path)
        assert answer.status_code == 204, (path, answer.text)
        assert client.get(path).status_code == 404
    assert find_leftovers(data_dir) == []
    assert list((data_dir / "datasets").iterdir()) == []


def test_things_are_deleted_on_a_full_disk(disk: Path) -> None:
    data_dir = disk / "data"
    with serving(data_dir) as server:
        client = server.client
        paths = store_everything(client)
        fill(disk / "rest")
        for refused in (
            client.post("/v1/models", json={"name": "new", "config": CONFIG}),
            client.get("/v1/models/default", headers=BYTES),
            client.put("/v1/datasets/new", content=npy(rows(2)), headers=NPY),
            client.post("/v1/runs", json={"embeddings": rows().tolist()}),
        ):
            assert refused.status_code == 507, refused.text
            assert refused.json()["type"] == "urn:energy-flow:problem:disk-full"
        assert client.get("/v1/models/new").status_code == 404
        delete_everything(client, data_dir, paths)
        (disk / "rest").unlink()
        # The room for removals is kept again.
        put_dataset(client, "after", 4)
        assert client.delete("/v1/datasets/after").status_code == 204
        assert (data_dir / "reserve").stat().st_size > 0


def test_a_server_starts_on_a_full_disk_and_things_are_deleted(disk: Path) -> None:
    data_dir = disk / "data"
    with serving(data_dir) as server:
        paths = store_everything(server.client)
    fill(disk / "rest")
    with serving(data_dir) as server:
        delete_everything(server.client, data_dir, paths)


def test_a_deletion_without_room_states_what_is_left(disk: Path) -> None:
    data_dir = disk / "data"
    with serving(data_dir) as server:
        client = server.client
        run, model, experiment, _, dataset = store_everything(client)
        put_dataset(client, "same", 400)
        (data_dir / "reserve").unlink()
        fill(disk / "rest")
        for url in (run, model, experiment, dataset):
            with contextlib.ExitStack() as held:
                # An open file keeps its room.
                for path in data_dir.rglob("*"):
                    if path.is_file() and not path.name.startswith("index"):
                        held.enter_context(path.open("rb"))
                refused = client.delete(url)
                assert refused.status_code == 507, (url, refused.text)
                # The dataset has another name.
                what = "nothing is removed" if url == dataset else "its files are removed"
                assert what in refused.json()["detail"]
                assert "delete it again" in refused.json()["detail"]
                assert client.get(url).status_code == 200
            fill(disk / "more")
        (disk / "rest").unlink()
        (disk / "more").unlink()
        for url in (run, model, experiment, dataset):
            assert client.delete(url).status_code == 204, url
            assert client.get(url).status_code == 404
        assert client.get("/v1/datasets/same", headers=BYTES).status_code == 200


def test_without_reserved_room_files_go_first(disk: Path) -> None:
    data_dir = disk / "data"
    with serving(data_dir) as server:
        client = server.client
        paths = store_everything(client)
        (data_dir / "reserve").unlink()
        fill(disk / "rest")
        # Its file gives the room that the index needs.
        assert client.delete("/v1/models/made").status_code == 204
        for path in (paths[0], *paths[2:]):
            assert client.delete(path).status_code == 204
