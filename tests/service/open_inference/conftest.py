"""One server for most tests of the protocol, and NVIDIA's client for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import tritonclient.http as triton

from tests.support.servers import RunningServer, serving
from tests.support.waits import LIMIT_SECONDS


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("inference"), max_body_bytes=300_000) as running:
        lattice = {"lattice_width": 3, "lattice_height": 5, "lattice_depth": 3}
        config = {"embedding_dim": 4, "output_dim": 6, "carrier_hidden_size": 8, **lattice}
        body = {"name": "other", "config": config}
        running.client.post("/v1/models", json=body).raise_for_status()
        yield running


@pytest.fixture
def address(server: RunningServer) -> str:
    return str(server.client.base_url).removeprefix("http://").rstrip("/")


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(
        address, connection_timeout=LIMIT_SECONDS, network_timeout=LIMIT_SECONDS
    ) as connected:
        yield connected
