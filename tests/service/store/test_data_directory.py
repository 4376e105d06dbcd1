"""A data directory and its index: neither is used with another one, and no file is lost."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import httpx
import pytest
from sqlalchemy import URL

from service.settings import Settings
from service.store.database import Database
from service.store.recovery.identity import begin, make_id, set_index_id, settle
from tests.support.bodies import NPY, npy
from tests.support.command_line import Caller, assert_refused
from tests.support.data_directories import content, fill, make_earlier, refusal, store_some
from tests.support.disks import mounted
from tests.support.live_server import live_server
from tests.support.privileges import call_without_privileges
from tests.support.servers import rows, serving

pytestmark = pytest.mark.sqlite

COMMANDS = ("energy-flow data rebuild-index", "energy-flow data adopt")


def check_refused(data_dir: Path, *words: str, database_url: str | None = None) -> None:
    """Check that a start is refused and changes no file."""
    before = content(data_dir)
    why = refusal(data_dir, database_url=database_url)
    for word in (*COMMANDS, *words):
        assert word in why
    assert content(data_dir) == before


def index_of(data_dir: Path) -> Path:
    return data_dir / "index.sqlite3"


def check_complete(data_dir: Path, made: dict[str, str]) -> None:
    """Check that a server has everything that :func:`fill` has stored."""
    with serving(data_dir) as server:
        runs = {run["run_id"] for run in server.client.get("/v1/runs").json()["items"]}
        assert runs == {made["simulate"], made["run"]}
        digest = server.client.get("/v1/datasets/words").json()["digest"]
        assert digest == made["dataset"]
        assert server.client.get("/v1/models/small").status_code == 200
    assert not (data_dir / "quarantine").exists()


def test_a_lost_index_is_refused_and_nothing_is_removed(tmp_path: Path) -> None:
    made = fill(tmp_path)
    index_of(tmp_path).rename(tmp_path / "index")
    check_refused(tmp_path, "lost", str(index_of(tmp_path)))
    # No empty one was made in its place.
    assert not index_of(tmp_path).exists()
    (tmp_path / "index").rename(index_of(tmp_path))
    check_complete(tmp_path, made)


def test_an_emptied_index_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    index_of(tmp_path).unlink()
    Database(f"sqlite:///{index_of(tmp_path)}").close()
    check_refused(tmp_path, "lost")


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    index_of(tmp_path).write_bytes(b"no database" * 1000)
    before = content(tmp_path)
    assert "energy-flow data rebuild-index" in refusal(tmp_path)
    assert content(tmp_path) == before


def test_the_index_of_another_directory_is_refused(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    made = fill(here)
    fill(other, seed=1)
    own = index_of(here).read_bytes()
    shutil.copy(index_of(other), index_of(here))
    check_refused(here, "do not belong together")
    index_of(here).write_bytes(own)
    check_complete(here, made)


@pytest.mark.parametrize("with_content", [True, False])
def test_a_directory_without_an_id_cannot_use_the_index_of_another(
    tmp_path: Path, with_content: bool
) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    fill(other)
    if with_content:
        fill(here, seed=1)
        make_earlier(here)
    else:
        here.mkdir()
    shutil.copy(index_of(other), index_of(here))
    check_refused(here, "belongs to another one")


def test_a_directory_of_an_earlier_version_gets_an_id_and_descriptions(tmp_path: Path) -> None:
    made = fill(tmp_path)
    before = content(tmp_path)
    make_earlier(tmp_path)
    check_complete(tmp_path, made)
    assert (tmp_path / "identity.json").exists()
    after = content(tmp_path)
    assert after.keys() == before.keys()
    assert (tmp_path / "dataset_names" / "words.json").exists()
    index_of(tmp_path).unlink()
    check_refused(tmp_path, "lost")


def test_two_directories_of_an_earlier_version_cannot_swap_their_indexes(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    for folder, seed in ((here, 0), (other, 1)):
        fill(folder, seed=seed)
        make_earlier(folder)
    (other / "models" / "small.safetensors").rename(other / "models" / "other.safetensors")
    with_index = index_of(here).read_bytes()
    shutil.rmtree(here / "runs")
    shutil.rmtree(here / "datasets")
    shutil.rmtree(here / "models")
    check_refused(here, "nothing in the data directory")
    (other / "index.sqlite3").write_bytes(with_index)
    check_refused(other, "nothing in the data directory")


DAMAGED_IDS = {
    "empty": b"",
    "no JSON": b"{",
    "no object": b'["id"]',
    "no id": b'{"id": null}',
}


@pytest.mark.parametrize("data", DAMAGED_IDS.values(), ids=DAMAGED_IDS)
def test_a_damaged_id_is_named_and_adopted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    made = fill(tmp_path)
    (tmp_path / "identity.json").write_bytes(data)
    why = refusal(tmp_path)
    for word in (str(tmp_path / "identity.json"), "damaged", "energy-flow data adopt"):
        assert word in why
    # The index is not lost, so it is not replaced.
    call = Caller(capsys)
    assert_refused(call("data", "rebuild-index", "--data-dir", tmp_path), "not lost")
    assert call("data", "adopt", "--data-dir", tmp_path).returncode == 0
    check_complete(tmp_path, made)


def test_a_folder_in_the_place_of_the_id_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fill(tmp_path)
    path = tmp_path / "identity.json"
    path.unlink()
    path.mkdir()
    words = (f"{path} is a folder", "move it away", "energy-flow data adopt")
    why = refusal(tmp_path)
    for word in words:
        assert word in why
    call = Caller(capsys)
    for command in ("adopt", "rebuild-index"):
        assert_refused(call("data", command, "--data-dir", tmp_path), *words)
    path.rmdir()
    assert call("data", "adopt", "--data-dir", tmp_path).returncode == 0
    check_complete(tmp_path, made)


@pytest.mark.slow
def test_a_copied_directory_cannot_go_on_with_the_same_index(tmp_path: Path) -> None:
    here, copied = tmp_path / "here", tmp_path / "copied"
    url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    fill(here, database_url=url)
    shutil.copytree(here, copied)
    with serving(here, database_url=url) as server:
        assert len(server.client.get("/v1/runs").json()["items"]) == 2
    check_refused(copied, "a copy from another time", database_url=url)
    # With an index of its own, a copy is a directory like any other.
    shutil.copytree(here, tmp_path / "third")
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    shutil.copy(tmp_path / "shared.sqlite3", tmp_path / "other.sqlite3")
    for folder, its in ((here, url), (tmp_path / "third", other), (here, url)):
        with serving(folder, database_url=its) as server:
            assert len(server.client.get("/v1/runs").json()["items"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_crash_between_any_two_steps_is_recovered(
    tmp_path: Path, steps: int, is_first: bool
) -> None:
    made = fill(tmp_path)
    if is_first:
        make_earlier(tmp_path)
    database = Database(f"sqlite:///{index_of(tmp_path)}")
    with database.connection() as connection:
        before = connection.exec_driver_sql("SELECT id FROM identity").scalar()
    assert (before is None) == is_first
    new = make_id()
    if steps > 0:
        begin(tmp_path, new, before)
    if steps > 1:
        set_index_id(database, new)
    if steps > 2:
        settle(tmp_path, new)
    database.close()
    check_complete(tmp_path, made)
    check_complete(tmp_path, made)


def test_files_of_others_do_not_make_a_directory_a_used_one(tmp_path: Path) -> None:
    foreign = [
        tmp_path / "lost+found" / "x",
        tmp_path / "server.log",
        tmp_path / "runs" / "lost+found" / "x",
        tmp_path / "models" / "notes.txt",
        tmp_path / "models" / ".part",
        tmp_path / "datasets" / "sub" / "x.safetensors",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not ours")
    with serving(tmp_path) as server:
        store_some(server.client)
    with serving(tmp_path):
        pass
    assert all(path.read_bytes() == b"not ours" for path in foreign)
    assert not (tmp_path / "quarantine").exists()


def test_complete_files_that_the_index_does_not_know_go_to_quarantine(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    made = fill(here)
    lost = fill(other, seed=1)
    dataset = f"datasets/{lost['dataset']}.safetensors"
    run = f"runs/{lost['run']}"
    shutil.copy(other / dataset, here / dataset)
    shutil.copytree(other / run, here / run)
    shutil.copy(other / "models" / "small.safetensors", here / "models" / "other.safetensors")
    temporary = [
        here / f".{'a' * 32}.part",
        here / "datasets" / f".{'a' * 32}.part",
        here / "models" / f".{'a' * 32}.part",
        here / "models" / ".small.safetensors.a1b2c3d4",
        here / "runs" / f".{'a' * 32}.part",
        here / "runs" / f".{'a' * 32}-new.part",
    ]
    for path in temporary[:-2]:
        path.write_bytes(b"half of it")
    for path in temporary[-2:]:
        path.mkdir()
    before = content(other)
    with serving(here) as server:
        assert server.client.get(f"/v1/runs/{lost['run']}").status_code == 404
        assert server.client.get(f"/v1/runs/{made['run']}").status_code == 200
    (folder,) = (here / "quarantine").iterdir()
    moved = content(folder)
    assert moved.pop("models/other.safetensors") == before["models/small.safetensors"]
    assert moved == {
        name: data for name, data in before.items() if name == dataset or name.startswith(run)
    }
    assert not any(path.exists() for path in temporary)


def test_what_cannot_be_removed_or_moved_stays_and_a_start_states_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path):
        pass
    leftover = tmp_path / "runs" / f".{'a' * 32}.part"
    (leftover / "trace").mkdir(parents=True)
    (leftover / "trace" / "kept").touch()
    # As earlier versions have left them.
    (tmp_path / "quarantine" / "20260101T000000Z" / "runs").mkdir(parents=True)
    # A run that the index does not know, on a disk of its own, which cannot be renamed.
    unknown = tmp_path / "runs" / ("b" * 32)
    with mounted(unknown, "64k"):
        (leftover / "trace").chmod(0o500)

        def start_twice() -> None:
            for _ in range(2):
                caplog.clear()
                with serving(tmp_path):
                    pass
                for path, words in ((leftover, "remove it by hand"), (unknown, "stays there")):
                    (line,) = [one for one in caplog.messages if str(path) in one]
                    assert words in line
                assert (leftover / "trace" / "kept").exists()
                assert not (tmp_path / "quarantine").exists()

        call_without_privileges(start_twice)
        (leftover / "trace").chmod(0o700)
    with serving(tmp_path):
        assert not leftover.exists()
    (moved,) = (tmp_path / "quarantine").glob("*/runs/*")
    assert moved.name == unknown.name


@pytest.mark.parametrize("name", ["what?", "50%", "%41", "a#b", "a b;c"])
def test_any_path_can_be_that_of_a_data_directory(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "data"
    with serving(folder) as server:
        assert server.client.get("/v1/runs").status_code == 200
    assert index_of(folder).exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    expected = URL.create("sqlite", database=str(index_of(folder)))
    assert Settings(data_dir=folder).index_url == expected


@pytest.mark.slow
def test_new_files_are_private_and_existing_ones_keep_their_modes(tmp_path: Path) -> None:
    (tmp_path / "data" / "models").mkdir(parents=True, mode=0o755)
    before = os.umask(0o022)
    try:
        with live_server(tmp_path) as server:
            with httpx.Client(base_url=server.url, timeout=300) as client:
                store_some(client)
                # A checkpoint is written by a library, an upload by the server.
                file = client.get("/v1/models/small?format=safetensors").content
                assert client.put("/v1/models/copy", content=file).status_code == 201
                assert client.get("/v1/models/default?format=safetensors").status_code == 200
            assert server.stop() == 0
    finally:
        os.umask(before)
    modes = {
        path: stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "data", *(tmp_path / "data").rglob("*"))
    }
    assert modes.pop(tmp_path / "data") == 0o755
    assert modes.pop(tmp_path / "data" / "models") == 0o755
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert len(modes) > 20


def test_a_dataset_with_the_same_content_as_one_in_quarantine_can_be_stored(tmp_path: Path) -> None:
    made = fill(tmp_path)
    array = rows(7, 5)
    with serving(tmp_path) as server:
        put = server.client.put("/v1/datasets/again", content=npy(array), headers=NPY)
        digest = put.json()["digest"]
        path = tmp_path / "datasets" / f"{digest}.safetensors"
        data = path.read_bytes()
        assert server.client.delete("/v1/datasets/again").status_code == 204
    path.write_bytes(data)
    with serving(tmp_path) as server:
        assert not path.exists()
        put = server.client.put("/v1/datasets/again", content=npy(array), headers=NPY)
        assert put.status_code == 201
        assert path.read_bytes() == data
        assert server.client.get(f"/v1/runs/{made['run']}").status_code == 200
