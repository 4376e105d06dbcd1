"""The names by which a server may be reached: a page can give its own name to this machine."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.support.servers import RunningServer, rows, serving
from tests.support.waits import LIMIT_SECONDS


def status(client: httpx.Client, host: str, path: str = "/v1/system") -> int:
    """Return the status of a request that names a host."""
    return client.get(path, headers={"Host": host}).status_code


def status_of_hosts(
    client: httpx.Client, hosts: Sequence[str], path: str = "/v1/system", version: int = 11
) -> int:
    """Return the status of a request with any number of ``Host`` headers.

    ``version`` is that of HTTP, times ten.
    """
    address = client.base_url
    connection = http.client.HTTPConnection(address.host, address.port, timeout=LIMIT_SECONDS)
    # The standard library's way to send HTTP/1.0.
    connection._http_vsn = version  # type: ignore[attr-defined]
    connection._http_vsn_str = f"HTTP/{version // 10}.{version % 10}"  # type: ignore[attr-defined]
    connection.putrequest("GET", path, skip_host=True)
    for host in hosts:
        connection.putheader("Host", host)
    connection.endheaders()
    with connection.getresponse() as answer:
        status = answer.status
    connection.close()
    return status


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "localhost.",
        "app.localhost:1",
        "127.0.0.1",
        "127.0.0.1:9",
        "192.168.1.7:8000",
        "[::1]:8000",
        "[fe80::1]",
    ],
)
def test_loopback_names_and_addresses_are_answered(client: httpx.Client, host: str) -> None:
    assert status(client, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "evil.test:8000",
        "localhost.evil.test",
        "notlocalhost",
        "127.0.0.1.evil.test",
        "evil.test@localhost",
        "localhost/evil.test",
        "localhost:8000.evil.test",
        "energy-flow",
        "[::1",
        "[::1].evil.test",
        "evil.test[::1]",
        "[fe80::1%evil.test]",
        ".localhost",
        "evil..localhost",
        "",
    ],
)
def test_other_names_are_refused(client: httpx.Client, host: str) -> None:
    answer = client.get("/v1/system", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"
    assert "--allowed-hosts" in answer.json()["detail"]
    # Also the pages, and what would change something; nothing of it happens.
    assert status(client, host, "/") == 421
    body = {"embeddings": rows().tolist()}
    refused = client.post("/v1/runs", json=body, headers={"Host": host})
    assert refused.status_code == 421


def test_refusals_of_the_protocol_have_its_form(client: httpx.Client) -> None:
    answer = client.get("/v2", headers={"Host": "evil.test"})
    assert answer.status_code == 421
    assert "--allowed-hosts" in answer.json()["error"]


def test_probes_and_metrics_are_answered_to_any_name(client: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics"):
        assert status(client, "10-0-0-7.pods.cluster.test", path) == 200


def test_given_names_are_answered(tmp_path: Path) -> None:
    allowed = ("energy-flow", "Flows.example.org", "*.lan")
    with serving(tmp_path, allowed_hosts=allowed) as server:
        for host in ("energy-flow:8000", "FLOWS.example.org", "a.lan", "a.b.lan:1", "localhost"):
            assert status(server.client, host) == 200
        for host in ("lan", "evillan", "flows.example.org.evil.test", "x.flows.example.org"):
            assert status(server.client, host) == 421


def test_every_name_can_be_allowed(tmp_path: Path) -> None:
    with serving(tmp_path, allowed_hosts=("*",)) as server:
        assert status(server.client, "anything.test") == 200


def test_the_name_that_the_server_listens_on_is_its_own(tmp_path: Path) -> None:
    with serving(tmp_path, host="flows.test", allow_open=True) as server:
        assert status(server.client, "flows.test:8000") == 200
        assert status(server.client, "evil.test") == 421


def test_with_a_key_names_are_compared_only_if_there_are_any(tmp_path: Path) -> None:
    key = {"Authorization": "Bearer sesame"}
    with serving(tmp_path, api_key="sesame") as server:
        server.client.headers.update(key)
        assert status(server.client, "flows.test") == 200
        assert status_of_hosts(server.client, [], "/readyz", version=10) == 200
    with serving(tmp_path, api_key="sesame", allowed_hosts=("flows.test",)) as server:
        server.client.headers.update(key)
        assert status(server.client, "flows.test") == 200
        assert status(server.client, "evil.test") == 421
        assert status(server.client, "127.0.0.1") == 200


def test_a_request_has_one_host(server: RunningServer) -> None:
    client = server.client
    assert status_of_hosts(client, ["localhost"]) == 200
    assert status_of_hosts(client, []) == 400
    assert status_of_hosts(client, ["localhost", "evil.test"]) == 400
    assert status_of_hosts(client, ["localhost", "localhost"], "/livez") == 400
    assert status_of_hosts(client, [], version=10) == 400
    assert status_of_hosts(client, [], "/livez", version=10) == 200
    assert status_of_hosts(client, ["localhost"], version=10) == 200
