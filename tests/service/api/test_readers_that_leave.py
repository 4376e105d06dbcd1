"""The files of an answer are closed when its reader leaves before the end."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.support.bodies import NPY, npy
from tests.support.live_server import TRACED_OPTIONS
from tests.support.servers import RunningServer, rows, wait_until_ended
from tests.support.waits import LIMIT_SECONDS, until

TRACE_PATHS = [f"trace?format={name}" for name in ("ndjson", "csv", "arrow", "parquet", "perfetto")]
PATHS = [
    *TRACE_PATHS,
    "trace?format=parquet&kind=spawn",
    "trace?format=ndjson&kind=reflect",
    "outputs/hits?format=npy&sample_from=1",
    "outputs/hits?format=json",
    "outputs/hits?format=safetensors",
]


def open_files(run_id: str) -> list[str]:
    """Return the files of a run that this process has open or mapped."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    found += Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return [name for name in found if run_id in name]


def begin_to_read(server: RunningServer, path: str) -> socket.socket:
    """Send a request, read the first bytes of its answer, and return the connection."""
    url = server.client.base_url
    assert url.port is not None
    connection = socket.socket()
    # So that the answer does not fit into the buffers of the connection.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(LIMIT_SECONDS)
    connection.connect((url.host, url.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Collect no garbage during a test: it would close the files as well, some time."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists open files")
@pytest.mark.usefixtures("no_garbage_collection")
def test_files_of_a_deleted_run_are_closed_when_readers_leave(server: RunningServer) -> None:
    client = server.client
    query = {
        "options": orjson.dumps(TRACED_OPTIONS).decode(),
        "trace": '{"keep": "lossless"}',
        "outputs": "hits",
    }
    body = npy(rows(6000))
    run_id = client.post("/v1/runs", params=query, content=body, headers=NPY).json()["run_id"]
    assert wait_until_ended(client, run_id)["state"] == "succeeded"
    readers = [begin_to_read(server, f"/v1/runs/{run_id}/{path}") for path in PATHS]
    assert len(open_files(run_id)) >= len(TRACE_PATHS)
    assert client.delete(f"/v1/runs/{run_id}").status_code == 204
    assert open_files(run_id)
    for reader in readers:
        reader.close()
    until(lambda: not open_files(run_id), seconds=60)
