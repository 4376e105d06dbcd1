"""Uploads of datasets and checkpoints: streamed, and stored completely or not at all."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from energy_flow.choices import ServerState
from service.store.npy_file import npy_header
from tests.support.bodies import npy
from tests.support.live_server import live_server
from tests.support.servers import RunningServer, queue, rows, serving
from tests.support.waits import LIMIT_SECONDS, until

PATHS = ("/v1/datasets/sent?format=npy", "/v1/models/sent")
MEBIBYTE = 2**20


def held(data_dir: Path) -> list[str]:
    """Return the files of datasets and models, complete or partial."""
    return [path.name for room in ("datasets", "models") for path in (data_dir / room).iterdir()]


def begin(url: httpx.URL, path: str, length: int, start: bytes) -> socket.socket:
    """Send the beginning of a file of a length."""
    assert url.port is not None
    connection = socket.create_connection((url.host, url.port), timeout=LIMIT_SECONDS)
    head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + start)
    return connection


def beginning(path: str) -> tuple[int, bytes]:
    """Return the length of a file that may be valid, and its first megabytes."""
    if "models" in path:
        header = b'{"a":{"dtype":"U8","shape":[67108864],"data_offsets":[0,67108864]}}'
        return 8 + len(header) + 2**26, len(header).to_bytes(8, "little") + header + bytes(2**22)
    return 128 + 2**26, npy_header(np.dtype("<f4"), (2**21, 8)) + bytes(2**22)


@pytest.mark.parametrize("path", PATHS)
def test_a_disconnected_client_leaves_no_files(
    server: RunningServer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = held(server.data_dir)
    with caplog.at_level(logging.INFO, logger="service.access"):
        connection = begin(server.client.base_url, path, *beginning(path))
        until(lambda: len(held(server.data_dir)) > len(before))
        connection.close()
        until(lambda: held(server.data_dir) == before)
        until(lambda: any(" 499 " in message for message in caplog.messages))
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "length", "start", "status_line"),
    [
        (PATHS[0], 2**31, npy_header(np.dtype("<f4"), (2**10, 8)) + bytes(2**20), b"400"),
        (PATHS[0], 128 + 2**26, npy_header(np.dtype("<f4"), (2**21, 8)) + b"\xff" * 2**20, b"422"),
        (PATHS[1], 2**31, b"PK\x03\x04" + bytes(2**20), b"400"),
        ("/v1/models/energy_flow", 2**31, bytes(2**10), b"422"),
    ],
)
def test_faulty_uploads_are_refused_before_their_end(
    server: RunningServer, path: str, length: int, start: bytes, status_line: bytes
) -> None:
    before = held(server.data_dir)
    connection = begin(server.client.base_url, path, length, start)
    answer = b"".join(iter(lambda: connection.recv(4096), b""))
    connection.close()
    assert status_line in answer.partition(b"\r\n")[0]
    assert b"connection: close" in answer.lower()
    assert held(server.data_dir) == before


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_a_killed_server_removes_what_was_broken_off(tmp_path: Path, path: str) -> None:
    data_dir = tmp_path / "data"
    with live_server(tmp_path) as killed:
        connection = begin(httpx.URL(killed.url), path, *beginning(path))
        until(lambda: held(data_dir))
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        connection.close()
    assert held(data_dir)
    with serving(data_dir) as again:
        assert held(data_dir) == []
        assert again.client.get("/v1/datasets").json()["items"] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_an_upload_ends_when_the_server_stops(tmp_path: Path, path: str) -> None:
    with serving(tmp_path, drain_seconds=LIMIT_SECONDS) as server:
        connection = begin(server.client.base_url, path, *beginning(path))
        until(lambda: held(tmp_path))
        # Running work, held in the middle, for which the drain waits.
        with server.engine_held() as engine:
            run_id = queue(server.client, 3)
            url = f"/v1/runs/{run_id}"
            engine.run_until(lambda: server.client.get(url).json()["state"] == "running")
            server.server.request_stop()
            until(lambda: server.server.service.state is ServerState.DRAINING)
            connection.sendall(bytes(2 * MEBIBYTE))
            answer = connection.recv(4096)
            connection.close()
            assert b"503" in answer.partition(b"\r\n")[0]
            until(lambda: held(tmp_path) == [])


@pytest.mark.parametrize("declared", [True, False], ids=["length given", "chunked"])
@pytest.mark.parametrize("path", PATHS)
def test_files_have_a_limit_of_their_own(tmp_path: Path, path: str, declared: bool) -> None:
    with serving(tmp_path, max_body_bytes=1024, max_upload_bytes=3 * MEBIBYTE) as server:
        _, start = beginning(path)
        answer = server.client.put(path, content=start if declared else iter([start]))
        assert answer.status_code == 413, answer.text
        assert answer.json()["limit_bytes"] == 3 * MEBIBYTE
        assert held(tmp_path) == []
        small = server.client.put("/v1/datasets/small?format=npy", content=npy(rows(1000)))
        assert small.status_code == 201


@pytest.mark.slow
def test_a_large_file_does_not_lie_in_memory(tmp_path: Path) -> None:
    columns, count, blocks = 256, 1024, 192
    block = np.random.default_rng(0).normal(size=(count, columns)).astype("<f4")
    with (
        live_server(tmp_path) as server,
        httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client,
    ):
        # The networks' kernels are loaded with the first run, not while the file comes.
        client.post("/v1/simulate", json={"embeddings": rows(1).tolist()}).raise_for_status()
        process = psutil.Process(server.process.pid)
        seen = [process.memory_info().rss]

        def body() -> Iterator[bytes]:
            yield npy_header(block.dtype, (blocks * count, columns))
            for _ in range(blocks):
                yield block.tobytes()
                seen.append(process.memory_info().rss)

        answer = client.put("/v1/datasets/large?format=npy", content=body())
        assert answer.status_code == 201, answer.text
        seen.append(process.memory_info().rss)
        assert answer.json()["rows"] == blocks * count
        assert max(seen) - seen[0] < blocks * MEBIBYTE / 3


def test_a_full_disk_is_507_with_nothing_left_behind(small_disk: Path) -> None:
    with serving(small_disk) as server:
        client = server.client
        default = client.get(
            "/v1/models/default", headers={"accept": "application/octet-stream"}
        ).content
        known = held(small_disk)
        large = npy(rows(120_000))
        for path in ("/v1/datasets/full?format=npy", PATHS[1]):
            content = large if "datasets" in path else beginning(path)[1]
            answer = client.put(path, content=iter([content]))
            assert answer.status_code == 507, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert held(small_disk) == known
        assert client.put("/v1/datasets/small?format=npy", content=npy(rows(9))).status_code == 201
        assert client.put("/v1/models/copy", content=default).status_code == 201


def test_several_uploads_of_the_same_name_make_one(server: RunningServer) -> None:
    body = npy(rows(5000, seed=77))
    statuses: list[int] = []

    def send() -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=LIMIT_SECONDS) as client:
            answer = client.put("/v1/datasets/raced?format=npy", content=body)
            statuses.append(answer.status_code)

    before = set(held(server.data_dir))
    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_SECONDS)
    assert sorted(statuses) == [200, 200, 200, 200, 200, 201]
    assert len(set(held(server.data_dir)) - before) == 1
