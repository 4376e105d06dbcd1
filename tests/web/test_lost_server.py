"""Pages whose server is lost, addresses of nothing, and keys that are kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.live_server import LiveServer, live_server
from tests.web.conftest import FLAGS, NewPage
from tests.web.runs_for_pages import make_run

LOST = ("Failed to load resource",)


def test_a_page_loads_when_a_lost_server_is_back(server: LiveServer, new_page: NewPage) -> None:
    run_id = make_run(server.url, samples=1)
    page = new_page(expected=LOST)
    page.goto(f"{server.url}/#/data")
    expect(page.get_by_role("heading", level=1)).to_have_text("Datasets and models")
    page.context.set_offline(True)
    page.evaluate(f"location.hash = '#/runs/{run_id}'")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    expect(page.get_by_role("heading", level=1)).to_contain_text(run_id)
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("path", "link", "leads_to"),
    [
        ("runs/none", "All runs", "Runs"),
        ("runs/none/lattice", "All runs", "Runs"),
        ("models/none", "All models", "Datasets and models"),
        ("experiments/none", "All experiments", "Experiments"),
        ("no/such/page", "All runs", "Runs"),
        ("models/default/more", "models default", "default"),
    ],
)
def test_addresses_of_nothing_lead_back(
    server: LiveServer, new_page: NewPage, path: str, link: str, leads_to: str
) -> None:
    page = new_page(expected=("404",))
    page.goto(f"{server.url}/#/{path}")
    page.get_by_role("main").get_by_role("link", name=link).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(leads_to)


def test_an_address_that_is_entered_in_an_open_tab_is_followed(
    server: LiveServer, page: Page
) -> None:
    page.goto(f"{server.url}/#/data")
    for path, title in (("runs", "Runs"), ("models", "Datasets and models"), ("try", "New run")):
        page.goto(f"{server.url}/#/{path}")
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(title))


def test_a_key_is_kept_for_other_tabs_if_wished(new_page: NewPage, tmp_path: Path) -> None:
    page = new_page(expected=("401",))
    with live_server(tmp_path, (*FLAGS, "--api-key", "sesame")) as guarded:
        page.goto(guarded.url)
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_label("Key").fill("sesame")
        dialog.get_by_label("keep it in this browser").check()
        dialog.get_by_role("button").click()
        expect(page.get_by_text("There is no run yet.")).to_be_visible()
        other = page.context.new_page()
        other.goto(guarded.url)
        expect(other.get_by_text("There is no run yet.")).to_be_visible()
        other.get_by_role("button", name="Forget the API key").click()
        expect(other.get_by_role("dialog", name="API key")).to_be_visible()
        # The pages poll the runs, which would fail after the end of the server.
        page.close()
        other.close()


def test_a_phone_has_one_row_of_navigation(server: LiveServer, new_page: NewPage) -> None:
    page = new_page({"width": 390, "height": 844})
    page.goto(server.url)
    links = page.get_by_role("navigation", name="Pages").get_by_role("link")
    expect(links.last).to_have_text("API")
    tops = {link.bounding_box()["y"] for link in links.all()}  # type: ignore[index]
    assert len(tops) == 1
    head = page.locator(".site-head").bounding_box()
    assert head is not None
    assert head["height"] < 60
