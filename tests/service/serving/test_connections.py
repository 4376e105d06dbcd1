"""Limits of connections: slow, silent and too many peers, over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from energy_flow.choices import ServerState
from service.lifespan import ServiceLimits
from tests.support.bodies import NPY, npy
from tests.support.raw_connections import connect, receive_all, receive_answer
from tests.support.servers import ENDLESS, RunningServer, cancel, queue, rows, serving
from tests.support.waits import until

SHORT = ServiceLimits(body_seconds=1.0, unread_seconds=1.0)
"""Limits that peers of these tests reach."""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run a server with short limits."""
    folder = tmp_path_factory.mktemp("impatient")
    with serving(folder, limits=SHORT, header_seconds=1.0, body_min_rate=1000) as server:
        yield server


def count_refused(server: RunningServer, reason: str) -> float:
    """Return how many connections were refused for a reason."""
    wanted = f'energy_flow_connections_refused_total{{reason="{reason}"}} '
    for line in server.client.get("/metrics").text.splitlines():
        if line.startswith(wanted):
            return float(line.split()[-1])
    return 0.0


def test_headers_that_are_not_complete_in_time_are_refused(impatient: RunningServer) -> None:
    connection = connect(impatient)
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
    answer = receive_answer(connection)
    assert answer.status == 408
    assert "headers" in answer.problem()["detail"]
    assert count_refused(impatient, "slow_headers") >= 1


def test_headers_that_arrive_a_byte_at_a_time_get_no_more_time(impatient: RunningServer) -> None:
    connection = connect(impatient)
    # A line that never ends; each byte arrives long before the time is over.
    connection.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
    connection.settimeout(0.1)
    received = b""

    def drip() -> bool:
        nonlocal received
        try:
            connection.sendall(b"a")
            received += connection.recv(4096)
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return b"\r\n\r\n" in received

    until(drip)
    assert received.startswith(b"HTTP/1.1 408 ")
    connection.close()


def test_a_connection_without_a_request_is_closed(impatient: RunningServer) -> None:
    before = count_refused(impatient, "silent")
    assert receive_all(connect(impatient)) == b""
    assert count_refused(impatient, "silent") == before + 1


def test_a_connection_between_two_requests_stays_open(impatient: RunningServer) -> None:
    connection = connect(impatient)
    for _ in range(2):
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        # Longer than headers may take.
        assert receive_all(connect(impatient)) == b""
    connection.close()


def test_a_body_that_arrives_too_slowly_is_refused(impatient: RunningServer) -> None:
    connection = connect(impatient)
    connection.sendall(
        b"POST /v1/simulate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100000\r\n\r\n{"embeddings": '
    )
    answer = receive_answer(connection)
    assert answer.status == 408
    assert "1,000 bytes a second" in answer.problem()["detail"]
    assert count_refused(impatient, "slow_body") >= 1
    assert impatient.client.get("/v1/system").json()["engine"]["queued_runs"] == 0


def test_a_body_on_a_slow_line_is_accepted(impatient: RunningServer) -> None:
    body = npy(rows(400))
    connection = connect(impatient)
    connection.sendall(
        b"POST /v1/simulate?outputs=hits HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/x-npy\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    # For several times the seconds after which the bytes are counted.
    for first in range(0, len(body), 600):
        connection.sendall(body[first : first + 600])
        time.sleep(0.15)
    assert receive_answer(connection).status == 200


def test_a_client_that_waits_for_the_server_sends_its_body_then(impatient: RunningServer) -> None:
    body = npy(rows(2))
    connection = connect(impatient)
    connection.sendall(
        b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
        b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
    connection.sendall(body)
    assert receive_answer(connection).status == 202


def test_a_reader_that_reads_nothing_is_disconnected(impatient: RunningServer) -> None:
    client = impatient.client
    run_id = queue(client, 400, outputs=["hits", "surface"], options={"max_steps": 2})
    until(lambda: client.get(f"/v1/runs/{run_id}").json()["state"] == "succeeded")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    url = client.base_url
    assert url.port is not None
    connection.connect((url.host, url.port))
    before = count_refused(impatient, "unread_answer")
    request = (
        f"GET /v1/runs/{run_id}/outputs/surface?format=json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    # More answers than fit into the buffers of the connection.
    connection.sendall(request.encode() * 90)
    until(lambda: count_refused(impatient, "unread_answer") > before)
    connection.close()


def test_a_stream_of_events_goes_on(impatient: RunningServer) -> None:
    client = impatient.client
    run_id = queue(client, 1, options=ENDLESS)
    with client.stream("GET", f"/v1/runs/{run_id}/events") as events:
        lines = events.iter_lines()
        assert next(lines)
        # Longer than all limits of time.
        for _ in range(3):
            assert receive_all(connect(impatient)) == b""
        cancel(client, run_id)
        assert any("cancelled" in line for line in lines)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
        + b"".join(b"X-%d: a\r\n" % n for n in range(9000)),
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Endless: " + b"a" * 1_000_000,
    ],
    ids=["one header", "many headers", "path", "without an end"],
)
def test_headers_that_are_too_large_are_refused(impatient: RunningServer, head: bytes) -> None:
    connection = connect(impatient)
    connection.sendall(head)
    answer = receive_answer(connection)
    assert answer.status == 431
    assert "65,536" in answer.problem()["detail"]
    assert count_refused(impatient, "large_headers") >= 1


def test_what_is_not_http_is_refused_with_a_problem(impatient: RunningServer) -> None:
    connection = connect(impatient)
    connection.sendall(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
    answer = receive_answer(connection)
    assert answer.status == 400
    assert answer.problem()["title"] == "Malformed request"


def test_a_connection_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections=4) as server:
        held = [connect(server) for _ in range(4)]
        for connection in held:
            connection.sendall(b"GET /livez HTTP/1.1\r\n")
        refused = connect(server)
        refused.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = receive_answer(refused)
        assert answer.status == 503
        assert "too many connections" in answer.problem()["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        held.pop().close()
        until(lambda: server.client.get("/livez").status_code == 200)
        for connection in held:
            connection.sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
            assert receive_answer(connection).status == 200
        assert count_refused(server, "too_many") >= 1


def test_an_idle_connection_gives_its_place_to_a_new_one(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections=2) as server:
        first = connect(server)
        first.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert first.recv(65536).startswith(b"HTTP/1.1 200 ")
        connections = []
        for _ in range(2):
            connections.append(connect(server))
            connections[-1].sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connections[-1].recv(65536).startswith(b"HTTP/1.1 200 ")
        assert receive_all(first) == b""
        for connection in connections:
            connection.close()


def test_connections_of_one_address_are_limited(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections_per_client=2) as server:
        held = [connect(server, "127.0.0.9") for _ in range(2)]
        third = connect(server, "127.0.0.9")
        third.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = receive_answer(third)
        assert answer.status == 503
        assert "your address" in answer.problem()["detail"]
        # Others are not affected.
        assert server.client.get("/livez").status_code == 200
        for connection in held:
            connection.close()


def test_this_machine_may_have_more_than_half_of_all_connections(tmp_path: Path) -> None:
    with serving(tmp_path, max_connections=4) as server:
        for connection in [connect(server) for _ in range(3)]:
            connection.sendall(
                b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert receive_answer(connection).status == 200


def test_a_refused_upload_is_answered_before_its_rest_arrives(tmp_path: Path) -> None:
    with serving(tmp_path, api_key="sesame") as server:
        connection = connect(server)
        connection.sendall(
            b"PUT /v1/datasets/large HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-npy\r\nContent-Length: 4000000000\r\n\r\nabc"
        )
        # The rest never comes; the server closes the connection all the same.
        answer = receive_answer(connection)
        assert answer.status == 401
        assert answer.headers["connection"] == "close"


def test_bodies_in_memory_are_limited_together(tmp_path: Path) -> None:
    with serving(tmp_path, max_inflight_bytes=100_000) as server:
        client = server.client
        body = npy(rows(1500))
        head = (
            b"POST /v1/simulate?outputs=hits HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-npy\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        )
        first = connect(server)
        first.sendall(head % 90_000 + b"x" * 80_000)
        wanted = "energy_flow_body_bytes_in_flight 80000.0"
        until(lambda: wanted in client.get("/metrics").text)
        refused = client.post("/v1/simulate", content=body, headers=NPY)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        # One without a stated length is refused while it arrives.
        refused = client.post("/v1/simulate", content=iter([body]), headers=NPY)
        assert refused.status_code == 503
        assert 'refusals_total{reason="bytes_in_flight"} 2.0' in client.get("/metrics").text
        # It is small, and there is room.
        assert client.post("/v1/simulate", content=npy(rows(2)), headers=NPY).status_code == 200
        first.close()
        until(lambda: "energy_flow_body_bytes_in_flight 0.0" in client.get("/metrics").text)
        assert client.post("/v1/simulate", content=body, headers=NPY).status_code == 200


def test_half_sent_requests_get_an_answer_when_the_server_stops(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        in_headers, in_body = connect(server), connect(server)
        in_headers.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
        in_body.sendall(
            b"POST /v1/simulate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"embeddings": '
        )
        until(lambda: "energy_flow_http_requests_in_progress 2.0" in metrics(server))
        server.stop()
        for connection in (in_headers, in_body):
            answer = receive_answer(connection)
            assert answer.status == 503
            assert "stopping" in answer.problem()["detail"]
        assert server.server.service.state is ServerState.STOPPED


def metrics(server: RunningServer) -> str:
    return server.client.get("/metrics").text


def test_a_client_that_leaves_during_pipelined_requests_causes_no_errors(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = server.client
    run_id = queue(client, 400, outputs=["hits"], options={"max_steps": 2})
    until(lambda: client.get(f"/v1/runs/{run_id}").json()["state"] == "succeeded")
    path = f"/v1/runs/{run_id}/outputs/hits?format=json"
    connection = connect(server)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 50)
    assert connection.recv(12) == b"HTTP/1.1 200"
    connection.close()
    until(lambda: "energy_flow_http_requests_in_progress 1.0" in metrics(server))
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_more_pipelined_requests_than_anyone_needs_are_refused(server: RunningServer) -> None:
    connection = connect(server)
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10_000)
    answers = receive_all(connection).count(b"HTTP/1.1 ")
    assert answers < 1000
    assert server.client.get("/livez").status_code == 200
