"""The page of a model, with an ablation from its start to its result."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from energy_flow import pretrained
from energy_flow.choices import Ablation
from tests.support.live_server import LiveServer
from tests.web.ablations_for_pages import put_pairs


def test_a_model_is_measured(server: LiveServer, page: Page) -> None:
    put_pairs(server.url)
    page.goto(f"{server.url}/#/data")
    page.get_by_role("link", name="default", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("default")
    expect(page.locator(".facts")).to_contain_text("8 × 8 × 8")
    page.get_by_label("dataset").select_option("pairs-for-pages")
    page.get_by_label("to", exact=True).fill("10")
    page.get_by_role("button", name="Start").click()
    for part in Ablation:
        row = page.get_by_role("row", name=part.label)
        expect(row.get_by_role("rowheader")).to_have_text(part.label)
    expect(page.get_by_text("pairs-for-pages, rows 0 to 10").first).to_be_attached()
    page.get_by_text("R²", exact=True).click()
    expect(page.get_by_role("img", name="change of R²")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("change of R²")).to_have_count(0)


def test_the_sample_of_a_model_is_run(server: LiveServer, page: Page) -> None:
    page.goto(f"{server.url}/#/data")
    row = page.get_by_role("row", name="spectrometer")
    expect(row).to_contain_text(pretrained.find("spectrometer").description)
    expect(row).to_contain_text("read-only")
    expect(row.get_by_role("button", name="Delete")).to_have_count(0)
    row.get_by_role("link", name="spectrometer", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("8 of 8 samples")).to_be_visible()
    for title in ("Input", "Prediction, z0", "Prediction, zdepth"):
        picture = page.get_by_role("img", name=re.compile(f"^{title} of sample 0: 10 by 10 cells"))
        expect(picture).to_be_visible()
    page.get_by_role("button", name="Next sample").first.click()
    expect(page.get_by_role("img", name=re.compile("^Input of sample 1"))).to_be_visible()
