"""Requests as browsers send them for pages: of this server, of other sites, and behind proxies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.support.inference_requests import INFER, make_request, read_refusal
from tests.support.servers import RunningServer, rows, serving

CHANGES = (
    ("POST", "/v1/runs"),
    ("POST", "/v1/models/default/unload"),
    ("PUT", "/v1/models/mine"),
    ("DELETE", "/v1/runs/nothing"),
    ("POST", "/v2/logging"),
    ("POST", "/v2/repository/models/default/unload"),
    ("POST", "/v2/models/energy_flow/infer"),
)
ORIGIN = "http://flows.test"


def status(client: httpx.Client, headers: Mapping[str, str], host: str | None = None) -> int:
    """Return the status of a simulation with these headers."""
    sent = {**headers, **({} if host is None else {"Host": host})}
    body = {"embeddings": rows(1).tolist(), "store": False}
    return client.post("/v1/simulate", json=body, headers=sent).status_code


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("named"), allowed_hosts=("flows.test", "*.lan")) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.test"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "file://"},
    ],
)
def test_changes_by_other_sites_are_refused(
    client: httpx.Client, headers: dict[str, str], still_works: None
) -> None:
    for method, path in CHANGES:
        answer = client.request(method, path, headers=headers, content=b"{}")
        assert answer.status_code == 403, path
        detail = answer.json().get("detail") or answer.json()["error"]
        assert "--cors-origins" in detail
    # What only reads is answered; the browser keeps it from the page.
    answer = client.get("/v1/system", headers=headers)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_servers_own_pages_and_other_programs_are_answered(client: httpx.Client) -> None:
    own = str(client.base_url).rstrip("/")
    for headers in (
        {},
        {"Origin": own},
        {"Sec-Fetch-Site": "same-origin", "Origin": own},
        {"Sec-Fetch-Site": "none"},
    ):
        assert status(client, headers) == 200
    # Another port is another site.
    other = own.rpartition(":")[0] + ":1"
    assert status(client, {"Origin": other}) == 403


@pytest.mark.parametrize(
    ("host", "headers", "expected"),
    [
        # nginx: proxy_set_header Host $host, $http_host; and nothing, as it is by default.
        ("flows.test", {"Origin": f"{ORIGIN}:8080"}, 200),
        ("flows.test:8080", {"Origin": f"{ORIGIN}:8080"}, 200),
        ("flows.test:8080", {"Origin": "http://evil.test:8080"}, 403),
        ("127.0.0.1:8000", {"Origin": "https://flows.test"}, 200),
        ("127.0.0.1:8000", {"Origin": "https://deep.in.lan"}, 200),
        ("127.0.0.1:8000", {"Origin": "https://other.test"}, 403),
        # Browsers say for addresses that they trust, such as those with TLS.
        (
            "127.0.0.1:8000",
            {"Origin": "https://other.test", "Sec-Fetch-Site": "same-origin"},
            200,
        ),
        # Apache and Traefik.
        (
            "127.0.0.1:8000",
            {"Origin": "https://other.test", "X-Forwarded-Host": "other.test"},
            200,
        ),
        (
            "127.0.0.1:8000",
            {"Origin": "https://other.test", "X-Forwarded-Host": "a.test, other.test:443"},
            200,
        ),
        (
            "127.0.0.1:8000",
            {"Origin": "http://evil.test", "X-Forwarded-Host": "other.test"},
            403,
        ),
        # What the browser says counts, whatever names there are.
        ("flows.test", {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_pages_behind_proxies(
    named: RunningServer, host: str, headers: dict[str, str], expected: int
) -> None:
    assert status(named.client, headers, host) == expected


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "TEXT/PLAIN; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ],
)
def test_bodies_that_any_page_can_send_are_refused(client: httpx.Client, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    for path in (INFER, "/v2/logging", "/v2/repository/models/energy_flow/load"):
        refusal = read_refusal(client.post(path, json=make_request(), headers=headers), 415)
        assert media_type in refusal
    assert client.post("/v1/runs", json={}, headers=headers).status_code == 415


def test_a_body_without_a_type_is_json(client: httpx.Client) -> None:
    answer = client.post("/v2/repository/index", content=b"{}")
    assert "content-type" not in answer.request.headers
    assert answer.status_code == 200


def test_browsers_do_not_guess_what_an_answer_is(client: httpx.Client) -> None:
    for path in ("/", "/livez", "/v1/system", "/metrics", "/openapi.json", "/nowhere", "/v2"):
        assert client.get(path).headers.get_list("x-content-type-options") == ["nosniff"]
    refused = client.get("/v1/system", headers={"Host": "evil.test"})
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_pages_of_allowed_origins_use_the_server(tmp_path: Path) -> None:
    origin = "https://notebook.example.org"
    with serving(tmp_path, api_key="sesame", cors_origins=(origin,)) as server:
        client = server.client
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
        }
        answer = client.options("/v1/runs", headers=asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-credentials" not in answer.headers
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        # Also refusals can be read.
        refused = client.get("/v1/system", headers=headers)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == origin
        headers["Authorization"] = "Bearer sesame"
        body = {"embeddings": rows(1).tolist()}
        queued = client.post("/v1/runs", json=body, headers=headers)
        assert queued.status_code == 202
        exposed = queued.headers["access-control-expose-headers"].lower().split(", ")
        assert {"location", "x-request-id", "next-cursor"} <= set(exposed)
        other = {**headers, "Origin": "https://evil.test"}
        assert client.post("/v1/runs", json=body, headers=other).status_code == 403
        read = client.get("/v1/system", headers=other)
        assert "access-control-allow-origin" not in read.headers
        asked["Origin"] = "https://evil.test"
        assert (
            "access-control-allow-origin" not in client.options("/v1/runs", headers=asked).headers
        )
