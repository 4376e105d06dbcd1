"""Files that others change while the server reads them: it goes on, and sends no changed bytes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from energy_flow.runtime.safetensors_file import SafetensorsFile
from energy_flow.runtime.safetensors_header import SafetensorsError
from tests.support.bodies import NPY, npy
from tests.support.live_server import TINY_FLAGS, LiveServer, live_server
from tests.support.servers import CONFIG, queue_npy, serving, wait_until_ended
from tests.support.waits import LIMIT_SECONDS

pytestmark = pytest.mark.slow

ROWS = 100_000
"""Samples whose hits are more bytes than a connection holds."""


def cut(path: Path) -> None:
    """Leave the first bytes alone, as ``cp`` does at first when it overwrites a file."""
    os.truncate(path, 4096)


def overwrite(path: Path) -> None:
    """Change every byte but the first ones, in place."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size - 4096))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("cut"), (*TINY_FLAGS, "--set", "max_steps=1")) as one:
        yield one


@contextmanager
def begun(server: LiveServer, path: str) -> Iterator[socket.socket]:
    """Request a file, and read only the first bytes of the answer."""
    url = httpx.URL(server.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(LIMIT_SECONDS)
        connection.connect((url.host, url.port or 80))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
        yield connection


def read_rest(connection: socket.socket) -> bytes:
    """Return what follows, until the server closes the connection."""
    parts = []
    while part := connection.recv(2**20):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("change", [cut, overwrite])
@pytest.mark.parametrize("query", ["format=npy", "format=npy&sample_from=1", "format=json"])
def test_an_output_that_changes_while_it_is_sent(
    server: LiveServer, query: str, change: Callable[[Path], None]
) -> None:
    with httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client:
        run_id = queue_npy(client, ROWS, outputs="hits")
        assert wait_until_ended(client, run_id)["state"] == "succeeded"
        path = server.log.parent / "data" / "runs" / run_id / "hits.npy"
        sound = np.load(path)
        with begun(server, f"/v1/runs/{run_id}/outputs/hits?{query}") as connection:
            change(path)
            sent = read_rest(connection)
        # An answer in chunks ends with an empty one, and a whole file has its length.
        assert not sent.endswith(b"0\r\n\r\n")
        assert len(sent) < sound.nbytes
        assert client.get("/livez").status_code == 200
        assert client.get(f"/v1/runs/{run_id}/outputs/hits?sample=9").status_code == 409
        assert client.delete(f"/v1/runs/{run_id}").status_code == 204
    assert f"runs/{run_id}/hits.npy" in server.log.read_text()


@pytest.mark.parametrize("change", [cut, overwrite])
def test_a_dataset_that_changes_while_it_is_sent(
    server: LiveServer, change: Callable[[Path], None]
) -> None:
    rows = np.ones((ROWS * 4, 8), np.float32)
    with httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client:
        client.put("/v1/datasets/ones", content=npy(rows), headers=NPY)
        (path,) = (server.log.parent / "data" / "datasets").iterdir()
        with begun(server, "/v1/datasets/ones?format=safetensors") as connection:
            change(path)
            sent = read_rest(connection)
        assert len(sent) < rows.nbytes
        # Of what was sent, nothing has changed.
        numbers = sent[sent.index(b"\r\n\r\n") + 4 + 512 :]
        assert set(np.frombuffer(numbers[: len(numbers) // 4 * 4], np.float32)) == {np.float32(1)}
        assert client.get("/livez").status_code == 200
        assert client.delete("/v1/datasets/ones").status_code == 204


def test_tensors_are_not_read_from_a_file_that_has_become_shorter(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        made = running.client.post("/v1/models", json={"name": "made", "config": CONFIG})
        assert made.status_code == 201
    path = tmp_path / "models" / "made.safetensors"
    with path.open("rb") as opened:
        file = SafetensorsFile(opened)
        cut(path)
        assert file.read(file.names[0]).isfinite().all()
        with pytest.raises(SafetensorsError, match="it ends within"):
            file.read(file.names[-1])


def test_a_range_of_a_stored_file_is_verified(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    with serving(tmp_path) as running:
        client = running.client
        client.put("/v1/datasets/some", content=npy(rows), headers=NPY)
        (path,) = (tmp_path / "datasets").iterdir()
        data, url = path.read_bytes(), "/v1/datasets/some?format=safetensors"
        whole = client.get(url)
        assert whole.content == data
        part = client.get(url, headers={"range": "bytes=1000-600000"})
        assert (part.status_code, part.content) == (206, data[1000:600_001])
        parts = client.get(url, headers={"range": "bytes=0-9,70000-70009"})
        assert data[70_000:70_010] in parts.content
