"""An index that was damaged on the disk: requests and starts state it, in place of an error."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from service.serving import FlowServer
from service.settings import Settings
from tests.support.command_line import Caller, assert_refused
from tests.support.damage import empty, truncate
from tests.support.data_directories import refusal
from tests.support.servers import TINY, rows, serving

pytestmark = pytest.mark.sqlite


def overwrite(path: Path) -> None:
    """Replace everything but the size of a file."""
    path.write_bytes(b"\xa5" * path.stat().st_size)


def damage_pages(path: Path) -> None:
    """Damage all pages behind the first."""
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))


DAMAGES = {
    "overwritten": overwrite,
    "pages": damage_pages,
    "truncated": truncate,
    "emptied": empty,
}


def store_something(data_dir: Path) -> None:
    with serving(data_dir) as server:
        answer = server.client.post("/v1/simulate", json={"embeddings": rows().tolist()})
        assert answer.status_code == 200


def assert_index_is_reported(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert "the index of the server is damaged" in answer.json()["detail"]
    assert "energy-flow data verify" in answer.json()["detail"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_requests_state_that_the_index_is_damaged(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    index = tmp_path / "index.sqlite3"
    with serving(tmp_path) as server:
        client = server.client
        sent = {"embeddings": rows().tolist()}
        run_id = client.post("/v1/simulate", json=sent).json()["run_id"]
        server.wait_until_idle()
        # Only the file has the rows then, and no connection has its pages.
        database = server.server.service.archive.catalog.database
        database.close()
        damage(index)
        for name in ("index.sqlite3-wal", "index.sqlite3-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        for path in ("/v1/runs", f"/v1/runs/{run_id}", "/v1/datasets", "/v1/experiments"):
            assert_index_is_reported(client.get(path))
        assert_index_is_reported(client.delete(f"/v1/runs/{run_id}"))
        assert_index_is_reported(client.post("/v1/models", json={"name": "m", "config": {}}))
        assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("damage", [overwrite, damage_pages, truncate])
def test_a_start_and_verify_state_that_the_index_is_damaged(
    tmp_path: Path, damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(damage)
    store_something(tmp_path)
    damage(tmp_path / "index.sqlite3")
    server = FlowServer(Settings(port=0, data_dir=tmp_path, set=TINY))
    with suppress(SystemExit):
        server.run()
    assert server.exit_code == 1
    assert "the index of the server is damaged" in str(server.service.failure)
    found = Caller(capsys)("data", "verify", "--data-dir", tmp_path)
    assert found.returncode == 1
    assert found.stdout.startswith("index.sqlite3: ")
    assert "energy-flow data rebuild-index" in found.stdout


def set_revision(data_dir: Path, revision: str) -> None:
    with closing(sqlite3.connect(data_dir / "index.sqlite3")) as index, index:
        index.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_verify_refuses_an_index_of_an_earlier_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_something(tmp_path)
    set_revision(tmp_path, "0001")
    refused = Caller(capsys)("data", "verify", "--data-dir", tmp_path)
    assert refused.returncode == 1
    assert "start the server" in refused.stderr


def test_an_index_of_a_newer_version_is_named_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_something(tmp_path)
    set_revision(tmp_path, "9876")
    before = (tmp_path / "index.sqlite3").read_bytes()
    words = ("newer version of Energy Flow", "revision 9876", "upgrade", "index.sqlite3")
    why = refusal(tmp_path)
    for word in words:
        assert word in why
    for command in (
        ("verify",),
        ("adopt",),
        ("adopt", "--dry-run"),
        ("rebuild-index",),
    ):
        refused = Caller(capsys)("data", *command, "--data-dir", tmp_path)
        assert_refused(refused, *words)
        assert "rebuild" not in refused.stderr
    assert (tmp_path / "index.sqlite3").read_bytes() == before
