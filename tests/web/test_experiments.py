"""The pages of experiments, datasets and models in a browser, with a running server."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pyarrow.parquet
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.live_server import LiveServer, free_port, live_server
from tests.support.waits import LIMIT_SECONDS
from tests.web.conftest import FLAGS, TIMEOUT_MS, NewPage
from tests.web.experiments_for_pages import (
    make_dataset,
    make_experiment,
    npy_file,
    start_long_experiment,
    start_training,
)

# Parts of the messages of the browser while there is no server.
NO_SERVER = ("ERR_", "503")

SWEEP = {"grid": {"noise_std": [0.01, 0.1, 1.0], "projection_age": [2, 4]}}


@pytest.fixture(scope="module")
def experiment_id(server: LiveServer) -> str:
    return make_experiment(server.url, "noise-and-age", sweep=SWEEP, seeds=[0, 1])


def _state(page: Page, state: str) -> Locator:
    """Return the badge of the experiment in a state."""
    return page.locator(f".run-line .badge-{state}")


def test_an_experiment_is_created_and_shown(server: LiveServer, page: Page, tmp_path: Path) -> None:
    (tmp_path / "glosses.npy").write_bytes(npy_file(6))
    page.goto(f"{server.url}/#/experiments")
    page.get_by_role("link", name="New experiment").click()
    page.get_by_text("Upload a file").click()
    page.get_by_label(re.compile("^Rows of numbers")).set_input_files(tmp_path / "glosses.npy")
    expect(page.get_by_label("name of the dataset")).to_have_value("glosses")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("combobox", name="dataset")).to_have_value("glosses")

    page.get_by_label("name", exact=True).fill("from-the-form")
    page.get_by_text("Every combination").click()
    page.get_by_label("Values of noise_std").fill("0.01, 0.1, 1")
    page.get_by_label("seeds", exact=True).fill("0-1")
    page.get_by_label("to", exact=True).fill("4")
    preview = page.get_by_role("region", name="Trials")
    expect(preview).to_contain_text("6 trials")
    expect(preview).to_contain_text("each of 4 rows")
    page.get_by_role("button", name="Start").click()

    expect(page.get_by_role("heading", name="from-the-form")).to_be_visible()
    expect(_state(page, "succeeded")).to_be_visible()
    expect(page.get_by_text("6 of 6 trials")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^5 succeeded 1 1 4 of 4"))).to_be_visible()

    page.get_by_role("link", name="Run of trial 3").click()
    expect(page.get_by_role("heading", name=re.compile("^Run "))).to_be_visible()
    expect(page.get_by_text("Trial 3 of")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^surface of sample 0"))).to_be_visible()
    expect(page.get_by_text("glosses, rows 0:4")).to_be_visible()
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    page.get_by_role("link", name="its experiment").click()
    page.get_by_role("link", name="Trace of trial 3").click()
    expect(page.get_by_role("heading", name="Trace of sample 0")).to_be_visible()
    expect(page.get_by_role("region", name="Trace records")).to_be_visible()


def test_measures_are_plotted_against_swept_fields(
    server: LiveServer, page: Page, experiment_id: str
) -> None:
    page.goto(f"{server.url}/#/experiments/{experiment_id}")
    page.get_by_label("shows").select_option("mean_path_length")
    plot = page.get_by_role(
        "img", name=re.compile("^mean_path_length by noise_std: 6 sweep points, least .* most ")
    )
    expect(plot).to_be_visible()
    # The grid's values are factors of ten apart.
    log = page.get_by_label("logarithmic axis")
    expect(log).to_be_checked()
    expect(page.get_by_text("projection_age 4", exact=True)).to_be_visible()
    expect(plot.locator(".plot-trial")).to_have_count(12)
    expect(plot.locator(".plot-mean")).to_have_count(6)

    rows = httpx.get(
        f"{server.url}/v1/experiments/{experiment_id}/results",
        params={"of": "points"},
        timeout=LIMIT_SECONDS,
    ).json()["rows"]
    marks = page.get_by_role("group", name="Sweep points of mean_path_length")
    marks.focus()
    marks.press("ArrowRight")
    reading = page.locator(".reading").first
    expect(reading).to_contain_text("noise_std 0.01, projection_age 2")
    shown = float(re.findall(r"mean_path_length ([\d.]+)", reading.inner_text())[0])
    assert shown == pytest.approx(rows[0]["mean_path_length.mean"], rel=1e-3)

    page.get_by_role("img", name=re.compile("^12 trials as lines through noise_std, ")).hover()
    expect(page.locator(".reading").last).to_contain_text("projection_age")
    log.uncheck()
    expect(log).not_to_be_checked()
    expect(page).to_have_url(re.compile("log=no"))
    page.get_by_label("against").select_option("projection_age")
    expect(page.get_by_role("img", name=re.compile("by projection_age: 6 "))).to_be_visible()
    page.get_by_label("colour by").select_option("nothing")
    expect(page.get_by_text("noise_std 0.01", exact=True)).to_have_count(0)
    plot = page.get_by_role("img", name=re.compile("by projection_age: 6 "))
    plot.hover()
    expect(reading).to_contain_text("trials")


def test_trials_are_filtered(server: LiveServer, page: Page, experiment_id: str) -> None:
    page.goto(f"{server.url}/#/experiments/{experiment_id}")
    trials = page.get_by_role("table", name="Trials, by number")
    expect(trials.get_by_role("row")).to_have_count(13)
    page.get_by_role("combobox", name="state").select_option("failed")
    expect(trials.get_by_role("row")).to_have_count(1)
    expect(page.get_by_text("No trial is in this state.")).to_be_visible()


def test_an_experiment_is_paused_resumed_cancelled_and_deleted(
    server: LiveServer, new_page: NewPage
) -> None:
    experiment_id = start_long_experiment(server.url, "long")
    page = new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{server.url}/#/experiments/{experiment_id}")
    expect(_state(page, "running")).to_be_visible()
    expect(page.get_by_role("progressbar", name=re.compile("^Progress of trial"))).to_be_visible()
    page.get_by_role("button", name="Pause long").click()
    expect(_state(page, "paused")).to_be_visible()
    page.get_by_role("button", name="Resume long").click()
    expect(_state(page, "running")).to_be_visible()
    # The state of a trial changes without a reload.
    expect(page.locator(".badge-succeeded").first).to_be_visible()
    page.get_by_role("button", name="Cancel long").click()
    expect(_state(page, "cancelled")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^49 cancelled"))).to_be_visible()
    page.get_by_role("button", name="Delete long").click()
    expect(page.get_by_role("heading", name="Experiments")).to_be_visible()
    expect(page.get_by_role("link", name="long", exact=True)).to_have_count(0)


def test_the_list_shows_changes_of_state(server: LiveServer, new_page: NewPage) -> None:
    page = new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{server.url}/#/experiments")
    start_long_experiment(server.url, "listed")
    row = page.get_by_role("row", name=re.compile("^Select listed listed "))
    expect(row.locator(".badge-running")).to_be_visible()
    row.get_by_role("button", name="Pause listed").click()
    expect(row.locator(".badge-paused")).to_be_visible()
    row.get_by_role("button", name="Cancel listed").click()
    expect(row.locator(".badge-cancelled")).to_be_visible()
    row.get_by_role("button", name="Delete listed").click()
    expect(row).to_have_count(0)


def test_errors_are_shown_at_their_fields(server: LiveServer, new_page: NewPage) -> None:
    make_dataset(server.url, "few-rows", 4)
    page = new_page(expected=("422", "404", "409"))
    page.goto(f"{server.url}/#/experiments/new")
    page.get_by_role("combobox", name="dataset").select_option("few-rows")
    page.get_by_label("name", exact=True).fill("wrong")
    page.get_by_text("Every combination").click()
    page.get_by_label("Values of noise_std").fill("0.1, -1")
    page.get_by_role("button", name="Add a field").click()
    page.get_by_label("Swept field").nth(1).select_option("max_steps")
    page.get_by_label("Values of max_steps").fill("0")
    page.get_by_label("seeds", exact=True).fill("1, 1")
    page.get_by_label("to", exact=True).fill("9")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text(re.compile("values are not valid"))).to_be_visible()
    beside = page.locator(".sweep-row").filter(has=page.get_by_label("Values of noise_std"))
    expect(beside.locator(".field-error").first).to_contain_text("value 2: ")
    expect(page.get_by_label("Values of noise_std")).to_have_attribute("aria-invalid", "true")
    other = page.locator(".sweep-row").filter(has=page.get_by_label("Values of max_steps"))
    expect(other.locator(".field-error").first).to_contain_text("value 1: ")
    expect(page.locator("#seeds-message .field-error")).to_contain_text("value 2: ")
    expect(page.get_by_text(re.compile("of the dataset's 4 rows"))).to_be_visible()
    page.get_by_label("Values of noise_std").fill("0.1, 0.2")
    page.get_by_role("button", name="Remove max_steps").click()
    page.get_by_label("seeds", exact=True).fill("1")
    page.get_by_label("to", exact=True).fill("")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="wrong")).to_be_visible()
    expect(_state(page, "succeeded")).to_be_visible()


def test_a_page_reconnects_after_a_restart_of_the_server(new_page: NewPage, tmp_path: Path) -> None:
    page = new_page(expected=NO_SERVER)
    port = free_port()
    with live_server(tmp_path, FLAGS, port=port) as first:
        experiment_id = start_long_experiment(first.url, "through")
        page.goto(f"{first.url}/#/experiments/{experiment_id}")
        expect(_state(page, "running")).to_be_visible()
        expect(page.locator(".badge-succeeded").first).to_be_visible()
        first.process.kill()
    warning = page.get_by_text("The connection to the server is lost.")
    expect(warning).to_be_visible()
    with live_server(tmp_path, FLAGS, port=port) as second:
        expect(warning).to_have_count(0)
        done = page.locator(".tally .legend-item").filter(has_text="succeeded").locator("b")
        before = int(done.inner_text())
        expect(done).not_to_have_text(str(before))
        assert int(done.inner_text()) > before
        httpx.post(
            f"{second.url}/v1/experiments/through/cancel", timeout=LIMIT_SECONDS
        ).raise_for_status()
        expect(_state(page, "cancelled")).to_be_visible()


def test_many_tabs_follow_one_experiment(server: LiveServer, new_page: NewPage) -> None:
    experiment_id = start_long_experiment(server.url, "watched")
    first = new_page()
    # More than the connections that a browser opens to one server.
    tabs = [first, *(first.context.new_page() for _ in range(7))]
    for tab in tabs:
        tab.set_default_timeout(TIMEOUT_MS)
        tab.goto(f"{server.url}/#/experiments/{experiment_id}")
        expect(_state(tab, "running")).to_be_visible()
    last = tabs[-1]
    last.get_by_role("button", name="Pause watched").click()
    for tab in tabs:
        expect(_state(tab, "paused")).to_be_visible()
    # Another tab takes the connection over.
    first.close()
    last.get_by_role("button", name="Resume watched").click()
    for tab in tabs[1:]:
        expect(_state(tab, "running")).to_be_visible()
    last.on("dialog", lambda dialog: dialog.accept())
    last.get_by_role("button", name="Cancel watched").click()
    for tab in tabs[1:]:
        expect(_state(tab, "cancelled")).to_be_visible()


def test_a_training_shows_its_curves_and_model(server: LiveServer, page: Page) -> None:
    experiment_id = start_training(server.url, "learning")
    page.goto(f"{server.url}/#/experiments/{experiment_id}")
    curves = page.locator("section", has=page.get_by_role("heading", name="Curves"))
    # Curves are shown before the end of the training.
    expect(curves.get_by_role("img", name=re.compile("^train.loss over "))).to_be_visible()
    expect(_state(page, "succeeded")).to_be_visible()
    both = re.compile("^train.loss over 30 steps: trial 0 .*trial 1")
    lines = curves.get_by_role("img", name=both).locator("path")
    expect(lines).to_have_count(2)
    expect(curves.locator("figcaption").first).to_have_text("train/loss")
    rough = lines.first.get_attribute("d") or ""
    curves.get_by_label("smoothing").fill("0.9")
    expect(lines.first).not_to_have_attribute("d", rough)
    smooth = lines.first.get_attribute("d") or ""
    curves.get_by_label("logarithmic values").check()
    expect(lines.first).not_to_have_attribute("d", smooth)
    curves.get_by_role("combobox", name="of trial").select_option("1")
    expect(curves.get_by_role("img", name=re.compile("^train.loss over 30 steps"))).to_be_visible()
    expect(curves.get_by_role("img", name=re.compile("^held_out.cosine over 6 "))).to_be_visible()
    curves.get_by_text(re.compile("more curves$")).click()
    expect(curves.get_by_role("img", name=re.compile("^train.gradient_norms.all"))).to_be_visible()

    page.get_by_label("shows").select_option("loss")
    by_rate = re.compile("^loss by optimiser.learning_rate: 2 sweep points")
    expect(page.get_by_role("img", name=by_rate)).to_be_visible()
    row = page.get_by_role("row", name=re.compile("^1 succeeded 0.001 0 100 % "))
    expect(row.get_by_role("link", name="Model learning-1 of trial 1")).to_be_visible()
    row.get_by_role("link", name="Run of trial 1").click()
    figures = page.get_by_role("table", name="Figures of the training")
    expect(figures.get_by_role("row", name=re.compile("^steps 30"))).to_be_visible()
    expect(page.get_by_role("link", name="See it in 3D")).to_have_count(0)


def test_results_are_downloaded(
    server: LiveServer, page: Page, experiment_id: str, tmp_path: Path
) -> None:
    page.goto(f"{server.url}/#/experiments/{experiment_id}")
    for table in ("trials", "points"):
        answer = httpx.get(
            f"{server.url}/v1/experiments/{experiment_id}/results",
            params={"of": table},
            timeout=LIMIT_SECONDS,
        ).json()
        for ending in ("csv", "parquet", "json"):
            with page.expect_download() as download:
                page.get_by_role("link", name=f"{table}.{ending}").click()
            assert download.value.suggested_filename == f"noise-and-age-{table}.{ending}"
            path = tmp_path / f"{table}.{ending}"
            download.value.save_as(path)
        rows = pyarrow.parquet.read_table(tmp_path / f"{table}.parquet")
        assert rows.column_names == answer["columns"]
        assert rows.num_rows == len(answer["rows"])
        header, *lines = (tmp_path / f"{table}.csv").read_text().splitlines()
        assert header == ",".join(answer["columns"])
        assert len(lines) == len(answer["rows"])


def test_datasets_are_uploaded_and_deleted(
    server: LiveServer, new_page: NewPage, tmp_path: Path
) -> None:
    page = new_page(expected=("400", "409", "422"))
    page.on("dialog", lambda dialog: dialog.accept())
    (tmp_path / "my rows.npy").write_bytes(npy_file(7))
    (tmp_path / "cut.npy").write_bytes(npy_file(7)[:-8])
    page.goto(f"{server.url}/#/data")
    datasets = page.locator(".panel").filter(has=page.get_by_role("heading", name="Datasets"))
    datasets.get_by_label(re.compile("^Rows of numbers")).set_input_files(tmp_path / "cut.npy")
    datasets.get_by_role("button", name="Upload").click()
    expect(datasets.get_by_role("alert")).to_be_visible()
    datasets.get_by_label(re.compile("^Rows of numbers")).set_input_files(tmp_path / "my rows.npy")
    datasets.get_by_role("button", name="Upload").click()
    row = page.get_by_role("row", name=re.compile("^my-rows 7 384 – "))
    expect(row).to_be_visible()
    expect(datasets.get_by_role("alert")).to_have_count(0)
    row.get_by_role("button", name="Delete my-rows").click()
    expect(row).to_have_count(0)


def test_models_are_uploaded_unloaded_and_deleted(
    server: LiveServer, new_page: NewPage, tmp_path: Path
) -> None:
    page = new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    checkpoint = httpx.get(
        f"{server.url}/v1/models/default",
        params={"format": "safetensors"},
        timeout=LIMIT_SECONDS,
    )
    (tmp_path / "copy.safetensors").write_bytes(checkpoint.content)
    page.goto(f"{server.url}/#/data")
    models = page.locator(".panel").filter(has=page.get_by_role("heading", name="Models"))
    models.get_by_label(re.compile("^A checkpoint")).set_input_files(tmp_path / "copy.safetensors")
    models.get_by_role("button", name="Upload").click()
    row = page.get_by_role("row", name=re.compile("^copy untrained 8 × 8 × 8 384 "))
    expect(row).to_be_visible()
    if row.get_by_role("button", name="Load copy").count():
        row.get_by_role("button", name="Load copy").click()
    row.get_by_role("button", name="Unload copy").click()
    expect(row.get_by_role("button", name="Load copy")).to_be_visible()
    row.get_by_role("button", name="Delete copy").click()
    expect(row).to_have_count(0)
    expect(page.get_by_role("button", name="Delete default")).to_have_count(0)


def test_a_model_is_made_of_a_preset_and_settings(server: LiveServer, new_page: NewPage) -> None:
    page = new_page(expected=("422",))
    page.goto(f"{server.url}/#/data")
    page.get_by_text("New model").click()
    form = page.get_by_role("form", name="New model")
    form.get_by_label("name").fill("made here")
    form.get_by_label("settings").fill("lattice_width = 0\nprecision = half")
    form.get_by_label("seed of the weights").fill("-1")
    form.get_by_role("button", name="Make the model").click()
    expect(form.locator("#model-name-message .field-error")).to_be_visible()
    expect(form.locator("#model-seed-message .field-error")).to_be_visible()
    form.get_by_label("name").fill("made-here")
    form.get_by_label("seed of the weights").fill("3")
    form.get_by_role("button", name="Make the model").click()
    beside = form.locator("#model-settings-message .field-error")
    expect(beside.filter(has_text="lattice_width: ")).to_be_visible()
    expect(beside.filter(has_text="precision: ")).to_be_visible()
    fields = ("embedding_dim = 6", "lattice_width = 5", "carrier_hidden_size = 16")
    form.get_by_label("settings").fill("\n".join(fields))
    form.get_by_role("button", name="Make the model").click()
    expect(
        page.get_by_role("row", name=re.compile("^made-here untrained 5 × .* 6 "))
    ).to_be_visible()
    expect(form.get_by_label("name")).to_have_value("")
