"""``energy-flow ablate``, in this process and on a server."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from energy_flow import FlowProcessor
from energy_flow.choices import Ablation
from energy_flow.client import FlowClient
from energy_flow.simulation.checkpoint import save
from energy_flow.testing import tiny_config
from tests.support.command_line import (
    Caller,
    assert_interrupted,
    assert_refused,
    open_terminal,
)
from tests.support.live_server import LiveServer, interrupts_enabled
from tests.support.waits import until

pytestmark = pytest.mark.slow

LABELS = tuple(part.label for part in Ablation)
ENDLESS = (
    *("--set", "max_steps=1000000", "--set", "projection_age=1000000"),
    *("--set", "convergence.enabled=false", "--set", "noise_std=0.001"),
    *("--set", "spawn.mode=off", "--set", "displacement_scale=1e-9"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, and with pairs for it."""
    folder = tmp_path_factory.mktemp("ablate")
    save(FlowProcessor(tiny_config()), folder / "model.safetensors")
    inputs, targets = np.random.default_rng(2).normal(size=(2, 30, 8)).astype(np.float32)
    save_file({"inputs": inputs, "targets": targets}, folder / "pairs.safetensors")
    save_file({"inputs": inputs, "targets": targets[:, :5].copy()}, folder / "narrow.safetensors")
    save_file({"inputs": inputs}, folder / "inputs.safetensors")
    return folder


@pytest.fixture(scope="module")
def pairs(server: LiveServer, folder: Path) -> str:
    """Return the name of a dataset with the same pairs, on the server."""
    with FlowClient(server.url) as client:
        return client.datasets.put("pairs-for-ablate", folder / "pairs.safetensors").name


def model_and_data(folder: Path) -> tuple[Path, Path]:
    return folder / "model.safetensors", folder / "pairs.safetensors"


def test_a_table_for_people(call: Caller, folder: Path) -> None:
    done = call("ablate", *model_and_data(folder), "--rows", "4:24", "--resamples", "100")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert "cosine [95 %]" in head
    assert "r2 [95 %]" in head
    assert [line.split("  ")[0] for line in lines[: 1 + len(LABELS)]] == ["as it is", *LABELS]
    assert lines[2 + len(LABELS)].startswith("change: figure minus that of the model as it is")
    (read,) = done.stderr.splitlines()
    assert read.startswith("read ")
    assert read.endswith("from tensor 'inputs', with targets of 8 numbers from tensor 'targets'")


def test_other_figures_and_options(call: Caller, folder: Path) -> None:
    options = ("--metric", "top_1", "--metric", "top_10", "--set", "noise_std=0")
    done = call("ablate", *model_and_data(folder), "--resamples", "100", *options)
    assert done.returncode == 0, done.stderr
    assert "top_1 [95 %]" in done.stdout
    assert "cosine" not in done.stdout
    assert "the model has no noise" in done.stdout


def test_warnings_about_the_config_are_shown(
    call: Caller, server: LiveServer, folder: Path, pairs: str
) -> None:
    fields = ("noise_std=0.1", "boundary=clamp", "spawn.mode=off")
    options = ("--resamples", "100", *(word for one in fields for word in ("--set", one)))
    warning = "boundary = clamp with noise: flows stay at the walls"
    at = ("--url", server.url)
    here = call("ablate", *model_and_data(folder), *options)
    assert here.returncode == 0, here.stderr
    there = call("ablate", "default", pairs, *at, *options)
    assert there.returncode == 0, there.stderr
    for done in (here, there):
        assert f"warning: {warning}" in done.stdout.splitlines()
    for arguments in ((*model_and_data(folder),), ("default", pairs, *at)):
        done = call("ablate", *arguments, *options, "--json")
        assert warning in json.loads(done.stdout)["warnings"]


def test_a_server_gives_the_same_figures(
    call: Caller, server: LiveServer, folder: Path, pairs: str
) -> None:
    # The default model of the server has the same weights.
    common = ("--rows", "4:24", "--resamples", "100", "--set", "noise_std=0.1", "--json")
    here = call("ablate", *model_and_data(folder), *common)
    there = call("ablate", "default", pairs, "--url", server.url, *common)
    assert there.returncode == 0, there.stderr
    mine, other = json.loads(here.stdout), json.loads(there.stdout)
    assert mine["model"]["digest"] == other["model"]["digest"]
    assert mine["rows"] == other["rows"] == [4, 24]
    assert mine["result"] == other["result"]
    assert mine["result"]["rows"] == 20
    table = call("ablate", "default", pairs, "--url", server.url, "--resamples", "100")
    assert "energies kept" in table.stdout


def test_an_interrupt_ends_it_in_this_process(folder: Path) -> None:
    with (
        interrupts_enabled(),
        open_terminal("ablate", *model_and_data(folder), *ENDLESS) as terminal,
    ):
        terminal.wait_for(" of 30 rows")
        terminal.process.send_signal(signal.SIGINT)
        done = terminal.finish()
    assert_interrupted(done)


def test_an_interrupt_cancels_it_on_the_server(server: LiveServer, pairs: str) -> None:
    with (
        FlowClient(server.url) as client,
        interrupts_enabled(),
        open_terminal("ablate", "default", pairs, "--url", server.url, *ENDLESS) as terminal,
    ):
        terminal.wait_for("30 rows of")
        terminal.process.send_signal(signal.SIGINT)
        done = terminal.finish()
        newest = next(client.ablations.list("default"))
        until(lambda: client.ablations.get("default", newest.ablation_id).ended)
        assert client.ablations.get("default", newest.ablation_id).state == "cancelled"
    assert_interrupted(done)


def test_faults_are_reported_in_one_line(call: Caller, folder: Path) -> None:
    model, data = model_and_data(folder)
    assert_refused(call("ablate", folder / "no.safetensors", data), "no.safetensors")
    assert_refused(call("ablate", model, folder / "no.safetensors"), "no.safetensors")
    assert_refused(call("ablate", data, data), str(data))
    unpaired = call("ablate", model, folder / "inputs.safetensors")
    assert_refused(unpaired, "has no targets")
    assert unpaired.stderr.splitlines()[-1].count("inputs.safetensors") == 1
    narrow = call("ablate", model, folder / "narrow.safetensors")
    assert_refused(narrow, "narrow.safetensors", "targets: must have 8", "got 5")
    assert_refused(call("ablate", model, data, "--rows", "0:99"), "rows 0:30")
    assert_refused(call("ablate", model, data, "--rows", "3"), "rows: must be at least 2")
    assert_refused(call("ablate", model, data, "--metric", "r3"), "--metric", "r2")
    assert_refused(call("ablate", model, data, "--set", "noise_std=-1"), "noise_std")
    assert_refused(call("ablate", model, data, "--device", "cuda:99"), "cuda")
    # A sample of so many flows needs terabytes.
    large = call("ablate", model, data, "--set", "max_active_flows=1000000000")
    assert_refused(large, "bytes", "max_active_flows")


def test_faults_of_a_server_are_reported_in_one_line(
    call: Caller, server: LiveServer, pairs: str, dataset: str
) -> None:
    at = ("--url", server.url)
    assert_refused(call("ablate", "nothing", pairs, *at), "no model")
    assert_refused(call("ablate", "default", "pairs-for-ablat", *at), "did you mean")
    assert_refused(call("ablate", "default", dataset, *at), "has no targets")
    assert_refused(call("ablate", "default", pairs, *at, "--device", "cpu"), "--device")
    assert_refused(call("ablate", "default", pairs, *at, "--rows", "5:99"), "rows 0:30")


def test_the_help_names_the_figures(call: Caller) -> None:
    done = call("ablate", "--help")
    assert done.returncode == 0
    for word in ("MODEL", "DATA", "--metric", "--resamples", "top_10", "r2"):
        assert word in done.stdout
