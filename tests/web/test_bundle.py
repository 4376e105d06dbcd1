"""The files of the pages, as the server sends them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.support.live_server import LiveServer
from tests.support.waits import LIMIT_SECONDS


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client:
        yield client


def test_the_start_page_is_revalidated(http: httpx.Client) -> None:
    answer = http.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    again = http.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_pages_load_nothing_from_other_servers(http: httpx.Client) -> None:
    answer = http.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "http" not in answer.text.replace('http-equiv="', "")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_assets_are_cached_as_immutable_with_their_media_types(http: httpx.Client) -> None:
    names = re.findall(r'"\./(assets/[^"]+)"', http.get("/").text)
    assert {name.rpartition(".")[2] for name in names} == {"js", "css"}
    for name in names:
        answer = http.get(f"/{name}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        expected = "text/javascript" if name.endswith("js") else "text/css"
        assert answer.headers["content-type"].startswith(expected)
        head = http.head(f"/{name}")
        assert head.headers["content-length"] == str(len(answer.content))
        assert head.content == b""


def test_the_icon_is_an_svg_image(http: httpx.Client) -> None:
    assert http.get("/icon.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    "path", ["/assets/nothing.js", "/assets/..%2findex.html", "/assets/", "/nothing.svg"]
)
def test_unknown_files_are_not_found(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
