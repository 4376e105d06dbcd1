"""The server of the session, files and datasets for commands, and the commands in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow.client import FlowClient
from tests.support.command_line import Caller
from tests.support.live_server import LiveServer, put_dataset


@pytest.fixture(scope="session")
def server(shared_server: LiveServer) -> LiveServer:
    """Return the server that the session shares."""
    return shared_server


@pytest.fixture
def client(server: LiveServer) -> Iterator[FlowClient]:
    """Return a client of the server."""
    with FlowClient(server.url) as client:
        yield client


@pytest.fixture(scope="session")
def spoilt(shared_server: LiveServer) -> str:
    """Return the name of a dataset that makes the networks give numbers that are not finite."""
    return put_dataset(shared_server, "spoilt", np.full((2, 8), np.finfo(np.float32).max))


@pytest.fixture
def embeddings_file(tmp_path: Path, embeddings: NDArray[np.float32]) -> Path:
    """Return the path of a file with the embeddings."""
    path = tmp_path / "embeddings.npy"
    np.save(path, embeddings)
    return path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Caller:
    """Return a function that runs ``energy-flow`` in this process."""
    return Caller(capsys)
