"""Messages of HTTP that few clients send: offers of other protocols, trailers, other versions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.bodies import npy
from tests.support.raw_connections import connect, receive_all
from tests.support.servers import RunningServer, rows, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run a server."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


def exchange(server: RunningServer, *parts: bytes) -> bytes:
    """Send parts of requests, one after another, and return all that is answered."""
    connection = connect(server)
    for part in parts:
        connection.sendall(part)
        time.sleep(0.1)
    return receive_all(connection)


@pytest.mark.parametrize("is_split", [False, True])
@pytest.mark.parametrize("connection", [b"Upgrade", b"keep-alive, upgrade, HTTP2-Settings"])
def test_an_offer_of_another_protocol_is_ignored(
    server: RunningServer, connection: bytes, is_split: bool
) -> None:
    body = npy(rows(2))
    head = (
        b"POST /v1/simulate?outputs=hits HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nConnection: %b\r\n"
        b"Content-Type: application/x-npy\r\nContent-Length: %d\r\n\r\n" % (connection, len(body))
    )
    end = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    parts = (head, body[:100], body[100:] + end) if is_split else (head + body + end,)
    answers = exchange(server, *parts)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b'"hits"' in answers


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("connection", [b"close, Upgrade", b"Upgrade, close", b"Upgrade"])
def test_an_offer_on_the_last_request_of_a_connection_is_ignored(
    server: RunningServer, connection: bytes, version: bytes
) -> None:
    request = b"GET /livez HTTP/%b\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: %b\r\n\r\n" % (
        version,
        connection,
    )
    after = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = exchange(server, request if b"close" in connection else request + after)
    assert answers.startswith(b"HTTP/1.1 200 OK")


def test_no_answer_precedes_the_answer_of_http_1_0(server: RunningServer) -> None:
    head = (
        b"POST /v1/simulate HTTP/%b\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    )
    assert exchange(server, head % b"1.1", b"{}").startswith(b"HTTP/1.1 100 Continue")
    assert exchange(server, head % b"1.0", b"{}").startswith(b"HTTP/1.1 422")


def test_a_body_behind_an_offer_of_another_protocol_is_no_request(server: RunningServer) -> None:
    inner = b"DELETE /v1/datasets/none HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = (
        b"GET /v1/runs HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
        b"Content-Length: %d\r\n\r\n" % len(inner)
    )
    # The answer does not wait for the body, so the connection is closed behind it.
    answers = exchange(server, head, inner)
    assert answers.count(b"HTTP/1.1 ") == answers.count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize(
    "trailer", [b"X-Filler: " + 200_000 * b"a", 50_000 * b"a: b\r\n", 200_000 * b"a"]
)
def test_trailers_are_limited_as_headers_are(server: RunningServer, trailer: bytes) -> None:
    head = (
        b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    connection = connect(server)
    connection.sendall(head + b"3\r\nabc\r\n0\r\n")
    with suppress(ConnectionError):
        for first in range(0, len(trailer), 20_000):
            connection.sendall(trailer[first : first + 20_000])
            time.sleep(0.01)
    receive_all(connection)
    assert server.client.get("/livez").status_code == 200
    assert 'connections_refused_total{reason="large_headers"}' in server.client.get("/metrics").text


def test_trailers_are_no_headers(server: RunningServer) -> None:
    request = (
        b"GET /v1/runs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\n0\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n"
    )
    assert exchange(server, request).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("line", [b"GET /livez HTTP/2.0", b"GET /livez HTTP/0.9"])
def test_other_versions_are_refused(server: RunningServer, line: bytes) -> None:
    answers = exchange(server, line + b"\r\nHost: localhost\r\n\r\n")
    assert answers.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"HTTP/1.1" in answers
