"""Lists of runs and experiments in a browser: search, filters, order, pages, deletion, labels."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from energy_flow.client import FlowClient
from tests.support.live_server import LiveServer, live_server
from tests.web.conftest import FLAGS, NewPage
from tests.web.experiments_for_pages import make_experiment
from tests.web.runs_for_pages import DIMENSION

COUNT = 45
"""Runs of the list: three pages."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Yield a server of its own, whose runs are all known."""
    with live_server(tmp_path_factory.mktemp("lists"), FLAGS) as running:
        rows = np.full((1, DIMENSION), 0.05, np.float32)
        with FlowClient(running.url) as client:
            for number in range(COUNT):
                tags = ["even"] if number % 2 == 0 else ["odd"]
                options = {"noise_std": 0.1, "max_steps": 4} if number < 5 else {"max_steps": 4}
                run = client.submit_run(
                    rows, name=f"run-{number:02}", tags=tags, options=options, outputs=["surface"]
                )
            client.wait(run.run_id)
        make_experiment(running.url, "alpha", tags=["first"])
        make_experiment(running.url, "beta")
        yield running


def _rows(page: Page) -> Locator:
    return page.get_by_role("table", name="Runs").locator("tbody tr")


def _first(page: Page) -> Locator:
    return _rows(page).first.locator(".run-name")


def test_runs_are_searched_and_filtered_and_the_address_has_it(
    server: LiveServer, page: Page
) -> None:
    page.goto(server.url)
    expect(_rows(page)).to_have_count(20)
    page.get_by_label("search").fill("run-1")
    expect(_rows(page)).to_have_count(10)
    expect(page).to_have_url(re.compile("search=run-1"))
    page.get_by_text("Filters").click()
    page.get_by_label("tags").fill("odd")
    expect(_rows(page)).to_have_count(5)
    page.reload()
    expect(_rows(page)).to_have_count(5)
    page.get_by_role("button", name="Show all").click()
    expect(_rows(page)).to_have_count(20)
    expect(page).to_have_url(re.compile("/#/$"))
    page.get_by_text("Filters").click()
    page.get_by_label("options").fill("noise_std = 0.1")
    expect(_rows(page)).to_have_count(5)
    page.get_by_role("combobox", name="state").select_option("failed")
    expect(page.get_by_text("No run matches.")).to_be_visible()
    page.get_by_role("combobox", name="state").select_option("succeeded")
    page.get_by_label("created from").fill("2001-02-03")
    expect(_rows(page)).to_have_count(5)
    page.get_by_label("to", exact=True).fill("2001-02-03")
    expect(page.get_by_text("No run matches.")).to_be_visible()


def test_runs_are_sorted_and_read_in_both_directions(server: LiveServer, page: Page) -> None:
    page.goto(server.url)
    expect(_first(page)).to_have_text(f"run-{COUNT - 1}")
    page.get_by_role("button", name="run", exact=True).click()
    expect(_first(page)).to_have_text("run-00")
    page.get_by_role("link", name="Next").click()
    expect(_first(page)).to_have_text("run-20")
    page.get_by_role("link", name="Next").click()
    expect(_rows(page)).to_have_count(COUNT - 40)
    expect(page.get_by_role("link", name="Next")).to_have_count(0)
    page.get_by_role("link", name="Previous").click()
    expect(_first(page)).to_have_text("run-20")
    page.get_by_role("link", name="First").click()
    expect(_first(page)).to_have_text("run-00")
    page.get_by_role("button", name="run", exact=True).click()
    expect(_first(page)).to_have_text(f"run-{COUNT - 1}")


def test_a_tag_leads_to_the_runs_that_have_it(server: LiveServer, page: Page) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="tag even").first.click()
    expect(page).to_have_url(re.compile("tag=even"))
    expect(page.get_by_role("link", name="tag odd")).to_have_count(0)


def test_name_tags_and_note_of_a_run_are_changed(server: LiveServer, new_page: NewPage) -> None:
    page = new_page(expected=("422",))
    page.goto(f"{server.url}/#/?search=run-07")
    _first(page).click()
    expect(page.get_by_role("heading", level=1, name="run-07")).to_be_visible()
    page.get_by_role("button", name="Edit name, tags and note").click()
    form = page.get_by_role("form", name="Edit name, tags and note")
    form.get_by_label("name").fill("renamed")
    form.get_by_label("tags").fill("x" * 65)
    form.get_by_label("note").fill("two\nlines")
    form.get_by_role("button", name="Save").click()
    expect(form.locator("#label-tags-message .field-error")).to_be_visible()
    form.get_by_label("tags").fill("kept, new")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1, name="renamed")).to_be_visible()
    expect(page.get_by_text("two\nlines")).to_be_visible()
    with FlowClient(server.url) as client:
        (run,) = client.runs(search="renamed")
        assert (run.name, list(run.tags), run.note) == ("renamed", ["kept", "new"], "two\nlines")
        client.change_run(run.run_id, name="run-07", tags=["odd"], note="")


def test_a_new_run_and_a_new_experiment_have_labels(server: LiveServer, page: Page) -> None:
    page.goto(f"{server.url}/#/try")
    page.get_by_text("Name, tags and note").click()
    page.get_by_label("name", exact=True).fill("from the form")
    page.get_by_label("tags").fill("form")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="from the form")).to_be_visible()
    page.get_by_role("link", name="tag form").click()
    expect(_rows(page)).to_have_count(1)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete run").click()
    expect(page.get_by_text("No run matches.")).to_be_visible()

    page.goto(f"{server.url}/#/experiments/new")
    page.get_by_label("name", exact=True).fill("gamma")
    page.get_by_text("Tags and note").click()
    page.get_by_label("tags").fill("form")
    page.get_by_label("note").fill("why")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="gamma")).to_be_visible()
    expect(page.get_by_role("link", name="tag form")).to_be_visible()
    page.get_by_role("button", name="Edit tags and note").click()
    page.get_by_role("textbox", name="note").fill("")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("why")).to_have_count(0)


def test_experiments_are_filtered_and_deleted(server: LiveServer, page: Page) -> None:
    make_experiment(server.url, "delta", tags=["gone"])
    make_experiment(server.url, "epsilon", tags=["gone"])
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{server.url}/#/experiments?tag=gone")
    rows = page.get_by_role("table", name="Experiments").locator("tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_role("checkbox", name="Select all on this page").check()
    page.get_by_role("button", name="Delete 2 experiments").click()
    expect(page.get_by_text("No experiment matches.")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("link", name="alpha", exact=True)).to_be_visible()
    page.get_by_role("button", name="name", exact=True).click()
    expect(rows.first.locator(".run-name")).to_have_text("alpha")


def test_all_runs_that_match_are_deleted_after_a_confirmation(
    server: LiveServer, new_page: NewPage
) -> None:
    # The browser logs the answer that has the number.
    page = new_page(expected=("409",))
    asked: list[str] = []
    answers = iter([False, True])

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        if next(answers):
            dialog.accept()
        else:
            dialog.dismiss()

    page.on("dialog", answer)
    page.goto(f"{server.url}/#/?tag=even&search=run-0")
    expect(_rows(page)).to_have_count(5)
    button = page.get_by_role("button", name="Delete all that match")
    button.click()
    expect(button).to_be_enabled()
    expect(_rows(page)).to_have_count(5)
    button.click()
    expect(page.get_by_text("No run matches.")).to_be_visible()
    assert asked == ["Delete 5 runs with all files? This cannot be undone."] * 2
    with FlowClient(server.url) as client:
        assert len(list(client.runs(tag=["even"]))) == (COUNT + 1) // 2 - 5
