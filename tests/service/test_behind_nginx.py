"""The server behind nginx, as nginx sends requests with and without ``proxy_set_header Host``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.nginx import nginx
from tests.support.servers import RunningServer, rows, serving
from tests.support.waits import LIMIT_SECONDS

HOST = "proxy_set_header Host $host;"
HOST_AND_PORT = "proxy_set_header Host $http_host;"
FORWARDED = "proxy_set_header X-Forwarded-Host $http_host;"
DEFAULT = ""

pytestmark = pytest.mark.slow

Proxied = Callable[..., int]


@pytest.fixture
def proxied(tmp_path: Path) -> Proxied:
    """Return a function that sends a simulation through nginx, and returns its status."""

    def send(
        server: RunningServer,
        directives: str,
        host: str,
        headers: dict[str, str],
        upstream: str | None = None,
    ) -> int:
        address = f"127.0.0.1:{server.client.base_url.port}"
        locations = f"location / {{ proxy_pass http://{upstream or address}; {directives} }}"
        http = f"upstream energy-flow {{ server {address}; }}"
        folder = tmp_path / "nginx"
        folder.mkdir(exist_ok=True)
        with nginx(folder, locations, http) as url:
            port = url.rpartition(":")[2]
            sent = {"Host": f"{host}:{port}", **headers}
            if "Origin" in sent:
                sent["Origin"] = sent["Origin"].replace("PORT", str(port))
            body = {"embeddings": rows(1).tolist(), "store": False}
            return httpx.post(
                f"{url}/v1/simulate",
                json=body,
                headers=sent,
                timeout=LIMIT_SECONDS,
            ).status_code

    return send


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("named")
    with serving(folder, allowed_hosts=("flows.test", "energy-flow")) as server:
        yield server


@pytest.mark.parametrize("directives", [DEFAULT, HOST, HOST_AND_PORT, FORWARDED])
def test_own_pages_are_answered_and_others_refused(
    named: RunningServer, proxied: Proxied, directives: str
) -> None:
    own, other = {"Origin": "http://flows.test:PORT"}, {"Origin": "http://evil.test:PORT"}
    assert proxied(named, directives, "flows.test", own) == 200
    assert proxied(named, directives, "flows.test", other) == 403
    assert proxied(named, directives, "flows.test", {}) == 200


@pytest.mark.parametrize("directives", [DEFAULT, HOST, HOST_AND_PORT])
def test_a_browser_that_says_so_needs_no_names(
    server: RunningServer, proxied: Proxied, directives: str
) -> None:
    headers = {"Origin": "http://localhost:PORT", "Sec-Fetch-Site": "same-origin"}
    assert proxied(server, directives, "localhost", headers) == 200


def test_a_name_that_nginx_hands_on_must_be_known(server: RunningServer, proxied: Proxied) -> None:
    assert proxied(server, HOST, "flows.test", {}) == 421
    # It does not know the name either if nginx sends the address of the server.
    own = {"Origin": "http://flows.test:PORT"}
    assert proxied(server, DEFAULT, "flows.test", own) == 403
    assert proxied(server, FORWARDED, "flows.test", own) == 200


def test_the_name_of_a_service_must_be_known(
    server: RunningServer, named: RunningServer, proxied: Proxied
) -> None:
    assert proxied(named, DEFAULT, "flows.test", {}, upstream="energy-flow") == 200
    assert proxied(server, DEFAULT, "flows.test", {}, upstream="energy-flow") == 421
