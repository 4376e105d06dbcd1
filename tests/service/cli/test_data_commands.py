"""``energy-flow data``: a data directory is repaired offline, and nothing is deleted."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from service.store.database import Database
from service.store.recovery.identity import begin, make_id
from tests.support.bodies import NPY, npy
from tests.support.command_line import Caller, assert_refused
from tests.support.data_directories import content, fill, make_earlier, refusal
from tests.support.disks import fill as fill_disk
from tests.support.disks import mounted
from tests.support.experiments import start_experiment
from tests.support.experiments import wait_until_ended as wait_for_experiment
from tests.support.servers import cancel, queue, rows, serving, wait_until_ended

LONG = {"max_steps": 10**6, "projection_age": 10**6, "convergence.enabled": False}


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def everything(client: httpx.Client, run_id: str) -> list[Any]:
    """Return what can be read of a run, without its place in the list."""
    url = f"/v1/runs/{run_id}"
    paths = ("", "/memory", "/profile", "/samples", "/outputs/surface", "/trace?format=ndjson")
    return [client.get(url + path).text for path in paths]


def read_all(data_dir: Path, made: dict[str, str]) -> dict[str, Any]:
    """Return what a server has that :func:`fill` has stored, as text."""
    with serving(data_dir) as server:
        client = server.client
        model = client.get("/v1/models/small").json()
        # The time of its file.
        model.pop("created_at")
        dataset = client.get("/v1/datasets/words").json()
        dataset["created_at"] = dataset["created_at"][:19]
        replay = client.post(f"/v1/runs/{made['simulate']}/replay", json={"sample": 1}).json()
        assert replay["agrees"] is True
        return {
            "model": {**model, "loaded": None},
            "dataset": dataset,
            "runs": [everything(client, made[name]) for name in ("simulate", "run")],
            "listed": [run["run_id"] for run in client.get("/v1/runs").json()["items"]],
        }


def test_an_index_is_rebuilt_from_the_files(tmp_path: Path, call: Caller) -> None:
    made = fill(tmp_path)
    before = read_all(tmp_path, made)
    files = content(tmp_path)
    index = tmp_path / "index.sqlite3"
    index.unlink()
    assert "lost" in refusal(tmp_path)
    dry = call("data", "rebuild-index", "--data-dir", tmp_path, "--dry-run")
    assert dry.returncode == 0
    assert "dry run" in dry.stderr
    assert not index.exists()
    done = call("data", "rebuild-index", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == dry.stdout
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == ["1", "1", "2"]
    assert content(tmp_path) == files
    assert read_all(tmp_path, made) == before
    assert not (tmp_path / "quarantine").exists()
    verified = call("data", "verify", "--data-dir", tmp_path)
    assert verified.returncode == 0, verified.stdout
    assert "2 runs of an earlier version or a rebuilt index have no digests" in verified.stdout


def test_a_directory_of_an_earlier_version_is_rebuilt_as_far_as_its_files_allow(
    tmp_path: Path, call: Caller
) -> None:
    made = fill(tmp_path)
    make_earlier(tmp_path)
    (tmp_path / "index.sqlite3").unlink()
    done = call("data", "rebuild-index", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    for run_id in (made["simulate"], made["run"]):
        assert f"{run_id}: it has no run.json" in done.stderr
    with serving(tmp_path) as server:
        (dataset,) = server.client.get("/v1/datasets").json()["items"]
        assert dataset["digest"] == made["dataset"]
        assert dataset["name"] == f"dataset-{made['dataset'][:12]}"
        assert server.client.get("/v1/models/small").status_code == 200
        assert server.client.get("/v1/runs").json()["items"] == []
    moved = {path.name for path in tmp_path.glob("quarantine/*/runs/*")}
    assert moved == {made["simulate"], made["run"]}


def test_names_that_the_server_refuses_are_replaced(tmp_path: Path, call: Caller) -> None:
    made = fill(tmp_path)
    (tmp_path / "index.sqlite3").unlink()
    models, names = tmp_path / "models", tmp_path / "dataset_names"
    for name in ("Small", "con", "aux.v1", "ends."):
        shutil.copy(models / "small.safetensors", models / f"{name}.safetensors")
        os.utime(models / f"{name}.safetensors", (1.0, 1.0))
    for number, name in enumerate(("sp ace", "ü", "Words", "words-2", "nul")):
        content = {"digest": made["dataset"], "created_at": 2e9 + number}
        (names / f"{name}.json").write_bytes(orjson.dumps(content))
    dry = call("data", "rebuild-index", "--data-dir", tmp_path, "--dry-run")
    assert (models / "con.safetensors").exists()
    done = call("data", "rebuild-index", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    renamed = [line for line in done.stderr.splitlines() if "renamed: " in line]
    assert renamed == [line for line in dry.stderr.splitlines() if "renamed: " in line]
    assert {line.split("renamed: ")[1].split(" now")[0] for line in renamed} == {
        "dataset 'sp ace' is 'sp-ace'",
        "dataset 'ü' is 'unnamed'",
        "dataset 'Words' is 'Words-3'",
        "dataset 'nul' is 'nul-2'",
        "model 'small' is 'small-2'",
        "model 'con' is 'con-2'",
        "model 'aux.v1' is 'aux-v1'",
        "model 'ends.' is 'ends'",
    }
    with serving(tmp_path) as server:
        client = server.client
        found = {one["name"] for one in client.get("/v1/models").json()["items"]}
        assert {"Small", "small-2", "con-2", "aux-v1", "ends"} <= found
        found = {one["name"] for one in client.get("/v1/datasets").json()["items"]}
        assert found == {"words", "words-2", "Words-3", "sp-ace", "unnamed", "nul-2"}
        # Runs have the new name of their model.
        run = client.get(f"/v1/runs/{made['simulate']}").json()
        assert run["model"]["name"] == "small-2"
        replay = client.post(f"/v1/runs/{made['simulate']}/replay", json={"sample": 0})
        assert replay.json()["agrees"] is True
    assert {path.stem for path in names.iterdir()} == found
    (tmp_path / "index.sqlite3").unlink()
    again = call("data", "rebuild-index", "--data-dir", tmp_path)
    assert "renamed" not in again.stderr
    with serving(tmp_path) as server:
        assert (
            server.client.get(f"/v1/runs/{made['simulate']}").json()["model"]["name"] == "small-2"
        )
    assert not (tmp_path / "quarantine").exists()


def test_unfinished_work_is_rebuilt_as_after_a_crash(tmp_path: Path, call: Caller) -> None:
    with serving(tmp_path) as server:
        client = server.client
        client.put("/v1/datasets/some", content=npy(rows(8)), headers=NPY)
        start_experiment(
            client, name="swept", dataset="some", seeds=[1, 2], outputs=["surface"], chunk_samples=4
        )
        assert wait_for_experiment(client, "swept")["state"] == "succeeded"
        with server.engine_held():
            waiting = queue(client, 2, seed=9)
            server.stop_while_held()
    (tmp_path / "index.sqlite3").unlink()
    done = call("data", "rebuild-index", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 experiment;" in done.stderr
    with serving(tmp_path) as server:
        client = server.client
        assert wait_until_ended(client, waiting)["state"] == "succeeded"
        runs = client.get("/v1/runs?kind=trial").json()["items"]
        assert [run["state"] for run in runs] == ["succeeded"] * 2
        assert {run["experiment"] for run in runs} == {None}
        assert client.get(f"{runs[0]['url']}/outputs/surface").status_code == 200
        assert client.delete(runs[0]["url"]).status_code == 204


def test_an_index_that_is_not_lost_is_not_replaced(tmp_path: Path, call: Caller) -> None:
    fill(tmp_path)
    before = (tmp_path / "index.sqlite3").read_bytes()
    refused = call("data", "rebuild-index", "--data-dir", tmp_path)
    assert_refused(refused, "not lost", "move it away")
    make_earlier(tmp_path)
    assert_refused(call("data", "rebuild-index", "--data-dir", tmp_path), "not lost")
    assert len((tmp_path / "index.sqlite3").read_bytes()) == len(before)


@pytest.mark.parametrize("damage", ["foreign", "damaged"])
def test_a_wrong_index_gets_another_name(tmp_path: Path, call: Caller, damage: str) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    made = fill(here)
    before = read_all(here, made)
    index = here / "index.sqlite3"
    if damage == "foreign":
        fill(other, seed=1)
        shutil.copy(other / "index.sqlite3", index)
    else:
        index.write_bytes(b"no database" * 1000)
    wrong = index.read_bytes()
    done = call("data", "rebuild-index", "--data-dir", here)
    assert done.returncode == 0, done.stderr
    (aside,) = here.glob("index.sqlite3.*.old")
    assert str(aside) in done.stderr
    assert aside.read_bytes() == wrong
    assert read_all(here, made) == before


def test_an_interrupted_rebuild_can_be_repeated(tmp_path: Path, call: Caller) -> None:
    made = fill(tmp_path)
    before = read_all(tmp_path, made)
    (tmp_path / "index.sqlite3").unlink()
    # Killed after the new index was written, and before it got its name.
    begin(tmp_path, make_id(), None)
    unfinished = tmp_path / f".{'a' * 32}.part"
    Database(f"sqlite:///{unfinished}").close()
    assert "lost" in refusal(tmp_path)
    assert call("data", "rebuild-index", "--data-dir", tmp_path).returncode == 0
    assert read_all(tmp_path, made) == before
    assert not unfinished.exists()


def test_an_index_that_cannot_be_reached_is_not_replaced(tmp_path: Path, call: Caller) -> None:
    fill(tmp_path)
    command = ("data", "rebuild-index", "--data-dir", tmp_path, "--database-url")
    assert_refused(call(*command, "sqlite://"), "in memory")
    assert_refused(call(*command, f"sqlite:///{tmp_path}/no/index"), "does not exist")
    # A folder can be opened as little as a file without permission.
    (tmp_path / "folder").mkdir()
    assert_refused(call(*command, f"sqlite:///{tmp_path}/folder"), "cannot be used")
    assert (tmp_path / "folder").is_dir()


def test_a_larger_store_than_is_kept_is_reported(
    tmp_path: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    (tmp_path / "index.sqlite3").unlink()
    monkeypatch.setenv("ENERGY_FLOW_KEEP_RUNS_BYTES", "100")
    done = call("data", "rebuild-index", "--data-dir", tmp_path, "--dry-run")
    assert "--keep-runs-bytes" in done.stderr


def test_damaged_files_are_not_restored(tmp_path: Path, call: Caller) -> None:
    made = fill(tmp_path)
    (tmp_path / "index.sqlite3").unlink()
    dataset = tmp_path / "datasets" / f"{made['dataset']}.safetensors"
    dataset.write_bytes(dataset.read_bytes()[:-1] + b"\x07")
    model = tmp_path / "models" / "small.safetensors"
    model.write_bytes(model.read_bytes()[:-9])
    (tmp_path / "runs" / made["run"] / "run.json").write_bytes(b'{"format": 1}')
    done = call("data", "rebuild-index", "--data-dir", tmp_path)
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == ["0", "0", "1"]
    for path in (dataset, model, tmp_path / "runs" / made["run"]):
        assert f"not restored: {path}" in done.stderr
    with serving(tmp_path):
        pass
    moved = {path.name for path in tmp_path.glob("quarantine/*/*/*")}
    assert moved == {dataset.name, model.name, made["run"], "words.json"}


def test_a_restored_backup_of_the_index_is_adopted(tmp_path: Path, call: Caller) -> None:
    data_dir = tmp_path / "data"
    old = fill(data_dir)
    shutil.copy(data_dir / "index.sqlite3", tmp_path / "backup")
    with serving(data_dir) as server:
        new = queue(server.client, 2)
        wait_until_ended(server.client, new)
        removed = old["simulate"]
        assert server.client.delete(f"/v1/runs/{removed}").status_code == 204
    shutil.copy(tmp_path / "backup", data_dir / "index.sqlite3")
    assert "energy-flow data adopt" in refusal(data_dir)
    dry = call("data", "adopt", "--data-dir", data_dir, "--dry-run")
    assert dry.stdout.splitlines()[-1].split() == ["runs", "1", "1", "1"]
    assert "energy-flow data adopt" in refusal(data_dir)
    assert call("data", "adopt", "--data-dir", data_dir).returncode == 0
    with serving(data_dir) as server:
        assert server.client.get(f"/v1/runs/{old['run']}").status_code == 200
    (moved,) = data_dir.glob("quarantine/*/runs/*")
    assert moved.name == new


def test_there_is_nothing_to_adopt_without_an_index(tmp_path: Path, call: Caller) -> None:
    fill(tmp_path)
    (tmp_path / "index.sqlite3").unlink()
    refused = call("data", "adopt", "--data-dir", tmp_path)
    assert_refused(refused, "there is no index", "rebuild-index")
    assert not (tmp_path / "index.sqlite3").exists()


def test_what_is_in_quarantine_is_restored_with_its_names(tmp_path: Path, call: Caller) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir):
        pass
    shutil.copy(data_dir / "index.sqlite3", tmp_path / "empty")
    shutil.copy(data_dir / "identity.json", tmp_path / "identity")
    made = fill(data_dir)
    before = read_all(data_dir, made)
    # A backup of the index and the id from before.
    shutil.copy(tmp_path / "empty", data_dir / "index.sqlite3")
    shutil.copy(tmp_path / "identity", data_dir / "identity.json")
    with serving(data_dir) as server:
        assert server.client.get("/v1/runs").json()["items"] == []
    listed = orjson.loads(
        call("data", "quarantine", "list", "--data-dir", data_dir, "--json").stdout
    )
    assert [one["kind"] for one in listed] == ["datasets", "models", "runs", "runs"]
    assert listed[0]["names"] == ["words"]
    assert all(one["bytes"] > 0 for one in listed)
    for one in listed:
        done = call("data", "quarantine", "restore", one["id"], "--data-dir", data_dir)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("restored ")
    after = read_all(data_dir, made)
    assert sorted(after.pop("listed")) == sorted(before.pop("listed"))
    after["dataset"].pop("created_at")
    before["dataset"].pop("created_at")
    assert after == before
    assert list((data_dir / "quarantine").iterdir()) == []


def test_a_name_in_use_is_restored_under_another(tmp_path: Path, call: Caller) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    fill(here)
    lost = fill(other, seed=1)
    name = f"{lost['dataset']}.safetensors"
    shutil.copy(other / "datasets" / name, here / "datasets" / name)
    shutil.copytree(other / "runs" / lost["run"], here / "runs" / lost["run"])
    (here / "runs" / lost["run"] / "run.json").unlink()
    with serving(here):
        pass
    dataset, run = orjson.loads(
        call("data", "quarantine", "list", "--data-dir", here, "--json").stdout
    )
    restore = ("data", "quarantine", "restore", "--data-dir", here)
    assert_refused(call(*restore, dataset["id"], "--name", "words"), "--name")
    assert_refused(call(*restore, dataset["id"], "--name", "Words"), "case", "--name")
    assert_refused(call(*restore, dataset["id"], "--name", "a/b"), "--name")
    assert_refused(call(*restore, run["id"]), "run.json")
    assert_refused(call(*restore, "nothing/runs/1"), "quarantine list")
    assert call(*restore, dataset["id"], "--name", "others").returncode == 0
    with serving(here) as server:
        found = server.client.get("/v1/datasets/others").json()
        assert found["digest"] == lost["dataset"]


def quarantine_dataset(data_dir: Path) -> str:
    """Fill a directory, take its dataset from the index, and return its id in quarantine."""
    with serving(data_dir) as server:
        server.client.put("/v1/datasets/words", content=npy(rows(4)), headers=NPY)
    with closing(sqlite3.connect(data_dir / "index.sqlite3")) as index, index:
        index.execute("DELETE FROM datasets")
        index.execute("DELETE FROM dataset_contents")
    with serving(data_dir):
        pass
    (path,) = data_dir.glob("quarantine/*/datasets/*")
    return f"{path.parent.parent.name}/datasets/{path.stem}"


@pytest.mark.slow
def test_a_failed_restore_keeps_the_entry_and_its_names(small_disk: Path, call: Caller) -> None:
    data_dir = small_disk / "data"
    entry = quarantine_dataset(data_dir)
    (data_dir / "reserve").unlink(missing_ok=True)
    held = sorted(path for path in data_dir.glob("*/**/*") if path.is_file())
    refused = 0
    for pages in range(60):
        # The room ends at another step each time, the commit among them.
        fill_disk(small_disk / "rest", but_pages=pages)
        done = call("data", "quarantine", "restore", entry, "--data-dir", data_dir)
        (small_disk / "rest").unlink()
        if done.returncode == 0:
            break
        refused += 1
        assert_refused(done, f"the disk of {data_dir} is full", "free some room")
        assert sorted(path for path in data_dir.glob("*/**/*") if path.is_file()) == held
    assert done.returncode == 0
    assert done.stdout == "restored dataset 'words'\n"
    assert refused > 1
    with serving(data_dir) as server:
        assert server.client.get("/v1/datasets/words").status_code == 200
    assert list((data_dir / "quarantine").iterdir()) == []


def test_a_dataset_that_stays_out_of_quarantine_keeps_its_names(tmp_path: Path) -> None:
    # Nothing can be moved out of a folder that is a disk of its own.
    with mounted(tmp_path / "datasets", "3m"):
        with serving(tmp_path) as server:
            server.client.put("/v1/datasets/words", content=npy(rows(4)), headers=NPY)
        with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as index, index:
            index.execute("DELETE FROM datasets")
            index.execute("DELETE FROM dataset_contents")
        with serving(tmp_path):
            pass
        assert len(list((tmp_path / "datasets").iterdir())) == 1
        assert (tmp_path / "dataset_names" / "words.json").exists()


def test_the_quarantine_is_emptied(tmp_path: Path, call: Caller) -> None:
    made = fill(tmp_path)
    for number in range(2):
        folder = tmp_path / "runs" / f"{number:032x}"
        shutil.copytree(tmp_path / "runs" / made["run"], folder)
    with serving(tmp_path):
        pass
    listed = orjson.loads(
        call("data", "quarantine", "list", "--data-dir", tmp_path, "--json").stdout
    )
    empty = ("data", "quarantine", "empty", "--data-dir", tmp_path)
    assert "would delete 2 entries" in call(*empty, "--dry-run").stdout
    assert call(*empty, listed[0]["id"]).stdout.startswith("deleted 1 entry, ")
    assert len(list(tmp_path.glob("quarantine/*/runs/*"))) == 1
    assert call(*empty).stdout.startswith("deleted 1 ")
    assert list((tmp_path / "quarantine").iterdir()) == []
    assert (tmp_path / "runs" / made["run"] / "run.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("rebuild-index",),
        ("adopt",),
        ("quarantine", "list"),
        ("quarantine", "restore", "x"),
        ("quarantine", "empty"),
    ],
)
def test_commands_refuse_a_directory_in_use_and_one_that_is_none(
    tmp_path: Path, call: Caller, words: tuple[str, ...]
) -> None:
    with serving(tmp_path / "data"):
        refused = call("data", *words, "--data-dir", tmp_path / "data")
        assert_refused(refused, "another server uses", "stop that server first")
    assert_refused(call("data", *words, "--data-dir", tmp_path / "nothing"), "does not exist")
    (tmp_path / "photos").mkdir()
    refused = call("data", *words, "--data-dir", tmp_path / "photos")
    assert_refused(refused, "not the data directory")
    assert list((tmp_path / "photos").iterdir()) == []


def test_a_running_run_is_ended_by_the_next_start(tmp_path: Path, call: Caller) -> None:
    data_dir, copied = tmp_path / "data", tmp_path / "copied"
    with serving(data_dir) as server:
        run_id = queue(server.client, 3, options=LONG)
        shutil.copytree(data_dir, copied)
        cancel(server.client, run_id)
    # As after a kill, with the index lost.
    for path in copied.glob("index.sqlite3*"):
        path.unlink()
    (copied / "runs" / run_id / "chunks.jsonl").touch()
    assert call("data", "rebuild-index", "--data-dir", copied).returncode == 0
    with serving(copied) as server:
        run = server.client.get(f"/v1/runs/{run_id}").json()
        assert run["state"] == "failed"
        assert "interrupted by a restart" in run["error"]["detail"]
