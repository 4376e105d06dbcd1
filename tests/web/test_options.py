"""The options of runs on their pages, in the list of runs, and where runs are compared."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from energy_flow.client import FlowClient
from tests.support.live_server import LiveServer
from tests.web.runs_for_pages import DIMENSION, make_picture_run, make_run


@pytest.fixture(scope="module")
def plain(server: LiveServer) -> str:
    return make_run(server.url)


@pytest.fixture(scope="module")
def changed(server: LiveServer) -> str:
    """Return the id of a run with two options, one of which is the value of the model."""
    with FlowClient(server.url) as client:
        scale = client.model("default").data["config"]["displacement_scale"]
        run = client.submit_run(
            np.ones((1, DIMENSION)),
            options={"noise_std": 0.5, "displacement_scale": scale},
            trace={"capacity": 100},
        )
        client.wait(run.run_id)
    return run.run_id


def test_a_run_shows_what_its_request_set(server: LiveServer, page: Page, changed: str) -> None:
    page.goto(f"{server.url}/#/runs/{changed}")
    table = page.get_by_role("table", name="Options that the request set")
    noise = table.get_by_role("row", name=re.compile("^noise_std "))
    with FlowClient(server.url) as client:
        own = client.model("default").data["config"]["noise_std"]
    expect(noise.get_by_role("cell")).to_have_text(["0.5", str(own)])
    expect(noise).to_have_class("differs")
    expect(table.get_by_role("row", name=re.compile("^displacement_scale "))).not_to_have_class(
        "differs"
    )
    expect(table.get_by_role("row", name=re.compile("^trace.capacity 100 "))).to_be_visible()
    expect(table.get_by_role("row")).to_have_count(4)
    config = page.get_by_role("table", name="Config of the run")
    expect(config).to_be_hidden()
    page.get_by_text(re.compile("^All .* fields of the config")).click()
    expect(config.get_by_role("row", name=re.compile("^spawn.mode "))).to_be_visible()


def test_the_id_of_a_run_is_whole_and_copied(server: LiveServer, page: Page, changed: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{server.url}/#/runs/{changed}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(changed)
    page.get_by_role("button", name="Copy the id").click()
    expect(page.get_by_role("button", name="Copied the id")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == changed


def test_options_are_columns_of_the_list(server: LiveServer, page: Page, changed: str) -> None:
    page.goto(server.url)
    page.locator(".column-picker summary").click()
    page.get_by_label("noise_std", exact=True).check()
    row = page.get_by_role("row").filter(has_text=changed)
    expect(page.get_by_role("columnheader", name="noise_std")).to_be_visible()
    expect(row.locator("b")).to_have_text("0.5")
    page.reload()
    expect(row.locator("b")).to_have_text("0.5")
    page.locator(".column-picker summary").click()
    page.get_by_label("noise_std", exact=True).uncheck()
    expect(page.get_by_role("columnheader", name="noise_std")).to_have_count(0)


def test_a_comparison_starts_with_what_differs(
    server: LiveServer, page: Page, plain: str, changed: str
) -> None:
    page.goto(f"{server.url}/#/compare?a={plain}&b={changed}")
    table = page.get_by_role("table", name="What differs between the runs")
    expect(page.get_by_role("heading", level=2).first).to_have_text("What differs")
    noise = table.get_by_role("row", name=re.compile("^noise_std "))
    expect(noise.get_by_role("cell").last).to_have_text("0.5")
    for name in ("samples", "outputs", "seed", "trace.capacity"):
        expect(table.get_by_role("rowheader", name=name, exact=True)).to_be_visible()
    for name in ("model", "version", "arithmetic", "displacement_scale"):
        expect(table.get_by_role("rowheader", name=name, exact=True)).to_have_count(0)


def test_many_runs_of_different_shapes_are_compared(
    server: LiveServer, page: Page, plain: str, changed: str
) -> None:
    pictures = make_picture_run(server.url)
    page.goto(f"{server.url}/#/compare?runs={plain},{changed}")
    page.get_by_label("add a run").select_option(pictures)
    expect(page).to_have_url(re.compile(f"runs=.*{pictures}"))
    differences = page.get_by_role("table", name="What differs between the runs")
    model = differences.get_by_role("row", name=re.compile("^model "))
    expect(model.get_by_role("cell")).to_have_text(["default", "default", "spectrometer"])
    with FlowClient(server.url) as client:
        created = [
            str(client.run(run_id).data["metrics"]["created"])
            for run_id in (plain, changed, pictures)
        ]
    metrics = page.get_by_role("table", name="Metrics of the runs")
    row = metrics.get_by_role("row", name=re.compile("^created "))
    expect(row.get_by_role("cell")).to_have_text(created)
    expect(page.get_by_role("img", name="difference of the surfaces")).to_have_count(1)
    page.get_by_text("A and C").click()
    expect(page.get_by_text("have different shapes, 8 × 8 and 10 × 10")).to_be_visible()
    page.get_by_role("button", name="Leave out run B").click()
    expect(page.get_by_role("table", name="Metrics of both runs")).to_be_visible()
