"""Plain connections to a server, for what no HTTP client sends."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from tests.support.servers import RunningServer
from tests.support.waits import LIMIT_SECONDS


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it was received until the server closed the connection.

    Attributes:
        status: its status.
        headers: its headers, with names in lower case.
        body: its body.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, Any]:
        """Return the body, which is a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = orjson.loads(self.body)
        assert document["status"] == self.status
        return document


def connect(server: RunningServer, source: str = "127.0.0.1") -> socket.socket:
    """Return a connection to a server.

    Args:
        server: the server.
        source: address of this side.
    """
    url = server.client.base_url
    assert url.port is not None
    connection = socket.socket()
    connection.settimeout(LIMIT_SECONDS)
    connection.bind((source, 0))
    connection.connect((url.host, url.port))
    return connection


def receive_all(connection: socket.socket) -> bytes:
    """Return what the server sends until it closes the connection, then close it."""
    received = b""
    # A server that closes before it has read everything resets the connection.
    with connection, suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def receive_answer(connection: socket.socket) -> RawAnswer:
    """Return the answer, after which the server closes the connection."""
    head, _, body = receive_all(connection).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return RawAnswer(int(first.split()[1]), headers, body)
