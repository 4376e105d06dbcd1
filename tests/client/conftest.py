"""A server that all tests of this folder share, and embeddings that its model takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow.client import FlowClient
from tests.client.command_line import Caller
from tests.live_server import LiveServer, live_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def client(server: LiveServer) -> Iterator[FlowClient]:
    with FlowClient(server.url) as client:
        yield client


@pytest.fixture(scope="session")
def embeddings() -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(6, 8)).astype(np.float32)


def put_dataset(server: LiveServer, name: str, rows: NDArray[np.float32]) -> str:
    with FlowClient(server.url) as client:
        return client.datasets.put(name, rows).name


@pytest.fixture(scope="session")
def dataset(server: LiveServer, embeddings: NDArray[np.float32]) -> str:
    """Name under which the server keeps the embeddings."""
    return put_dataset(server, "words", embeddings)


@pytest.fixture(scope="session")
def spoilt(server: LiveServer) -> str:
    """Name of a dataset whose rows are numbers, but lead to some that are not finite."""
    return put_dataset(server, "spoilt", np.full((2, 8), 1e38, np.float32))


@pytest.fixture
def embeddings_file(tmp_path: Path, embeddings: NDArray[np.float32]) -> Path:
    path = tmp_path / "embeddings.npy"
    np.save(path, embeddings)
    return path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(capsys, monkeypatch)
