"""One server that most tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.disks import mounted
from tests.support.servers import RunningServer, rows, serving


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
    """Return the folder of a file system of three megabytes."""
    with mounted(tmp_path / "disk", "3m") as path:
        yield path
