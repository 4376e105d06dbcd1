"""``energy-flow experiment`` as a person or a script runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pandas as pd
import pytest

from energy_flow.client import FlowClient
from tests.support.command_line import Caller, assert_refused
from tests.support.live_server import LiveServer

_numbers = count()

SWEEP = """
dataset = "words"
seeds = [1, 2]
max_parallel = 2

[sweep.grid]
noise_std = [0.0, 0.2]
spawn.threshold = [0.2, 0.4]
"""
LONG = f"""
dataset = "words"
sweep.grid.noise_std = {[place / 1000 for place in range(400)]}
"""


@pytest.fixture
def at(server: LiveServer, dataset: str) -> tuple[str, ...]:
    """Where the server is that has the dataset of the files."""
    return ("--url", server.url)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.toml"
    path.write_text(f'name = "sweep-{next(_numbers)}"\n{SWEEP}')
    return path


@pytest.fixture(scope="module")
def finished(
    server: LiveServer, dataset: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Name of an experiment that has been carried out."""
    with FlowClient(server.url) as client:
        client.experiments.create(
            "finished",
            dataset,
            seeds=[1, 2, 3],
            sweep={"grid": {"noise_std": [0.0, 0.2], "spawn.threshold": [0.2, 0.4]}},
        )
        client.experiments.wait("finished")
        yield "finished"


COMMANDS = ("watch", "pause", "resume", "cancel", "delete", "results", "compare", "show")


@pytest.mark.parametrize("command", ["create", "list", *COMMANDS])
def test_help(call: Caller, command: str) -> None:
    done = call("experiment", command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert done.stderr == ""


def test_a_file_becomes_an_experiment_that_is_followed_to_its_end(
    call: Caller, client: FlowClient, at: tuple[str, ...], sweep: Path
) -> None:
    done = call("experiment", "create", sweep, "--watch", *at)
    assert done.returncode == 0, done.stderr
    name = sweep.read_text().split('"')[1]
    now = client.experiments.get(name)
    assert (now.state, now.trials.succeeded) == ("succeeded", 8)
    for words in (name, "succeeded", "8 succeeded of 8", "48 of 48 samples", now.experiment_id):
        assert words in done.stdout
    # What is not the result is not on stdout.
    assert f"{name} succeeded: 100%" in done.stderr.splitlines()[-1]


def test_the_dataset_is_sent_unless_it_is_there(
    call: Caller, client: FlowClient, at: tuple[str, ...], embeddings_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "sent.toml"
    path.write_text('name = "sent"\ndataset = "sent-along"\nrows = [1, 3]')
    create: tuple[str | Path, ...] = (
        "experiment", "create", path, "--upload", embeddings_file, *at,
    )  # fmt: skip
    done = call(*create)
    assert done.returncode == 0, done.stderr
    assert client.datasets.get("sent-along").rows == 6
    again = call(*create, "--name", "sent-again")
    assert again.returncode == 0, again.stderr
    assert "was not sent" in again.stderr
    for name in ("sent", "sent-again"):
        assert client.experiments.wait(name).progress.samples == 2
    path.write_text('name = "sent"')
    assert_refused(call(*create), "dataset")
    path.write_text('name = "sent"\ndataset = "never"')
    missing = tmp_path / "none.npy"
    assert_refused(call("experiment", "create", path, "--upload", missing, *at), "none.npy")


def test_for_scripts_there_is_one_line_of_json(
    call: Caller, client: FlowClient, at: tuple[str, ...], sweep: Path
) -> None:
    made = json.loads(call("experiment", "create", sweep, "--name", "other", "--json", *at).stdout)
    assert made["name"] == "other"
    watched = json.loads(call("experiment", "watch", "other", "--json", *at).stdout)
    assert watched == client.experiments.get("other").data
    assert watched["experiment_id"] == made["experiment_id"]
    shown = json.loads(call("experiment", "show", made["experiment_id"], "--json", *at).stdout)
    assert shown == watched
    listed = json.loads(call("experiment", "list", "--limit", "1", "--json", *at).stdout)
    assert listed == [watched]
    trial = json.loads(call("experiment", "show", "other", "--trial", "3", "--json", *at).stdout)
    assert trial == client.experiments.trial("other", 3).data


def test_runs_are_listed_with_their_experiments(
    call: Caller, finished: str, at: tuple[str, ...]
) -> None:
    listed = call("runs", "list", "--experiment", finished, "--limit", "100", *at)
    assert listed.returncode == 0, listed.stderr
    head, *lines = listed.stdout.splitlines()
    assert head.split()[-1] == "experiment"
    assert {line.rpartition(f"{finished}, ")[2].strip() for line in lines} == {
        f"trial {number}" for number in range(12)
    }
    chosen = ("runs", "list", "--state", "succeeded", "--kind", "trial", "--json", *at)
    runs = json.loads(call(*chosen, "--experiment", finished, "--limit", "100").stdout)
    assert {run["experiment"]["trial"] for run in runs} == set(range(12))
    refused = call("runs", "list", "--experiment", f"{finished}x", *at)
    assert_refused(refused, f"did you mean '{finished}'?")


def test_pause_resume_cancel_delete(
    call: Caller, client: FlowClient, at: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "long.toml"
    path.write_text(f'name = "long"\n{LONG}')
    created = call("experiment", "create", path, *at)
    assert created.returncode == 0, created.stderr
    assert "energy-flow experiment watch long --url" in created.stderr
    paused = call("experiment", "pause", "long", *at)
    assert (paused.returncode, "paused" in paused.stdout) == (0, True)
    assert_refused(call("experiment", "pause", "long", *at), "409", "paused")
    assert_refused(call("experiment", "delete", "long", *at), "409")
    assert "long" in call("experiment", "list", "--state", "paused", *at).stdout
    resumed = json.loads(call("experiment", "resume", "long", "--json", *at).stdout)
    assert resumed["state"] in ("queued", "running")
    assert call("experiment", "cancel", "long", *at).returncode == 0
    watched = call("experiment", "watch", "long", *at)
    assert watched.returncode == 1
    last = watched.stderr.splitlines()[-1]
    assert last.startswith("error: experiment long cancelled: trials: ")
    assert "cancelled" in watched.stdout
    assert call("experiment", "delete", "long", *at).stdout == "deleted long\n"
    assert_refused(call("experiment", "show", "long", *at), "404")


def test_results(
    call: Caller, client: FlowClient, at: tuple[str, ...], finished: str, tmp_path: Path
) -> None:
    table = client.experiments.results(finished)
    shown = call("experiment", "results", finished, *at)
    assert shown.returncode == 0, shown.stderr
    heading, *rows = shown.stdout.splitlines()
    assert heading.split()[:6] == [
        "trial", "state", "seed", "noise_std", "spawn.threshold", "created",
    ]  # fmt: skip
    assert len(rows) == 12
    assert rows[4].split()[:5] == ["4", "succeeded", "2", "0", "0.4"]
    assert "--format csv" in shown.stderr

    chosen = call("experiment", "results", finished, "--metric", "planes.z0", *at)
    assert [line.split()[5] for line in chosen.stdout.splitlines()] == [
        "planes.z0",
        *(f"{count:,}" for count in table["planes.z0"]),
    ]
    document = json.loads(call("experiment", "results", finished, "--json", *at).stdout)
    assert document["rows"] == list(table.rows)
    assert document["columns"] == list(table.columns)

    for suffix in ("csv", "parquet", "json"):
        path = tmp_path / f"results.{suffix}"
        done = call("experiment", "results", finished, "-o", path, *at)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert pd.read_csv(tmp_path / "results.csv")["created"].tolist() == table["created"]
    assert pd.read_parquet(tmp_path / "results.parquet")["created"].tolist() == table["created"]
    assert json.loads((tmp_path / "results.json").read_bytes())["rows"] == list(table.rows)
    printed = call("experiment", "results", finished, "--format", "csv", *at)
    assert printed.stdout == (tmp_path / "results.csv").read_text()


def test_points_have_means_and_deviations(
    call: Caller, client: FlowClient, at: tuple[str, ...], finished: str
) -> None:
    table = client.experiments.results(finished, of="points")
    shown = call("experiment", "results", finished, "--of", "points", "--metric", "created", *at)
    heading, *rows = shown.stdout.splitlines()
    assert heading.split() == ["noise_std", "spawn.threshold", "seeds", "created"]
    assert len(rows) == 4
    mean, std = table["created.mean"][3], table["created.std"][3]
    assert rows[3].split(maxsplit=3)[3].strip() == f"{mean:.4g} ± {std:.4g}"


def test_compare_names_the_best_point(
    call: Caller, client: FlowClient, at: tuple[str, ...], finished: str
) -> None:
    table = client.experiments.results(finished, of="points")
    best = table["created.mean"].index(min(table["created.mean"]))
    done = call("experiment", "compare", finished, "--metric", "created:min", *at)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()[1:5]
    assert [row.rstrip().endswith("*") for row in rows] == [place == best for place in range(4)]
    assert "created: best (lowest)" in done.stdout
    document = json.loads(call("experiment", "compare", finished, "--json", *at).stdout)
    assert [point["metrics"]["created"]["mean"] for point in document["points"]] == table[
        "created.mean"
    ]
    assert document["extremes"]["created"]["lowest"] == best
    assert document["extremes"]["created"]["best"] is None


def test_two_experiments_side_by_side(
    call: Caller, client: FlowClient, at: tuple[str, ...], finished: str, dataset: str
) -> None:
    sweep = {"grid": {"noise_std": [0.2, 0.4], "spawn.threshold": [0.4]}}
    client.experiments.create("beside", dataset, seeds=[1, 2, 3], rows=[0, 3], sweep=sweep)
    client.experiments.wait("beside")
    one = client.experiments.results(finished, of="points")["created.mean"]
    other = client.experiments.results("beside", of="points")["created.mean"]
    compare = ("experiment", "compare", finished, "beside", "--metric", "created")
    document = json.loads(call(*compare, "--json", *at).stdout)
    assert [point["difference"]["created"] for point in document["points"]] == [
        None,
        None,
        None,
        pytest.approx(other[0] - one[3]),
        None,
    ]
    assert document["settings"] == ["rows: [0, 6] and [0, 3]"]
    done = call(*compare, *at)
    assert done.stdout.splitlines()[0].split() == [
        "metric", "noise_std", "spawn.threshold", "finished", "beside", "difference",
    ]  # fmt: skip
    assert "the experiments differ in rows" in done.stdout


def test_bad_requests_are_refused_in_one_line(
    call: Caller, at: tuple[str, ...], finished: str, tmp_path: Path
) -> None:
    def file(text: str) -> Path:
        path = tmp_path / "bad.toml"
        path.write_text(text)
        return path

    create = ("experiment", "create")
    assert_refused(call(*create, tmp_path / "none.toml", *at), "none.toml")
    assert_refused(call(*create, file("name =\n"), *at), "bad.toml", "not TOML", "line 1")
    assert_refused(call(*create, file("seeds = [1_000_000_000_000_000_000_000]"), *at), "64-bit")
    assert_refused(call(*create, file('dataset = "words"'), *at), "422", "name")
    assert_refused(
        call(*create, file('name = "x"\ndataset = "words"\nsweep.grid.noise_std = [nan]'), *at),
        "bad.toml: sweep.grid.noise_std[0] is nan",
    )
    assert_refused(call(*create, file(f'name = "{finished}"\n{SWEEP}'), *at), "409", finished)
    assert_refused(
        call(*create, file('name = "x"\ndataset = "words"\nseeds = []\nnonsense = 1'), *at),
        "422", "seeds", "nonsense",
    )  # fmt: skip
    assert_refused(
        call(*create, file('name = "x"\ndataset = "words"\nsweep.grid.noise_std = [-1]'), *at),
        "sweep.grid.noise_std",
    )
    assert_refused(call(*create, file('name = "x"\ndataset = "none"'), *at), "none")
    assert_refused(
        call(*create, file('name = "x"\ndataset = "wrods"'), *at), "did you mean 'words'?"
    )
    for command in COMMANDS:
        assert_refused(call("experiment", command, "nowhere", *at), "404", "nowhere")
    for command in COMMANDS:
        close = call("experiment", command, "finishd", *at)
        assert_refused(close, "404", f"did you mean '{finished}'?")
    assert_refused(call("experiment", "compare", finished, "finishd", *at), f"'{finished}'?")
    assert_refused(call("experiment", "show", finished, "--trial", "99", *at), "404")
    assert_refused(call("experiment", "list", "--state", "pausd", *at), "--state", "'paused'?")
    assert_refused(call("experiment", "list", "--kind", "training", *at), "--kind", "'train'?")
    results = ("experiment", "results", finished)
    assert_refused(call(*results, "--of", "seeds", *at), "trials, points")
    assert_refused(call(*results, "--metric", "nonsense", *at), "nonsense", "created")
    assert_refused(call(*results, "--format", "xml", *at), "parquet")
    assert_refused(call(*results, "--format", "parquet", *at), "--out FILE")
    assert_refused(call(*results, "-o", tmp_path / "results", *at), "--format")
    assert_refused(call(*results, "-o", finished + "/x.csv", *at, "--of", "nonsense"), "--of")
    (tmp_path / "file").touch()
    assert_refused(call(*results, "-o", tmp_path / "file" / "x.csv", *at), "cannot be written")
    compare = ("experiment", "compare", finished)
    assert_refused(call(*compare, "--metric", "created:best", *at), "NAME:max")
    assert_refused(call(*compare, "nowhere", *at), "404")
    absent_server = "http://127.0.0.1:9"
    for command in ("show", "watch", "results"):
        assert_refused(call("experiment", command, "x", "--url", absent_server), absent_server)


def test_failures_are_shown_with_their_reasons(
    call: Caller, client: FlowClient, at: tuple[str, ...], spoilt: str, tmp_path: Path
) -> None:
    path = tmp_path / "spoilt.toml"
    path.write_text(f'name = "spoilt"\ndataset = "{spoilt}"\nsweep.grid.noise_std = [0.1, 0.2]')
    done = call("experiment", "create", path, "--watch", *at)
    assert done.returncode == 1
    failures = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failures) == 2
    for number, line in enumerate(sorted(failures)):
        for words in (f"trial {number}", f"noise_std=0.{number + 1}", "seed 0", "not finite"):
            assert words in line
    assert done.stderr.splitlines()[-1].startswith("error: experiment spoilt failed: ")
    shown = call("experiment", "show", "spoilt", *at)
    assert shown.stdout.count("not finite") >= 2
    one = call("experiment", "show", "spoilt", "--trial", "1", *at)
    assert "not finite" in one.stdout
    _, *rows = call("experiment", "results", "spoilt", *at).stdout.splitlines()
    assert [row.split()[:3] for row in rows[:2]] == [["0", "failed", "0"], ["1", "failed", "0"]]
    assert [row.startswith(f"trial {n} failed: ") for n, row in enumerate(rows[2:])] == [True] * 2
    assert all("not finite" in row for row in rows[2:])
    assert_refused(call("experiment", "compare", "spoilt", *at), "no trial of spoilt")
