"""One server that most tests share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.servers import RunningServer, rows, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("shared"), max_body_bytes=2_000_000) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> httpx.Client:
    return server.client


@pytest.fixture
def still_works(client: httpx.Client) -> Iterator[None]:
    """After the test: a good request works, and nothing was left behind by the others."""
    before = len(client.get("/v1/runs?limit=1000").json()["items"])
    yield
    assert len(client.get("/v1/runs?limit=1000").json()["items"]) == before
    good = {"embeddings": rows().tolist(), "store": False}
    assert client.post("/v1/simulate", json=good).status_code == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting needs privileges")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)
