"""API keys: which requests their roles allow, how they appear and disappear, and who did what."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from energy_flow.choices import KeyRole, ServerState
from service.settings import Settings
from service.store.database import Database
from service.store.keys.access import OpenAddressError
from service.store.keys.stored_keys import StoredKeys
from tests.support.inference_requests import INFER, make_request, read_refusal
from tests.support.servers import ENDLESS, RunningServer, rows, serving
from tests.support.waits import LIMIT_SECONDS, until


@contextmanager
def stored_keys(data_dir: Path) -> Iterator[StoredKeys]:
    """Open the keys of a data directory, as a command in another process does."""
    with closing(Database(Settings(data_dir=data_dir).index_url)) as database:
        yield StoredKeys(database)


def create(data_dir: Path, role: KeyRole, name: str = "") -> dict[str, str]:
    """Create a key and return the header with it."""
    with stored_keys(data_dir) as keys:
        _, secret = keys.create(name or role, role)
    return {"Authorization": f"Bearer {secret}"}


def revoke(data_dir: Path, name: str) -> None:
    """Revoke the key of a name."""
    with stored_keys(data_dir) as keys:
        [row] = [row for row in keys.find_all(revoked=False) if row.name == name]
        keys.revoke(row.id)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def headers(data_dir: Path) -> dict[str, dict[str, str]]:
    """Return the header of a key for each role."""
    return {role: create(data_dir, role) for role in KeyRole}


@pytest.fixture(scope="module")
def guarded(data_dir: Path, headers: dict[str, dict[str, str]]) -> Iterator[RunningServer]:
    with serving(data_dir, api_key="sesame") as server:
        yield server


SIMULATION = {"embeddings": rows(1).tolist(), "store": False}

REQUESTS: tuple[tuple[KeyRole, str, str, dict[str, Any] | None], ...] = (
    (KeyRole.READ, "GET", "/v1/runs", None),
    (KeyRole.READ, "HEAD", "/", None),
    (KeyRole.READ, "GET", "/metrics", None),
    (KeyRole.READ, "GET", "/v2/logging", None),
    (KeyRole.READ, "POST", "/v2/repository/index", {}),
    (KeyRole.RUN, "POST", "/v1/simulate", SIMULATION),
    (KeyRole.RUN, "POST", "/v1/runs", SIMULATION),
    (KeyRole.RUN, "POST", INFER, make_request()),
    (KeyRole.RUN, "DELETE", "/v1/runs/nothing", None),
    (KeyRole.RUN, "PUT", "/v1/datasets/nothing", {}),
    (KeyRole.RUN, "POST", "/v1/models", {}),
    (KeyRole.RUN, "DELETE", "/v1/models/nothing", None),
    (KeyRole.RUN, "POST", "/v1/experiments/nothing/pause", None),
    (KeyRole.RUN, "POST", "/v1/models/nothing/ablations", {}),
    (KeyRole.ADMIN, "POST", "/v1/models/default/load", None),
    (KeyRole.ADMIN, "POST", "/v1/models/nothing/unload", None),
    (KeyRole.ADMIN, "POST", "/v2/logging", {}),
    (KeyRole.ADMIN, "POST", "/v2/repository/models/nothing/load", {}),
    (KeyRole.ADMIN, "POST", "/v2/repository/models/nothing/unload", {}),
    (KeyRole.ADMIN, "POST", "/v2/models/nothing/trace/setting", {}),
)


@pytest.mark.parametrize(("needed", "method", "path", "body"), REQUESTS)
def test_roles_allow_what_they_are_for(
    guarded: RunningServer,
    headers: dict[str, dict[str, str]],
    needed: KeyRole,
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    def send(key: dict[str, str]) -> httpx.Response:
        return guarded.client.request(method, path, json=body, headers=key)

    for role in KeyRole:
        answer = send(headers[role])
        if role.rank >= needed.rank:
            # Some of the requests have faults of their own.
            assert answer.status_code not in (401, 403), answer.text
        elif path.startswith("/v2"):
            assert f"the role {needed}" in read_refusal(answer, 403)
        else:
            assert answer.status_code == 403
            problem = answer.json()
            assert f"the role {needed}" in problem["detail"]
            assert (problem["role"], problem["needed_role"]) == (role, needed)
    # The key of the settings allows everything, and no key nothing but the pages.
    assert send({"Authorization": "Bearer sesame"}).status_code not in (401, 403)
    assert send({}).status_code == (200 if path == "/" else 401)


@pytest.mark.parametrize("end", ["%0A", "%0D", "%00", "%7F", "%0A%0A"])
@pytest.mark.parametrize("action", ["load", "unload"])
def test_a_path_with_a_control_character_needs_no_lower_role(
    guarded: RunningServer, headers: dict[str, dict[str, str]], action: str, end: str
) -> None:
    before = guarded.client.get("/v1/models/spectrometer", headers=headers[KeyRole.READ]).json()
    for key in (*headers.values(), {}):
        path = f"/v1/models/spectrometer/{action}{end}"
        assert guarded.client.post(path, headers=key).status_code == 404
        assert guarded.client.get(f"/metrics{end}", headers=key).status_code == 404
    after = guarded.client.get("/v1/models/spectrometer", headers=headers[KeyRole.READ]).json()
    assert after["loaded"] == before["loaded"]


def test_a_stream_of_events_ends_with_its_key(tmp_path: Path) -> None:
    with serving(tmp_path, api_key="sesame") as server:
        own = {"Authorization": "Bearer sesame"}
        body = {"embeddings": rows(1).tolist(), "options": ENDLESS}
        run_id = server.client.post("/v1/runs", json=body, headers=own).json()["run_id"]
        reader = create(tmp_path, KeyRole.READ, "reader")
        until(lambda: server.client.get("/v1/runs", headers=reader).status_code == 200)
        path = f"/v1/runs/{run_id}/events"
        with server.client.stream("GET", path, headers=reader) as stream:
            for number, _ in enumerate(stream.iter_bytes()):
                if number == 3:
                    revoke(tmp_path, "reader")
        # The run goes on, and with it the streams of others.
        with server.client.stream("GET", path, headers=own) as stream:
            assert (
                len([piece for _, piece in zip(range(9), stream.iter_bytes(), strict=False)]) == 9
            )
        server.client.post(f"/v1/runs/{run_id}/cancel", headers=own)


def test_a_key_must_be_whole(guarded: RunningServer, headers: dict[str, dict[str, str]]) -> None:
    given = headers[KeyRole.ADMIN]["Authorization"]
    for wrong in (given[:-1], given + "0", given.upper(), given.replace("ef_", ""), "Bearer ef_"):
        answer = guarded.client.get("/v1/system", headers={"Authorization": wrong})
        assert answer.status_code == 401
        assert answer.json()["detail"].startswith("the API key is wrong")


def test_a_running_server_notices_new_and_revoked_keys(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        assert client.get("/v1/runs").status_code == 200
        first = create(tmp_path, KeyRole.READ, "first")
        # From the first key on, the server is open to nobody else.
        until(lambda: client.get("/v1/runs").status_code == 401)
        assert client.get("/v1/runs", headers=first).status_code == 200
        second = create(tmp_path, KeyRole.RUN, "second")
        until(lambda: client.get("/v1/runs", headers=second).status_code == 200)
        revoke(tmp_path, "first")
        until(lambda: client.get("/v1/runs", headers=first).status_code == 401)
        assert client.get("/v1/runs", headers=second).status_code == 200
        # Nor is it open to all once it has no key.
        revoke(tmp_path, "second")
        until(lambda: client.get("/v1/runs", headers=second).status_code == 401)
        assert client.get("/v1/runs").status_code == 401
        assert client.get("/livez").status_code == 200
    with serving(tmp_path) as server:
        assert server.client.get("/v1/runs").status_code == 200


def test_keys_that_cannot_be_read_again_stay_valid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with stored_keys(tmp_path) as keys:
        _, secret = keys.create("ci", KeyRole.READ)
    key = {"Authorization": f"Bearer {secret}"}
    with serving(tmp_path) as server:
        with closing(Database(Settings(data_dir=tmp_path).index_url)) as database:
            with database.connection() as connection:
                connection.exec_driver_sql("ALTER TABLE api_keys RENAME TO elsewhere")
            until(lambda: "API keys cannot be read" in caplog.text)
            assert server.client.get("/v1/runs", headers=key).status_code == 200
            assert server.client.get("/v1/runs").status_code == 401
            with database.connection() as connection:
                connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO api_keys")
        revoke(tmp_path, "ci")
        until(lambda: server.client.get("/v1/runs", headers=key).status_code == 401)


def test_a_server_that_others_can_reach_needs_a_key_in_its_index(tmp_path: Path) -> None:
    def start(data_dir: Path) -> BaseException | None:
        with serving(data_dir, wait=False, host="0.0.0.0") as server:
            server.thread.join(LIMIT_SECONDS)
            assert not server.thread.is_alive()
            assert server.server.service.state is ServerState.FAILED
            return server.server.service.failure

    assert isinstance(start(tmp_path / "new"), OpenAddressError)
    data_dir = tmp_path / "keys"
    data_dir.mkdir()
    key = create(data_dir, KeyRole.READ)
    with serving(data_dir, host="0.0.0.0") as server:
        assert server.client.get("/v1/runs").status_code == 401
        assert server.client.get("/v1/runs", headers=key).status_code == 200
    revoke(data_dir, "read")
    failure = start(data_dir)
    assert isinstance(failure, OpenAddressError)
    assert "energy-flow key create" in str(failure)


def test_the_log_names_the_key_of_a_request_but_never_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with stored_keys(tmp_path) as keys:
        row, secret = keys.create("ci", KeyRole.READ)
    with (
        caplog.at_level(logging.DEBUG),
        serving(tmp_path, api_key="sesame") as server,
    ):
        client = server.client
        for token, path in (
            (secret, "/v1/runs"),
            ("sesame", "/v1/models"),
            ("wrong", "/v1/system"),
        ):
            client.get(path, headers={"Authorization": f"Bearer {token}"})
        # Refused, but known.
        client.post("/v1/runs", headers={"Authorization": f"Bearer {secret}"})
        client.get("/livez")
        lines = {}

        def has_all() -> bool:
            for record in caplog.records:
                if record.name == "service.access":
                    ids = vars(record)
                    lines[record.getMessage().rsplit(" ", 3)[0]] = (ids["key"], ids["key_id"])
            return "GET /livez" in lines

        until(has_all)
    assert lines == {
        "GET /v1/runs": ("ci", row.id),
        "GET /v1/models": ("API_KEY", None),
        "GET /v1/system": (None, None),
        "POST /v1/runs": ("ci", row.id),
        "GET /livez": (None, None),
    }
    assert secret not in caplog.text
    assert "sesame" not in caplog.text


def test_the_index_has_no_key(data_dir: Path, headers: dict[str, dict[str, str]]) -> None:
    secrets = [header["Authorization"].removeprefix("Bearer ef_") for header in headers.values()]
    content = b"".join(path.read_bytes() for path in data_dir.glob("index.sqlite3*"))
    assert content
    assert not [secret for secret in secrets if secret.encode() in content]


def test_errors_cannot_be_switched_off(client: httpx.Client) -> None:
    before = client.get("/v2/logging").json()
    for changes in ({"log_error": False}, {"log_info": False, "log_error": False}):
        refusal = read_refusal(client.post("/v2/logging", content=orjson.dumps(changes)), 422)
        assert "errors are always logged" in refusal
    assert client.get("/v2/logging").json() == before
