"""Pages of other sites in a browser, which try to use an open server of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page

from energy_flow.testing import TINY_FIELDS
from tests.support.live_server import LiveServer
from tests.support.nginx import nginx
from tests.support.waits import LIMIT_SECONDS
from tests.web.conftest import NewPage

# What the browser logs about answers that the tests expect.
EXPECTED = ("403", "404", "421", "CORS", "net::ERR_FAILED")

_FETCH = """
async ([url, init]) => {
    try {
        const answer = await fetch(url, init);
        return answer.type === 'opaque' ? 'opaque' : answer.status;
    } catch (error) {
        return 'failed';
    }
}
"""
_SUBMIT = """
([url, text]) => {
    const form = document.createElement('form');
    Object.assign(form, { method: 'POST', action: url, enctype: 'text/plain' });
    const field = document.createElement('input');
    [field.name, field.value] = text.split('=');
    form.append(field);
    document.body.append(form);
    form.submit();
}
"""


def fetch(page: Page, url: str, **init: Any) -> int | str:
    """Return the status that a script of the page gets; ``opaque`` if it cannot see any."""
    status: int | str = page.evaluate(_FETCH, [url, init])
    return status


class EmptyPage(BaseHTTPRequestHandler):
    """Answers every request with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def other_port() -> Iterator[int]:
    """Return the port of another site on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield other.server_port
        other.shutdown()
        thread.join()


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client:
        yield client


@pytest.fixture
def unchanged(http: httpx.Client) -> Iterator[str]:
    """Yield the name of a loaded model; after the test, nothing has changed."""

    def read() -> list[Any]:
        models = http.get("/v1/models").json()["items"]
        runs = http.get("/v1/runs?limit=1000").json()["items"]
        return [
            [(model["name"], model["loaded"]) for model in models],
            [run["run_id"] for run in runs],
            http.get("/v2/logging").json(),
        ]

    body = {"name": "target", "config": dict(TINY_FIELDS)}
    assert http.post("/v1/models", json=body).status_code == 201
    assert http.post("/v1/models/target/load").status_code == 200
    before = read()
    yield "target"
    assert read() == before
    assert http.delete("/v1/models/target").status_code == 204


def test_a_name_that_points_to_this_machine_gives_no_access(
    server: LiveServer, new_page: NewPage, unchanged: str
) -> None:
    page = new_page(expected=EXPECTED)
    port = server.url.rpartition(":")[2]
    # The page as it is after its name points to 127.0.0.1. It is of the server's origin then.
    opened = page.goto(f"http://evil.test:{port}/livez")
    assert opened is not None
    assert opened.status == 200
    json = {"headers": {"Content-Type": "application/json"}}
    assert fetch(page, "/v1/system") == 421
    assert fetch(page, "/v1/runs", method="POST", body="{}", **json) == 421
    model = '{"name": "planted"}'
    assert fetch(page, "/v1/models", method="POST", body=model, **json) == 421
    assert fetch(page, f"/v1/models/{unchanged}", method="DELETE") == 421
    assert fetch(page, f"/v1/models/{unchanged}/unload", method="POST") == 421
    pages = page.goto(f"http://evil.test:{port}/")
    assert pages is not None
    assert pages.status == 421


@pytest.mark.parametrize("site", ["evil.test", "127.0.0.1", "localhost"])
def test_pages_of_other_sites_change_nothing(
    server: LiveServer, new_page: NewPage, other_port: int, unchanged: str, site: str
) -> None:
    page = new_page(expected=EXPECTED)
    page.goto(f"http://{site}:{other_port}/")
    infer = (
        '{"inputs": [{"name": "embeddings", "shape": [1, 384], "datatype": "FP32", "data": [%s]}]}'
    )
    bodies = {
        f"/v1/models/{unchanged}/unload": None,
        f"/v2/repository/models/{unchanged}/unload": None,
        "/v2/logging": '{"log_info": false}',
        "/v2/models/energy_flow/infer": infer % ", ".join(["0.1"] * 384),
    }
    for path, body in bodies.items():
        sent = fetch(page, server.url + path, method="POST", mode="no-cors", body=body)
        assert sent == "opaque"
        # As a script that wants to see the answer, and in a way that the browser asks about first.
        assert fetch(page, server.url + path, method="POST", body=body) == "failed"
        json = {"headers": {"Content-Type": "application/json"}}
        assert fetch(page, server.url + path, method="POST", body=body, **json) == "failed"
    assert fetch(page, server.url + "/v1/system") == "failed"
    with page.expect_navigation() as navigated:
        page.evaluate(_SUBMIT, [f"{server.url}/v2/logging", '{"log_info": false, "a=": 1}'])
    assert navigated.value is not None
    assert navigated.value.status == 403


@pytest.mark.parametrize("host", ["", "proxy_set_header Host $host;"])
def test_pages_behind_a_proxy_are_the_servers_own(
    server: LiveServer, new_page: NewPage, tmp_path_factory: pytest.TempPathFactory, host: str
) -> None:
    page = new_page(expected=EXPECTED)
    locations = f"location / {{ proxy_pass {server.url}; {host} }}"
    with nginx(tmp_path_factory.mktemp("nginx"), locations) as url:
        page.goto(f"{url.replace('127.0.0.1', 'localhost')}/livez")
        assert fetch(page, "/v1/models/default/load", method="POST") == 200
        # Chromium may ask for the icon of the page late, when nginx has ended.
        page.close()
