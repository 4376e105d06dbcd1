"""The pages of runs in a browser, with a running server."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from playwright.sync_api import Page, expect

from energy_flow.client import FlowClient
from tests.support.live_server import LiveServer, live_server
from tests.web.conftest import FLAGS, NewPage
from tests.web.runs_for_pages import make_run, start_endless_run


@pytest.fixture(scope="module")
def run_id(server: LiveServer) -> str:
    return make_run(server.url)


@pytest.fixture(scope="module")
def other_run_id(server: LiveServer) -> str:
    return make_run(server.url, seed=8)


def test_a_run_is_submitted_and_shown(server: LiveServer, page: Page) -> None:
    page.goto(f"{server.url}/#/try")
    cost = page.get_by_label("Cost")
    expect(cost.get_by_text("256", exact=True)).to_be_visible()
    page.get_by_label("seed", exact=True).fill("3")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("succeeded")).to_be_visible()
    expect(
        page.locator(".facts").get_by_text("seed", exact=True).locator("xpath=..")
    ).to_contain_text("3")
    surface = page.get_by_role("img", name=re.compile("surface of sample 0: 8 by 8 cells"))
    surface.hover()
    expect(page.get_by_text(re.compile("x 4, y [34]"))).to_be_visible()
    page.get_by_role("button", name="Next sample").click()
    expect(
        page.get_by_role("img", name=re.compile("surface of sample 1: 8 by 8 cells"))
    ).to_be_visible()
    page.get_by_label("shows").select_option("hits")
    expect(page.get_by_role("img", name=re.compile("hits of sample 1"))).to_be_visible()
    expect(page).to_have_url(re.compile("plane=hits"))


def test_a_run_shows_its_exits_and_steps(server: LiveServer, page: Page, run_id: str) -> None:
    with FlowClient(server.url) as client:
        metrics = client.run(run_id).metrics
    assert metrics is not None
    page.goto(f"{server.url}/#/runs/{run_id}")
    exits = page.get_by_role("table", name="Ended flows by plane and reason")
    for plane in ("z0", "zdepth"):
        row = exits.get_by_role("row", name=re.compile(f"^{plane} "))
        # The whole table is rendered at once.
        expect(row).to_be_visible()
        shown = [int(text) for text in row.get_by_role("cell").all_inner_texts()]
        assert sum(shown) == metrics.planes[plane]
    for title in ("Active flows", "Events", "Displacement", "Memory in MiB"):
        chart = page.get_by_role("img", name=re.compile(f"^{title} over {metrics.steps} steps"))
        expect(chart).to_be_visible()
    steps = page.get_by_role("group", name="Events by step")
    steps.focus()
    steps.press("ArrowRight")
    expect(steps.locator("xpath=..").get_by_text("step 0", exact=True)).to_be_visible()


def test_errors_are_shown_at_their_fields(server: LiveServer, new_page: NewPage) -> None:
    page = new_page(expected=("422",))
    page.goto(f"{server.url}/#/try")
    page.get_by_text("Options").click()
    page.get_by_label("noise std", exact=True).fill("-1")
    page.get_by_label("percentile").fill("200")
    send = page.get_by_role("button", name="Run", exact=True)
    for name in ("noise_std", "spawn.percentile"):
        field = page.locator(f'[name="{name}"]')
        expect(field).to_have_attribute("aria-invalid", "true")
        message = page.locator(f'[id="option-{name}-message"] .field-error')
        expect(message).not_to_be_empty()
    expect(page.get_by_text("2 values are not valid")).to_be_visible()
    expect(send).to_be_disabled()
    page.get_by_label("noise std", exact=True).fill("0.1")
    page.get_by_label("percentile").fill("")
    expect(send).to_be_enabled()


def test_soft_deposition_shows_the_cells_that_it_reached(
    server: LiveServer, new_page: NewPage
) -> None:
    page = new_page(expected=("422",))
    page.goto(f"{server.url}/#/try")
    page.get_by_text("Options").click()
    page.get_by_label("background").fill("0.2")
    message = page.locator('[id="option-background-message"] .field-error')
    expect(message).to_contain_text("set aggregation_mode to splat")
    page.get_by_label("aggregation mode").select_option("splat")
    page.get_by_label("noise std", exact=True).fill("0.1")
    expect(page.get_by_label("Cost").get_by_text("256", exact=True)).to_be_visible()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("succeeded")).to_be_visible()
    page.get_by_label("shows").select_option("reached z0")
    expect(page.get_by_role("img", name="reached z0 of sample 0: 8 by 8 cells")).to_be_visible()
    run_id = page.url.rpartition("/")[2].partition("?")[0]
    with FlowClient(server.url) as client:
        assert client.run(run_id).data["config"]["background"] == 0.2
        outputs = {name: client.outputs(run_id, name)[0] for name in ("reached", "hits")}
    reached = outputs["reached"].any(axis=0)
    only_touched = reached & (outputs["hits"].sum(axis=0) == 0)
    assert only_touched.any()
    assert not reached.all()
    page.get_by_label("shows").select_option("surface")
    cells = page.get_by_role("group", name="surface of sample 0: cells")
    reading = cells.locator("xpath=..").locator("output")
    cells.focus()
    # From the middle to the corner x = 0, y = 0.
    for key in ("ArrowLeft", "ArrowDown"):
        for _ in range(8):
            page.keyboard.press(key)
    for x, is_reached in enumerate(reached[0]):
        expect(reading).to_contain_text(f"x {x}, y 0")
        expect(reading).to_contain_text("energy" if is_reached else "not reached")
        page.keyboard.press("ArrowRight")


def test_embeddings_are_pasted_and_uploaded(
    server: LiveServer, new_page: NewPage, tmp_path: Path
) -> None:
    page = new_page(expected=("422",))
    page.goto(f"{server.url}/#/try")
    page.get_by_text("Paste").click()
    page.get_by_label(re.compile("^JSON")).fill("[[1, 2, 3]")
    expect(page.get_by_role("alert")).to_contain_text("not JSON")
    page.get_by_label(re.compile("^JSON")).fill("[[1, 2, 3]]")
    expect(page.get_by_role("alert").first).to_contain_text("384")
    rows = np.random.default_rng(0).normal(size=(3, 384)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    page.get_by_text("Upload").click()
    page.get_by_label(re.compile("npy")).set_input_files(tmp_path / "rows.npy")
    expect(page.get_by_text("3 × 384 numbers (<f4) from rows.npy")).to_be_visible()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("3 of 3 samples")).to_be_visible()
    expect(page.get_by_text("succeeded")).to_be_visible()


def test_a_flow_is_selected_in_the_lattice(server: LiveServer, page: Page, run_id: str) -> None:
    page.goto(f"{server.url}/#/runs/{run_id}/lattice")
    canvas = page.get_by_role("img", name=re.compile("Flows of sample 0"))
    expect(canvas).to_be_visible()
    expect(page.get_by_text("the replay equals the recorded trace")).to_be_visible()

    slider = page.get_by_role("slider", name="Step")
    slider.focus()
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^after step 1, 2 of"))
    # At this speed, the end is not reached before the pause.
    page.get_by_label("speed").select_option("0.25")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(slider).not_to_have_attribute("aria-valuetext", re.compile("^after step 1,"))
    page.get_by_role("button", name="Pause").click()
    slider.press("Home")
    page.evaluate(NEXT_FRAME)

    records = page.get_by_role("region", name="Trace records")
    expect(records.get_by_role("row").nth(5)).to_be_visible()
    _select_a_flow(page)
    card = page.locator(".flow-card")
    selected = int(card.locator("b").inner_text().removeprefix("Flow "))
    expect(page.get_by_label("flow", exact=True)).to_have_value(str(selected))
    page.get_by_label("show the records of the whole lineage").uncheck()
    flows = records.locator("tbody tr td:nth-child(4)")
    others = flows.filter(has_not_text=re.compile(f"^{selected}$"))
    expect(others).to_have_count(0)
    expect(flows.first).to_have_text(str(selected))

    canvas.press("Escape")
    expect(card).to_have_count(0)
    expect(records.locator("tbody td").first).to_have_text("0")
    records.get_by_role("button").first.click()
    expect(card).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^after step 0, 1 of"))


NEXT_FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Resolves when the changes by the last event have been drawn."""


def _select_a_flow(page: Page) -> None:
    """Click at several points until a flow is hit; flows start in the plane in the middle."""
    canvas = page.locator(".lattice-frame canvas")
    box = canvas.bounding_box()
    assert box is not None
    for right in range(-6, 7):
        for down in range(-2, 3):
            position = {"x": box["width"] / 2 + 14 * right, "y": box["height"] / 2 + 14 * down}
            canvas.click(position={"x": position["x"], "y": position["y"]})
            page.evaluate(NEXT_FRAME)
            if page.locator(".flow-card").count():
                return
    raise AssertionError("no flow could be selected")


def test_flows_and_records_are_filtered(server: LiveServer, page: Page, run_id: str) -> None:
    page.goto(f"{server.url}/#/runs/{run_id}/lattice")
    shown = page.get_by_text(re.compile("of .* flows shown"))
    expect(shown).to_be_visible()
    with FlowClient(server.url) as client:
        plane = client.trace(run_id, kind="terminate", sample=0)
    expected = int((plane["code"] == 0).sum())
    page.get_by_label("that ended by").select_option("plane")
    expect(shown).to_contain_text(re.compile(f"^{expected} of "))
    page.get_by_role("combobox", name="reason", exact=True).select_option("plane")
    records = page.get_by_role("region", name="Trace records")
    expect(records.get_by_text("plane → z").first).to_be_visible()
    expect(page.get_by_text(f"{expected} records")).to_be_visible()
    page.get_by_label("colour by").select_option("generation")
    expect(page.get_by_role("img", name=re.compile("Colours of generation from 0"))).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("combobox", name="kind", exact=True).select_option("spawn")
    expect(records.get_by_text("child").first).to_be_visible()


def test_two_runs_are_compared(
    server: LiveServer, page: Page, run_id: str, other_run_id: str
) -> None:
    page.goto(server.url)
    for name in (run_id, other_run_id):
        page.get_by_role("checkbox", name=f"Select run {name[:8]}").check()
    page.get_by_role("link", name="Compare 2 runs").click()
    expect(page.get_by_role("img", name=re.compile("difference of the surfaces"))).to_be_visible()
    expect(page.get_by_text("First difference of the traces of sample 0")).to_be_visible()
    expect(page.get_by_text(re.compile("step 0, flow \\d+: ")).first).to_be_visible()
    metrics = page.get_by_role("table", name="Metrics of both runs")
    expect(metrics.get_by_role("row", name=re.compile("^created "))).to_be_visible()
    page.get_by_role("button", name="Show sample 1").click()
    expect(page.get_by_text("First difference of the traces of sample 1")).to_be_visible()


def test_downloads_equal_the_data_of_the_server(
    server: LiveServer, page: Page, run_id: str, tmp_path: Path
) -> None:
    page.goto(f"{server.url}/#/runs/{run_id}")
    with page.expect_download() as surface:
        page.get_by_role("link", name="surface.npy").click()
    surface.value.save_as(tmp_path / "surface.npy")
    with page.expect_download() as trace:
        page.get_by_role("link", name="parquet").click()
    trace.value.save_as(tmp_path / "trace.parquet")
    with FlowClient(server.url) as client:
        np.testing.assert_array_equal(
            np.load(tmp_path / "surface.npy"), client.outputs(run_id, "surface")
        )
        records = client.trace(run_id)
    table = pyarrow.parquet.read_table(tmp_path / "trace.parquet")
    np.testing.assert_array_equal(table["seq"].to_numpy(), records["seq"])


def test_a_run_is_deleted(server: LiveServer, new_page: NewPage) -> None:
    deleted = make_run(server.url, samples=1)
    page = new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(server.url)
    page.get_by_role("button", name=f"Delete run {deleted[:8]}").click()
    expect(page.get_by_role("link", name=deleted[:8])).to_have_count(0)


def test_a_server_with_a_key_requires_it(new_page: NewPage, tmp_path: Path) -> None:
    page = new_page(expected=("401",))
    with live_server(tmp_path, (*FLAGS, "--api-key", "sesame")) as guarded:
        page.goto(guarded.url)
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_label("Key").fill("wrong")
        dialog.get_by_role("button").click()
        expect(dialog.get_by_text("The server refused this key.")).to_be_visible()
        dialog.get_by_label("Key").fill("sesame")
        dialog.get_by_label("Key").press("Enter")
        expect(page.get_by_text("There is no run yet.")).to_be_visible()
        expect(dialog).to_be_hidden()
        page.reload()
        expect(page.get_by_text("There is no run yet.")).to_be_visible()
        expect(dialog).to_be_hidden()
        # The page polls the runs, which would fail after the end of the server.
        page.close()


def test_a_running_run_is_cancelled(server: LiveServer, page: Page) -> None:
    run_id = start_endless_run(server.url)
    page.goto(f"{server.url}/#/runs/{run_id}")
    expect(page.locator(".badge-running")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Active flows over"))).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".badge-cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
