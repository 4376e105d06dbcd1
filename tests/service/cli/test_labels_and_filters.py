"""Names, tags and notes in commands, lists that are searched, and deletion of several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow.client import FlowClient
from tests.support.command_line import Caller, assert_refused
from tests.support.live_server import LiveServer


@pytest.fixture
def at(server: LiveServer) -> tuple[str, str]:
    return ("--url", server.url)


def listed(call: Caller, kind: str, *arguments: str) -> list[dict[str, Any]]:
    done = call(kind, "list", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_run_is_named_found_changed_and_deleted(
    call: Caller, at: tuple[str, str], embeddings_file: Path, client: FlowClient
) -> None:
    labels = ("--name", "first try", "--tag", "cli-b", "--tag", "cli-a", "--note", "why")
    done = call("simulate", embeddings_file, *at, *labels, "--set", "noise_std=0.03", "--json")
    assert done.returncode == 0, done.stderr
    run_id = json.loads(done.stdout)["run_id"]
    filters: tuple[tuple[str, ...], ...] = (
        ("--search", "FIRST try", "--tag", "cli-a"),
        ("--tag", "cli-a", "--tag", "cli-b"),
        ("--tag", "cli-a", "--set", "noise_std=0.03"),
        ("--tag", "cli-a", "--state", "succeeded", "--model", "default", "--sort=-name"),
        ("--tag", "cli-a", "--created-after", "2020-01-01"),
    )
    for chosen in filters:
        assert [run["run_id"] for run in listed(call, "runs", *at, *chosen)] == [run_id]
    for other in (("--set", "noise_std=0.031"), ("--created-before", "2020-01-01")):
        assert listed(call, "runs", *at, "--tag", "cli-a", *other) == []
    table = call("runs", "list", *at, "--tag", "cli-a").stdout
    assert "first try" in table
    assert "cli-a, cli-b" in table
    shown = call("runs", "change", run_id, *at, "--name", "second", "--tag", "cli-a").stdout
    assert "second" in shown
    assert "why" in shown
    run = client.run(run_id)
    assert (run.name, run.tags, run.note) == ("second", ("cli-a",), "why")
    assert call("runs", "change", run_id, *at, "--tag", "", "--note", "").returncode == 0
    run = client.run(run_id)
    assert (run.name, run.tags, run.note) == ("second", (), None)
    client.delete_run(run_id)


def test_several_runs_are_deleted(
    call: Caller, at: tuple[str, str], client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    runs = [client.simulate(embeddings, tags=["many"]).run_id for _ in range(4)]
    other = client.simulate(embeddings).run_id
    assert other is not None
    first, *selected = [run_id for run_id in runs if run_id is not None]
    done = call("runs", "delete", first, "nothing", *at)
    assert done.returncode == 1
    assert done.stdout.split() == ["deleted", first]
    assert "nothing" in done.stderr
    assert_refused(call("runs", "delete", *at), "ids")
    assert_refused(call("runs", "delete", other, "--tag", "many", *at), "ids")
    done = call("runs", "delete", "--tag", "many", "--state", "succeeded", *at, "--yes")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"deleted", *selected}
    assert call("runs", "delete", "--tag", "many", *at).stdout == "no runs\n"
    assert client.run(other).state == "succeeded"


def test_experiments_are_labelled_found_and_deleted(
    call: Caller, at: tuple[str, str], client: FlowClient, dataset: str, tmp_path: Path
) -> None:
    file = tmp_path / "one.toml"
    file.write_text(f'dataset = "{dataset}"\noptions.noise_std = 0.04\ntags = ["file"]\n')
    made = call(
        "experiment", "create", file, "--name", "labelled-1", "--tag", "batch", "--note", "x", *at
    )
    assert made.returncode == 0, made.stderr
    client.experiments.create("labelled-2", dataset, tags=["batch"], note="y")
    for name in ("labelled-1", "labelled-2"):
        client.experiments.wait(name)
    found = listed(call, "experiment", *at, "--tag", "batch", "--sort", "name")
    assert [one["name"] for one in found] == ["labelled-1", "labelled-2"]
    chosen = ("--tag", "batch", "--set", "noise_std=0.04")
    assert [one["note"] for one in listed(call, "experiment", *at, *chosen)] == ["x"]
    assert "batch" in call("experiment", "list", *at, "--tag", "batch").stdout
    changed = call("experiment", "change", "labelled-2", *at, "--note", "changed")
    assert "changed" in changed.stdout
    experiment = client.experiments.change("labelled-2", tags=["batch", "more"])
    assert (experiment.tags, experiment.note) == (("batch", "more"), "changed")
    done = call("experiment", "delete", "--tag", "batch", *at)
    assert done.returncode == 0, done.stderr
    assert listed(call, "experiment", *at, "--tag", "batch") == []


def test_labels_are_for_runs_of_a_server(call: Caller, embeddings_file: Path) -> None:
    for option in ("--name", "--tag", "--note"):
        assert_refused(call("simulate", embeddings_file, option, "x"), option, "--url")
    assert_refused(call("runs", "list", "--sort", "size"), "--sort")
