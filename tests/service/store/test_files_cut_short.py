"""Files that others change while the server reads them: it goes on, and sends no changed bytes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from energy_flow.runtime.safetensors_file import SafetensorsFile
from energy_flow.runtime.safetensors_header import SafetensorsError
from service.api.stored_file import StoredFile
from service.problems import DamagedFile
from service.store.npy_file import GrowingArray, RowLayout, StoredArray
from service.store.verification.verified_file import VerifiedFile
from tests.support.bodies import NPY, npy
from tests.support.damage import damaged
from tests.support.live_server import TINY_FLAGS, LiveServer, live_server
from tests.support.servers import CONFIG, queue_npy, rows, serving, wait_until_ended
from tests.support.waits import LIMIT_SECONDS, until

pytestmark = pytest.mark.slow

ROWS = 30_000
"""Samples whose hits are more bytes than a connection holds."""


def cut(path: Path) -> None:
    """Leave the first bytes alone, as ``cp`` does at first when it overwrites a file."""
    os.truncate(path, 4096)


def overwrite(path: Path) -> None:
    """Change every byte but the first ones, in place."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size - 4096))


@dataclass(frozen=True)
class Stored:
    """A server with large files.

    Attributes:
        server: The server.
        client: A client for it.
        run_id: Id of a run with many hits.
        hits: Their file.
        dataset: File of the dataset ``many``.
    """

    server: LiveServer
    client: httpx.Client
    run_id: str
    hits: Path
    dataset: Path


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("cut")
    flags = (*TINY_FLAGS, "--set", "max_steps=1")
    with (
        live_server(folder, flags) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client,
    ):
        run_id = queue_npy(client, ROWS, outputs="hits")
        sent = npy(rows(ROWS * 4))
        assert client.put("/v1/datasets/many", content=sent, headers=NPY).status_code == 201
        (dataset,) = (folder / "data" / "datasets").iterdir()
        assert wait_until_ended(client, run_id)["state"] == "succeeded"
        hits = folder / "data" / "runs" / run_id / "hits.npy"
        yield Stored(server, client, run_id, hits, dataset)


def read_slowly(server: LiveServer, path: str, change: Callable[[], object]) -> bytes:
    """Return the body of an answer; once it has begun, something happens on the disk."""
    url = httpx.URL(server.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(LIMIT_SECONDS)
        connection.connect((url.host, url.port or 80))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = b""
        while len(received) < 4096:
            part = connection.recv(4096)
            assert part, received
            received += part
        change()
        parts = [received]
        while part := connection.recv(2**20):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return body


@pytest.mark.parametrize("change", [cut, overwrite])
@pytest.mark.parametrize("query", ["format=npy", "format=npy&sample_from=1", "format=json"])
def test_an_output_that_changes_while_it_is_sent(
    stored: Stored, query: str, change: Callable[[Path], None]
) -> None:
    path = f"/v1/runs/{stored.run_id}/outputs/hits"
    with damaged(stored.hits, lambda _: None):
        size = stored.hits.stat().st_size
        sent = read_slowly(stored.server, f"{path}?{query}", lambda: change(stored.hits))
        # An answer in chunks ends with an empty one, and a whole file has its length.
        assert not sent.endswith(b"0\r\n\r\n")
        assert 4000 < len(sent) < size
        assert stored.client.get("/livez").status_code == 200
        assert stored.client.get(f"{path}?sample={ROWS - 1}").status_code == 409
    # Lines are written by a thread.
    reason = f"cut off: the file runs/{stored.run_id}/hits.npy"
    until(lambda: reason in stored.server.log.read_text())
    assert "Traceback" not in stored.server.log.read_text()
    assert stored.client.get(f"{path}?sample={ROWS - 1}").status_code == 200


@pytest.mark.parametrize("change", [cut, overwrite])
def test_a_dataset_that_changes_while_it_is_sent(
    stored: Stored, change: Callable[[Path], None]
) -> None:
    with damaged(stored.dataset, lambda _: None):
        sound = stored.dataset.read_bytes()
        path = "/v1/datasets/many?format=safetensors"
        sent = read_slowly(stored.server, path, lambda: change(stored.dataset))
        assert 4000 < len(sent) < len(sound)
        assert sound.startswith(sent)
        assert stored.client.get("/livez").status_code == 200


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
    with serving(tmp_path) as running:
        client = running.client
        client.put("/v1/datasets/some", content=npy(rows(20_000)), headers=NPY)
        (path,) = (tmp_path / "datasets").iterdir()
        data, url = path.read_bytes(), "/v1/datasets/some?format=safetensors"
        whole = client.get(url)
        assert whole.content == data
        part = client.get(url, headers={"range": "bytes=1000-600000"})
        assert (part.status_code, part.content) == (206, data[1000:600_001])
        parts = client.get(url, headers={"range": "bytes=0-9,70000-70009"})
        assert data[70_000:70_010] in parts.content


def test_a_header_that_is_no_literal_is_damage(tmp_path: Path) -> None:
    array = GrowingArray(tmp_path / "surface.npy", RowLayout((2,), np.dtype(np.float32)))
    array.append(np.zeros((3, 2), np.float32), 3, durable=False)
    part = tmp_path / "surface.npy.part"
    part.write_bytes(part.read_bytes().replace(b"}", b" ", 1))
    assert array.count_rows() is None
    assert "cannot be read as" in str(array.find_damage())
    with pytest.raises(DamagedFile, match="cannot be read as"):
        StoredArray(VerifiedFile(part, None, "restore it", depth=1))


def test_a_file_that_is_removed_before_it_is_sent_is_refused(tmp_path: Path) -> None:
    file = VerifiedFile(tmp_path / "gone.npy", None, "restore it", depth=1)
    client = TestClient(StoredFile(file, media_type="application/x-npy"))
    with pytest.raises(DamagedFile, match="it does not exist"):
        client.get("/")
