"""Layout and accessibility of every page."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.live_server import LiveServer
from tests.web.ablations_for_pages import make_ablation
from tests.web.conftest import NewPage
from tests.web.experiments_for_pages import make_experiment
from tests.web.runs_for_pages import make_picture_run, make_run

PAGES = (
    "",
    "try",
    "runs/{a}",
    "runs/{a}/lattice",
    "runs/{a}/trace",
    "compare?a={a}&b={b}",
    "experiments",
    "experiments/new",
    "experiments/{e}",
    "data",
    "models/default",
    "models/spectrometer",
    "runs/{p}",
)
SWEEP = {"random": {"noise_std": {"low": 0.01, "high": 1, "log": True}}, "count": 3}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def runs(server: LiveServer) -> dict[str, str]:
    return {
        "a": make_run(server.url),
        "b": make_run(server.url, seed=8),
        "e": make_experiment(server.url, "layout", sweep=SWEEP, seeds=[0, 1]),
        "m": make_ablation(server.url),
        "p": make_picture_run(server.url),
    }


def _open(page: Page, server: LiveServer, path: str, runs: dict[str, str]) -> None:
    page.goto(f"{server.url}/#/{path.format(**runs)}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_load_state("networkidle")
    expect(page.locator(".waiting")).to_have_count(0)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_phone(
    server: LiveServer, new_page: NewPage, runs: dict[str, str], path: str
) -> None:
    page = new_page(PHONE)
    _open(page, server, path, runs)
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible(
    server: LiveServer, new_page: NewPage, runs: dict[str, str], axe: str, path: str, dark: bool
) -> None:
    page = new_page(dark=dark)
    _open(page, server, path, runs)
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run()")
    violations = [
        f"{fault['id']}: {node['html'][:160]} {node['failureSummary']}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]
    assert violations == []


def test_links_are_reached_by_keyboard(server: LiveServer, page: Page) -> None:
    _open(page, server, "", {})
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert reached == [
        "Skip to the content",
        "Energy Flow",
        "Runs",
        "Experiments",
        "Data",
        "Try it",
        "Compare",
        "API",
    ]
