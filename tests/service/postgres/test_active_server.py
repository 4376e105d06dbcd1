"""Of the servers on one index in PostgreSQL, one is active, and only it changes anything."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import insert, make_url, text

from energy_flow.choices import KeyRole, ServerState
from service.problems import Problem
from service.store.keys.stored_keys import StoredKeys
from service.store.recovery.identity import open_index
from service.store.tables import ApiKeyRow
from tests.support.command_line import Caller, assert_refused
from tests.support.data_directories import fill
from tests.support.postgres_sessions import HOLDERS, end_lock, execute, session_of
from tests.support.servers import RunningServer, queue, serving, wait_until_ended
from tests.support.waits import until

pytestmark = pytest.mark.slow


def wait_for_standby(server: RunningServer) -> httpx.Response:
    """Wait until a server is standby, and return the answer of its readiness."""
    until(lambda: server.server.service.state is ServerState.STANDBY)
    return server.client.get("/readyz")


def wait_until_ready(client: httpx.Client) -> None:
    until(lambda: client.get("/readyz").status_code == 200)


def wait_for_lock(url: str) -> None:
    """Wait until a server holds the lock of an index."""
    with session_of(url) as session:
        until(lambda: session.execute(text(HOLDERS)).all())


def create_model(client: httpx.Client, name: str) -> httpx.Response:
    return client.post("/v1/models", json={"name": name})


def test_a_second_server_is_standby_and_takes_over(
    tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "service")
    # As a second machine has it.
    (tmp_path / "mounted").symlink_to(tmp_path / "data")
    with serving(tmp_path / "data", database_url=url) as first:
        run_id = queue(first.client, 3)
        assert wait_until_ended(first.client, run_id)["state"] == "succeeded"
        with serving(tmp_path / "mounted", database_url=url, wait=False) as second:
            readiness = wait_for_standby(second)
            assert readiness.status_code == 503
            assert readiness.json()["detail"] == "the server is standby: another server is active"
            assert "standby: another server is active" in caplog.messages
            assert second.client.get("/livez").status_code == 200
            refused = second.client.get("/v1/runs")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert first.client.get("/readyz").status_code == 200
            first.stop()
            wait_until_ready(second.client)
            assert second.client.get(f"/v1/runs/{run_id}").json()["state"] == "succeeded"
            assert create_model(second.client, "a").status_code == 201


def test_a_standby_server_stops(tmp_path: Path, url: str) -> None:
    with (
        serving(tmp_path, database_url=url),
        serving(tmp_path, database_url=url, wait=False) as second,
    ):
        wait_for_standby(second)
        second.stop()
        assert second.server.service.state is ServerState.STOPPED
        assert second.server.exit_code == 0


def test_a_held_data_directory_is_waited_for(tmp_path: Path, url: str) -> None:
    with serving(tmp_path) as other, serving(tmp_path, database_url=url, wait=False) as server:
        detail = wait_for_standby(server).json()["detail"]
        assert detail == "the server is standby: another server uses the data directory"
        other.stop()
        wait_until_ready(server.client)


def test_another_data_directory_is_refused(tmp_path: Path, url: str) -> None:
    fill(tmp_path / "here", database_url=url)
    with serving(tmp_path / "there", database_url=url, wait=False) as server:
        until(lambda: server.server.service.state is ServerState.FAILED)
        assert "belongs to another one" in str(server.server.service.failure)
    with serving(tmp_path / "here", database_url=url):
        pass


def test_a_lock_whose_session_ends_is_taken_again(tmp_path: Path, url: str) -> None:
    with serving(tmp_path, database_url=url) as server:
        for name in ("a", "b"):
            end_lock(url)
            wait_for_lock(url)
            wait_until_ready(server.client)
            assert create_model(server.client, name).status_code == 201


def test_a_server_that_has_lost_its_lock_to_another_one_ends(tmp_path: Path, url: str) -> None:
    with serving(tmp_path, database_url=url) as server, session_of(url) as session:
        found = session.execute(
            text(
                "SELECT (classid::bigint << 32) + objid::bigint FROM pg_locks "
                "WHERE locktype = 'advisory'"
            )
        ).scalar_one()
        waiting = threading.Thread(
            target=lambda: session.execute(text("SELECT pg_advisory_lock(:key)"), {"key": found})
        )
        waiting.start()
        with session_of(url) as another:
            until(
                lambda: another.execute(
                    text("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                ).all()
            )
        end_lock(url)
        waiting.join()
        server.thread.join()
        assert server.server.service.is_superseded
        assert server.server.exit_code == 1
        # It holds the data directory no more.
        session.execute(text("SELECT pg_advisory_unlock_all()"))
        with serving(tmp_path, database_url=url):
            pass


def test_a_server_whose_index_has_another_id_ends(tmp_path: Path, url: str) -> None:
    with serving(tmp_path, database_url=url) as server:
        # As a server does that becomes active.
        execute(url, "UPDATE identity SET id = 'another'")
        server.thread.join()
        assert server.server.service.is_superseded


def test_only_the_last_one_that_has_opened_an_index_changes_it(tmp_path: Path, url: str) -> None:
    with closing(open_index(tmp_path, make_url(url))) as first:
        StoredKeys(first).create("first", KeyRole.RUN)
        with closing(open_index(tmp_path, make_url(url))) as second:
            with pytest.raises(Problem) as refused:
                StoredKeys(first).create("late", KeyRole.RUN)
            assert refused.value.status == 503
            assert "another server has become active" in refused.value.detail
            StoredKeys(second).create("second", KeyRole.RUN)
            found = StoredKeys(first).find_all(revoked=False)
            assert {row.name for row in found} == {"first", "second"}


def test_an_index_is_opened_after_the_transactions_in_progress(tmp_path: Path, url: str) -> None:
    keys = {"id": "a", "name": "a", "role": "run", "digest": "a", "created_at": 1.0}
    opened = threading.Event()

    def open_again() -> None:
        open_index(tmp_path, make_url(url)).close()
        opened.set()

    with closing(open_index(tmp_path, make_url(url))) as first, session_of(url) as observer:
        opening = threading.Thread(target=open_again)
        with first.connection() as connection:
            connection.execute(insert(ApiKeyRow), [keys])
            opening.start()
            waiting = text("SELECT 1 FROM pg_locks WHERE NOT granted")
            until(lambda: observer.execute(waiting).all())
            assert not opened.is_set()
        opening.join()
        assert [row.name for row in StoredKeys(first).find_all(revoked=False)] == ["a"]


def test_an_experiment_continues_on_the_server_that_takes_over(tmp_path: Path, url: str) -> None:
    with (
        serving(tmp_path, database_url=url) as first,
        serving(tmp_path, database_url=url, wait=False) as second,
    ):
        wait_for_standby(second)
        with first.engine_held():
            run_id = queue(first.client, 3)
            first.stop_while_held()
        wait_until_ready(second.client)
        assert wait_until_ended(second.client, run_id)["state"] == "succeeded"


def test_commands_are_refused_while_a_server_is_active(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "data", database_url=url)
    call = Caller(capsys)
    at = ("--data-dir", tmp_path / "data", "--database-url", url)
    with session_of(url) as session, serving(tmp_path / "data", database_url=url):
        # Without the lock of the directory, as on another machine.
        (tmp_path / "copied" / "runs").mkdir(parents=True)
        other = ("--data-dir", tmp_path / "copied", "--database-url", url)
        for words in (("rebuild-index",), ("adopt",)):
            assert_refused(call("data", *words, *at), "another server uses", "stop that server")
            refused = call("data", *words, *other)
            assert_refused(refused, "another server uses the index", "stop that server first")
        created = call("key", "create", "ci", *at)
        assert created.returncode == 0, created.stderr
        assert len(session.execute(text(HOLDERS)).all()) == 1
    assert call("data", "adopt", *at).returncode == 0
    assert session_count(url) == 1


def session_count(url: str) -> int:
    with session_of(url) as session:
        found = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        return int(session.execute(text(found)).scalar_one())
