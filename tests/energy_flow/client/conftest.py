"""The server of the session and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from energy_flow.client import FlowClient
from tests.support.live_server import LiveServer


@pytest.fixture
def server(shared_server: LiveServer) -> LiveServer:
    """Return the server that the session shares."""
    return shared_server


@pytest.fixture
def client(server: LiveServer) -> Iterator[FlowClient]:
    """Return a client of the server."""
    with FlowClient(server.url) as client:
        yield client
