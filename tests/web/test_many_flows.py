"""50,000 flows that move at once: few draw calls, little script."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.live_server import LiveServer

FLOWS = 50_000
MOST_DRAW_CALLS = 10
MOST_SCRIPT_MS = 8.0


def test_fifty_thousand_flows_are_carried(server: LiveServer, page: Page) -> None:
    page.goto(f"{server.url}/#/demo?flows={FLOWS}&steps=12")
    figures = page.locator(".lattice-figures")
    expect(figures).to_contain_text("50,000 flows", timeout=60_000)
    page.get_by_label("speed").select_option("4")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_text("12 of 12 steps")).to_be_visible(timeout=100_000)
    page.wait_for_timeout(1000)
    told = figures.evaluate("element => ({...element.dataset})")
    assert int(told["frames"]) > 10
    assert int(told["drawCalls"]) <= MOST_DRAW_CALLS
    assert float(told["median"]) <= MOST_SCRIPT_MS
