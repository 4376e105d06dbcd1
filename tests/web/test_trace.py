"""The records of a trace by step, and the address of the lattice."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from energy_flow.client import FlowClient
from tests.support.live_server import LiveServer
from tests.web.conftest import NewPage
from tests.web.runs_for_pages import DIMENSION, make_run


@pytest.fixture(scope="module")
def run_id(server: LiveServer) -> str:
    return make_run(server.url)


@pytest.fixture(scope="module")
def childless(server: LiveServer) -> str:
    with FlowClient(server.url) as client:
        run = client.submit_run(np.ones((1, DIMENSION)), options={"spawn.mode": "off"})
        client.wait(run.run_id)
    return run.run_id


def test_steps_of_a_trace_are_selected_by_dragging(
    server: LiveServer, page: Page, run_id: str
) -> None:
    page.goto(f"{server.url}/#/runs/{run_id}/trace")
    with FlowClient(server.url) as client:
        records = client.trace(run_id, sample=0)
    steps = np.bincount(records["step"])
    assert len(steps) > 2
    chart = page.get_by_role("img", name=re.compile(f"over steps 0 to {len(steps) - 1},"))
    box = chart.bounding_box()
    assert box is not None
    share = box["width"] / len(steps)
    page.mouse.move(box["x"] + 1.5 * share, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 2.5 * share, box["y"] + 50)
    page.mouse.up()
    expect(page.get_by_label("from step")).to_have_value("1")
    expect(page.get_by_label("to step")).to_have_value("2")
    count = int(steps[1] + steps[2])
    assert count <= 200
    expect(page.get_by_text(f"{count} records", exact=True)).to_be_visible()


def test_the_lattice_follows_its_address(server: LiveServer, page: Page, run_id: str) -> None:
    url = f"{server.url}/#/runs/{run_id}/lattice"
    page.goto(f"{url}?flow=3&step=1")
    slider = page.get_by_role("slider", name="Step")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^after step 1, 2 of "))
    card = page.locator(".flow-card b")
    expect(card).to_have_text("Flow 3")
    page.evaluate("location.hash = location.hash.replace('step=1', 'step=0')")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^after step 0, 1 of "))
    canvas = page.get_by_role("img", name=re.compile("Flows of sample 0"))
    canvas.press(".")
    expect(page).to_have_url(re.compile("step=1"))
    canvas.press("n")
    expect(card).to_have_text("Flow 4")
    expect(page).to_have_url(re.compile("flow=4"))
    canvas.press("p")
    expect(card).to_have_text("Flow 3")
    for name in ("input", "z0", "zdepth"):
        expect(page.get_by_role("img", name=f"energies of {name}")).to_be_visible()


def test_nothing_is_said_of_children_where_spawning_is_off(
    server: LiveServer, page: Page, childless: str
) -> None:
    page.goto(f"{server.url}/#/runs/{childless}/lattice?flow=1")
    card = page.locator(".flow-card")
    expect(card).to_contain_text("Flow 1")
    expect(card).not_to_contain_text("children")
    shown = page.get_by_role("combobox", name="show", exact=True)
    expect(shown.get_by_role("option")).to_have_text(["all flows", "reflected flows"])
    expect(page.get_by_label("colour by").get_by_role("option")).to_have_count(2)
    expect(page.get_by_text("whole lineage")).to_have_count(0)


@pytest.mark.parametrize("outputs", [["surface"], ["surface", "hits"], ["surface", "reached"]])
def test_cells_that_no_flow_reached_look_the_same(
    server: LiveServer, new_page: NewPage, outputs: list[str]
) -> None:
    with FlowClient(server.url) as client:
        run = client.submit_run(np.ones((1, DIMENSION)), outputs=outputs)
        client.wait(run.run_id)
        reached = client.outputs(run.run_id, "reached")[0].any(axis=0)
    assert not reached.all()
    page = new_page()
    page.goto(f"{server.url}/#/runs/{run.run_id}")
    expect(page.get_by_role("img", name="surface of sample 0: 8 by 8 cells")).to_be_visible()
    page.wait_for_load_state("networkidle")
    opaque = page.evaluate(
        """() => {
            const canvas = document.querySelector(".surface-panel canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, 8, 8);
            return Array.from({ length: 64 }, (_, index) => data[4 * index + 3] > 0);
        }"""
    )
    np.testing.assert_array_equal(np.reshape(opaque, (8, 8))[::-1], reached)
