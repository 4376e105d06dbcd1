"""One server that most tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from energy_flow.engine.schedule import POOL_FLOWS
from tests.service.disks import mounted
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
    with mounted(tmp_path / "disk", "3m") as path:
        yield path


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers come at once, also while the engine is held."""
    monkeypatch.setattr("service.experiments.service.SETTLE_SECONDS", 0.05)


@pytest.fixture
def small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than thirty new samples of the tiny model are in the engine at once.

    Otherwise it depends on how fast a machine reads whether a whole run enters in one round.
    """
    monkeypatch.setitem(POOL_FLOWS, "cpu", 640)
