"""``energy-flow key``: keys are created, listed and revoked, also beside a running server."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from alembic import command
from alembic.config import Config

from service.store.database import MIGRATIONS
from tests.support.command_line import Caller, assert_refused
from tests.support.data_directories import fill
from tests.support.live_server import TINY_FLAGS, live_server
from tests.support.servers import serving
from tests.support.waits import LIMIT_SECONDS, until

SECRET = re.compile(r"ef_[0-9a-f]{64}")


def status(url: str, key: str | None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{url}/v1/runs", headers=headers, timeout=LIMIT_SECONDS).status_code


@pytest.mark.slow
def test_the_first_key_comes_before_the_first_start(tmp_path: Path, call: Caller) -> None:
    data = ("--data-dir", tmp_path / "data")
    created = call("key", "create", "anna", "--role", "admin", *data)
    assert created.returncode == 0, created.stderr
    key = created.stdout.strip()
    assert SECRET.fullmatch(key)
    assert "only now" in created.stderr
    assert key not in created.stderr
    index = tmp_path / "data" / "index.sqlite3"
    assert stat.S_IMODE(index.stat().st_mode) == 0o600
    with live_server(tmp_path, (*TINY_FLAGS, "--host", "0.0.0.0")) as server:
        assert status(server.url, None) == 401
        assert status(server.url, key) == 200
        other = json.loads(call("key", "create", "ci", "--json", *data).stdout)
        assert other["role"] == "run"
        until(lambda: status(server.url, other["key"]) == 200)
        # Clients of the command line are told how to give it.
        listing = ("runs", "list", "--url", server.url)
        assert_refused(call(*listing), "401", "--api-key", "ENERGY_FLOW_API_KEY")
        assert call(*listing, "--api-key", other["key"]).returncode == 0
        unloading = ("model", "unload", "default", "--url", server.url)
        assert_refused(call(*unloading, "--api-key", other["key"]), "403", "role admin")
        revoked = call("key", "revoke", "ci", *data)
        assert revoked.returncode == 0
        assert other["id"] in revoked.stdout
        until(lambda: status(server.url, other["key"]) == 401)
        assert status(server.url, key) == 200
        assert server.stop() == 0
    log = server.log.read_text()
    assert re.search(r"service.access: GET /v1/runs 200 .* key=anna key_id=[0-9a-f]{8}\n", log)
    assert key not in log


def test_keys_are_listed_and_revoked(tmp_path: Path, call: Caller) -> None:
    data = ("--data-dir", tmp_path)
    assert_refused(call("key", "list", *data), "there is no index")
    assert not list(tmp_path.iterdir())
    for name, role in (("one", "read"), ("two", "run"), ("three", "admin")):
        assert call("key", "create", name, "--role", role, *data).returncode == 0
    listed = json.loads(call("key", "list", "--json", *data).stdout)
    assert [(key["name"], key["role"]) for key in listed] == [
        ("three", "admin"),
        ("two", "run"),
        ("one", "read"),
    ]
    assert all(key["revoked_at"] is None and "key" not in key for key in listed)
    assert call("key", "revoke", "one", *data).returncode == 0
    by_id = call("key", "revoke", listed[0]["id"], *data)
    assert by_id.stdout == f"revoked key three, id {listed[0]['id']}\n"
    shown = call("key", "list", *data).stdout
    assert "two" in shown
    assert "three" not in shown
    known = json.loads(call("key", "list", "--all", "--json", *data).stdout)
    assert {key["name"]: key["revoked_at"] is None for key in known} == {
        "one": False,
        "two": True,
        "three": False,
    }
    assert call("key", "revoke", "two", *data).returncode == 0
    assert call("key", "list", *data).stdout == "no keys\n"
    # A revoked key gives its name free.
    assert call("key", "create", "one", *data).returncode == 0


def test_what_cannot_be_done_is_refused(tmp_path: Path, call: Caller) -> None:
    data = ("--data-dir", tmp_path)
    assert call("key", "create", "laptop", *data).returncode == 0
    assert_refused(call("key", "create", "laptop", *data), "'laptop' already")
    assert_refused(call("key", "create", "a\nb", *data), "must be 1 to 64")
    assert_refused(
        call("key", "create", "x", "--role", "root", *data), "--role", "read, run, admin"
    )
    assert_refused(call("key", "revoke", "laptob", *data), "did you mean 'laptop'?")
    assert_refused(call("key", "revoke", "x", *data), "energy-flow key list")
    nowhere = tmp_path / "nowhere"
    assert_refused(call("key", "list", "--data-dir", nowhere), "does not exist")
    assert not nowhere.exists()


def test_a_lost_index_is_not_replaced(tmp_path: Path, call: Caller) -> None:
    fill(tmp_path)
    (tmp_path / "index.sqlite3").unlink()
    assert_refused(call("key", "create", "x", "--data-dir", tmp_path), "is lost", "rebuild-index")
    assert not (tmp_path / "index.sqlite3").exists()


def test_an_index_of_an_earlier_version_is_migrated_unless_it_is_in_use(
    tmp_path: Path, call: Caller
) -> None:
    with serving(tmp_path):
        pass
    index = tmp_path / "index.sqlite3"

    def downgrade() -> None:
        from sqlalchemy import create_engine

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        engine = create_engine(f"sqlite:///{index}")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "0006")
        engine.dispose()

    def has_table() -> bool:
        with closing(sqlite3.connect(index)) as connection:
            query = "SELECT count(*) FROM sqlite_master WHERE name = 'api_keys'"
            return bool(connection.execute(query).fetchone()[0])

    with serving(tmp_path):
        # As beside a server of the earlier version.
        downgrade()
        refused = call("key", "create", "x", "--data-dir", tmp_path)
        assert_refused(refused, "stop that server first")
        assert not has_table()
    assert call("key", "create", "x", "--data-dir", tmp_path).returncode == 0
    assert has_table()
    with serving(tmp_path) as server:
        assert server.client.get("/v1/runs").status_code == 401
