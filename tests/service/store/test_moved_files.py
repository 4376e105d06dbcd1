"""An index or a data directory that is moved away while the server uses it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support.bodies import NPY, npy
from tests.support.servers import rows, serving

pytestmark = pytest.mark.sqlite


def request_changes(client: httpx.Client) -> dict[str, httpx.Response]:
    """Send requests that would store something."""
    body = {"embeddings": rows().tolist()}
    return {
        "dataset": client.put("/v1/datasets/new", content=npy(rows(5)), headers=NPY),
        "model": client.post("/v1/models", json={"name": "new"}),
        "simulation": client.post("/v1/simulate", json=body),
        "run": client.post("/v1/runs", json=body),
        "deletion": client.delete("/v1/datasets/old"),
    }


@pytest.mark.parametrize("ends", [("", "-wal", "-shm"), ("",), ("-wal",)])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_nothing_is_acknowledged_that_would_be_lost(
    tmp_path: Path, ends: tuple[str, ...], is_replaced: bool
) -> None:
    data_dir, aside = tmp_path / "data", tmp_path / "aside"
    aside.mkdir()
    names = [f"index.sqlite3{end}" for end in ends]
    if is_replaced and names == ["index.sqlite3-wal"]:
        # SQLite makes its log again, so one of this name will do.
        names = ["index.sqlite3"]
    with serving(data_dir) as server:
        client = server.client
        assert client.put("/v1/datasets/old", content=npy(rows(4)), headers=NPY).is_success
        for name in names:
            (data_dir / name).rename(aside / name)
            if is_replaced:
                (data_dir / name).write_bytes((aside / name).read_bytes())
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert str(data_dir / names[0]) in ready.json()["detail"]
        for kind, answer in request_changes(client).items():
            assert answer.status_code == 503, (kind, answer.text)
            assert answer.json()["file"] == str(data_dir / names[0]), kind
        assert client.get("/v1/datasets/old").status_code == 200
        for name in names:
            (aside / name).replace(data_dir / name)
        assert client.get("/readyz").status_code == 200
        for kind, answer in request_changes(client).items():
            assert answer.is_success, (kind, answer.text)
        server.wait_until_idle()
    with serving(data_dir) as server:
        client = server.client
        assert [one["name"] for one in client.get("/v1/datasets").json()["items"]] == ["new"]
        assert len(client.get("/v1/runs").json()["items"]) == 2


def test_a_server_does_not_write_to_a_directory_in_the_place_of_its_own(tmp_path: Path) -> None:
    data_dir, url = tmp_path / "data", f"sqlite:///{tmp_path / 'index'}"
    with serving(data_dir, database_url=url) as first:
        data_dir.rename(tmp_path / "moved")
        with serving(data_dir) as second:
            for kind, answer in request_changes(first.client).items():
                if kind != "deletion":
                    assert answer.status_code == 503, (kind, answer.text)
            assert first.client.get("/readyz").status_code == 503
            assert second.client.get("/readyz").status_code == 200
            for name in ("datasets", "models", "runs"):
                assert list((data_dir / name).iterdir()) == []
