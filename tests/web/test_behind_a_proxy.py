"""The pages below a path of nginx."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.support.live_server import LiveServer
from tests.support.nginx import nginx


@pytest.fixture(scope="module")
def address(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    forwarded = "proxy_set_header X-Forwarded-Prefix /energy; proxy_buffering off;"
    locations = f"location /energy/ {{ proxy_pass {server.url}/; {forwarded} }}"
    with nginx(tmp_path_factory.mktemp("nginx"), locations) as url:
        yield f"{url}/energy"


def test_a_run_is_made_followed_and_downloaded(address: str, page: Page) -> None:
    page.goto(f"{address}/#/try")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("succeeded")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("surface of sample 0"))).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("parquet", re.IGNORECASE)).first.click()
    assert download.value.url.startswith(f"{address}/v1/runs/")
    assert download.value.path().read_bytes()[:4] == b"PAR1"
    page.get_by_role("link", name="3D").first.click()
    expect(page.locator("canvas").first).to_be_visible()


def test_the_reference_sends_requests_below_the_path(address: str, page: Page) -> None:
    page.goto(f"{address}/docs")
    expect(page.get_by_role("combobox").first).to_have_value("/energy")
    page.goto(f"{address}/")
    expect(page.get_by_role("heading", name="Runs").first).to_be_visible()
