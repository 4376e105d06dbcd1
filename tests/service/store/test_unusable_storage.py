"""Files and folders that the system does not let the server use: named as such, nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.bodies import NPY, npy
from tests.support.command_line import Caller, assert_refused, run
from tests.support.data_directories import content, fill, refusal, store_some
from tests.support.disks import read_only
from tests.support.experiments import put_dataset, start_experiment, wait_for_state
from tests.support.privileges import call_without_privileges
from tests.support.servers import CONFIG, RunningServer, queue, rows, serving, wait_until_ended
from tests.support.stored_rows import change_rows

pytestmark = [pytest.mark.slow, pytest.mark.sqlite]

BYTES = {"accept": "application/octet-stream"}

FALSE_ADVICE = ("rebuild", "delete", "upload", "damaged", "backup")
"""Words of advice against damage, which would lose what is still there."""


def assert_unusable(answer: httpx.Response, path: Path, why: str) -> None:
    """Assert that an answer names what the system refuses, and why."""
    assert answer.status_code == 503, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:energy-flow:problem:storage-unavailable"
    assert problem["file"] == str(path)
    assert_words(problem["detail"], str(path), why)


def assert_words(text: str, *words: str) -> None:
    for word in words:
        assert word in text, text
    for word in FALSE_ADVICE:
        assert word not in text, text


def write_requests(client: httpx.Client) -> dict[str, list[Callable[[], httpx.Response]]]:
    """Return requests that store something, by the folder that they need."""
    upload = client.get("/v1/models/small", headers=BYTES).content
    sent = {"embeddings": rows().tolist()}
    return {
        "datasets": [
            partial(client.put, "/v1/datasets/new", content=npy(rows(2)), headers=NPY),
        ],
        "models": [
            partial(client.post, "/v1/models", json={"name": "new", "config": CONFIG}),
            partial(client.put, "/v1/models/copy", content=upload),
            partial(client.get, "/v1/models/default", headers=BYTES),
        ],
        "runs": [
            partial(client.post, "/v1/runs", json=sent),
            partial(client.post, "/v1/simulate", json=sent),
        ],
    }


@pytest.mark.parametrize("name", ["datasets", "models", "runs"])
def test_a_read_only_folder_stays_as_it_is(tmp_path: Path, name: str) -> None:
    with serving(tmp_path) as server:
        client = server.client
        made = store_some(client)
        sweep = {"grid": {"noise_std": [0.01, 0.02]}}
        start_experiment(client, name="swept", dataset="words", sweep=sweep)
        wait_for_state(client, "swept", "succeeded")
        requests = write_requests(client)[name]
        paths = {
            "datasets": ["/v1/datasets/words"],
            "models": ["/v1/models/small"],
            "runs": [f"/v1/runs/{made['run']}", "/v1/experiments/swept"],
        }[name]
        if name == "datasets":
            assert client.delete("/v1/experiments/swept").status_code == 204
        before = content(tmp_path)
        with read_only(tmp_path / name):
            for path in paths:
                found = client.get(path)
                assert_unusable(client.delete(path), tmp_path / name, "Read-only file system")
                assert client.get(path).json() == found.json()
            for request in requests:
                assert_unusable(request(), tmp_path / name, "Read-only file system")
        assert content(tmp_path) == before
        for path in paths:
            assert client.delete(path).status_code == 204
            assert client.get(path).status_code == 404
        for request in requests:
            assert request().is_success
    with serving(tmp_path):
        assert not (tmp_path / "quarantine").exists()


def test_a_run_is_deleted_while_its_dataset_is_protected(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        put_dataset(client, "alone", 4)
        run_id = client.post("/v1/runs", json={"dataset": "alone"}).json()["run_id"]
        wait_until_ended(client, run_id)
        assert client.delete("/v1/datasets/alone").status_code == 204
        with read_only(tmp_path / "datasets"):
            assert client.delete(f"/v1/runs/{run_id}").status_code == 204
        assert len(list((tmp_path / "datasets").iterdir())) == 1
    with serving(tmp_path):
        assert list((tmp_path / "datasets").iterdir()) == []
        assert not (tmp_path / "quarantine").exists()


@pytest.mark.parametrize("name", ["datasets", "models", "runs", "dataset_names"])
def test_a_removed_folder_is_made_again(tmp_path: Path, name: str) -> None:
    with serving(tmp_path) as server:
        client = server.client
        store_some(client)
        requests = write_requests(client)["datasets" if name == "dataset_names" else name]
        for request in requests:
            shutil.rmtree(tmp_path / name)
            answer = request()
            assert answer.is_success, answer.text
            assert (tmp_path / name).is_dir()
        server.wait_until_idle()


def test_a_data_directory_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir) as server:
        store_some(server.client)
        requests = write_requests(server.client)
        # As after its disk was unmounted.
        data_dir.rename(tmp_path / "moved")
        data_dir.mkdir()
        for name in ("datasets", "models", "runs"):
            assert_unusable(requests[name][0](), data_dir / name, "does not exist")
        assert list(data_dir.iterdir()) == []
        data_dir.rmdir()
        (tmp_path / "moved").rename(data_dir)


def test_a_run_whose_folder_is_removed_fails_with_words(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        with server.engine_held():
            run_id = queue(client, 2)
            shutil.rmtree(tmp_path / "runs" / run_id)
        put_dataset(client, "some", 4)
        runs = [run_id]
        with server.engine_held():
            runs.append(client.post("/v1/runs", json={"dataset": "some"}).json()["run_id"])
            shutil.rmtree(tmp_path / "runs" / runs[1])
        for run_id in runs:
            ended = wait_until_ended(client, run_id)
            assert ended["state"] == "failed"
            error = ended["error"]
            assert (error["status"], error["file"]) == (503, str(tmp_path / "runs" / run_id))
            assert_words(error["detail"], "removed while its run was active")


def without_privileges(test: Callable[[RunningServer, dict[str, str]], None], path: Path) -> None:
    """Call a test with a server for which the permissions of files count."""

    def call() -> None:
        with serving(path) as server:
            test(server, store_some(server.client))

    call_without_privileges(call)


def test_files_without_permission_are_not_called_damaged(tmp_path: Path) -> None:
    def check(server: RunningServer, made: dict[str, str]) -> None:
        client = server.client
        dataset = tmp_path / "datasets" / f"{made['dataset']}.safetensors"
        model = tmp_path / "models" / "small.safetensors"
        surface = tmp_path / "runs" / made["simulate"] / "surface.npy"
        client.post("/v1/models/small/unload")
        for path in (dataset, model, surface):
            path.chmod(0)
        denied = "Permission denied"
        assert_unusable(client.get("/v1/datasets/words", headers=BYTES), dataset, denied)
        assert_unusable(client.get("/v1/models/small", headers=BYTES), model, denied)
        sent = {"embeddings": rows().tolist(), "model": "small"}
        assert_unusable(client.post("/v1/simulate", json=sent), model, denied)
        outputs = f"/v1/runs/{made['simulate']}/outputs/surface"
        assert_unusable(client.get(outputs), surface, denied)
        queued = client.post("/v1/runs", json={"dataset": "words"}).json()["run_id"]
        error = wait_until_ended(client, queued)["error"]
        assert (error["status"], error["file"]) == (503, str(dataset))
        start_experiment(client, name="swept", dataset="words", seeds=[1])
        error = wait_for_state(client, "swept", "paused", "failed", "succeeded")["error"]
        assert (error["status"], error["file"]) == (503, str(dataset))
        for path in (dataset, model, surface):
            path.chmod(0o600)
        assert client.post("/v1/experiments/swept/resume").status_code == 200
        wait_for_state(client, "swept", "succeeded")
        assert client.get(outputs).status_code == 200
        assert client.post("/v1/simulate", json=sent).status_code == 200

    without_privileges(check, tmp_path)


def test_verify_names_what_it_may_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fill(tmp_path)
    paths = [
        tmp_path / "datasets" / f"{made['dataset']}.safetensors",
        tmp_path / "models" / "small.safetensors",
        tmp_path / "runs" / made["simulate"],
        tmp_path / "runs" / made["run"] / "hits.npy",
        tmp_path / "runs" / made["run"] / "surface.npy",
    ]

    def check() -> None:
        unreadable = [path for path in paths if path.exists()]
        for path in unreadable:
            path.chmod(0)
        found = Caller(capsys)("data", "verify", "--data-dir", tmp_path)
        for path in reversed(unreadable):
            path.chmod(0o700)
        assert found.returncode == 1
        *lines, last = found.stdout.splitlines()
        assert sorted(lines) == sorted(
            f"{path}: Permission denied; give the user that runs Energy Flow permission to read "
            "and write it"
            for path in unreadable
        )
        assert last.endswith(f": 0 damaged, {len(unreadable)} cannot be used")
        (tmp_path / "index.sqlite3").chmod(0)
        found = Caller(capsys)("data", "verify", "--data-dir", tmp_path)
        (tmp_path / "index.sqlite3").chmod(0o600)
        assert found.returncode == 1
        assert_words(found.stdout.splitlines()[0], "index.sqlite3: Permission denied")

    call_without_privileges(check)
    assert Caller(capsys)("data", "verify", "--data-dir", tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("index.sqlite3", 0),
        ("index.sqlite3", 0o400),
        ("identity.json", 0),
        ("runs", 0),
        ("datasets", 0),
        ("models", 0),
        ("dataset_names/words.json", 0),
    ],
)
def test_a_start_names_what_it_may_not_use(tmp_path: Path, name: str, mode: int) -> None:
    made = fill(tmp_path)
    before = content(tmp_path)
    path = tmp_path / name
    usual = path.stat().st_mode

    def check() -> None:
        path.chmod(mode)
        if name.startswith("dataset_names"):
            # Only needed if there is something for the quarantine.
            (tmp_path / "runs" / ("a" * 32)).mkdir()
        why = refusal(tmp_path)
        path.chmod(usual)
        assert_words(why, str(path), "Permission denied")

    call_without_privileges(check)
    assert content(tmp_path) == before
    with serving(tmp_path) as server:
        assert server.client.get(f"/v1/runs/{made['run']}").status_code == 200


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("rebuild-index",), "lock"),
        (("rebuild-index",), "index.sqlite3"),
        (("rebuild-index",), "runs"),
        (("adopt",), "index.sqlite3.lock"),
        (("adopt",), "index.sqlite3"),
        (("adopt",), "runs"),
    ],
)
def test_commands_name_what_they_may_not_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], name: str
) -> None:
    data_dir = tmp_path / "data"
    fill(data_dir)
    before = content(data_dir)
    if name == "runs" and words == ("rebuild-index",):
        (data_dir / "index.sqlite3").unlink()

    def check() -> None:
        (data_dir / name).chmod(0)
        refused = Caller(capsys)("data", *words, "--data-dir", data_dir)
        (data_dir / name).chmod(0o700)
        assert_refused(refused, str(data_dir / name), "Permission denied")
        assert_words(refused.stderr.splitlines()[-1])

    call_without_privileges(check)
    assert content(data_dir) == before


def test_unreadable_files_are_not_left_out_of_a_new_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fill(tmp_path)
    (tmp_path / "index.sqlite3").unlink()
    for path in (
        tmp_path / "datasets" / f"{made['dataset']}.safetensors",
        tmp_path / "models" / "small.safetensors",
        tmp_path / "runs" / made["run"],
        tmp_path / "runs" / made["run"] / "run.json",
    ):

        def check(path: Path = path) -> None:
            mode = path.stat().st_mode
            path.chmod(0)
            refused = Caller(capsys)("data", "rebuild-index", "--data-dir", tmp_path)
            path.chmod(mode)
            assert_refused(refused, str(path), "Permission denied")

        call_without_privileges(check)
        assert not (tmp_path / "index.sqlite3").exists()


def test_a_run_whose_folder_cannot_be_read_is_not_removed_by_a_start(tmp_path: Path) -> None:
    made = fill(tmp_path)
    before = content(tmp_path)
    folder = tmp_path / "runs" / made["run"]

    def check() -> None:
        # As after a power cut.
        change_rows(tmp_path, "runs", where={"run_id": made["run"]}, safe=False)
        folder.chmod(0)
        why = refusal(tmp_path)
        folder.chmod(0o700)
        assert_words(why, str(folder), "Permission denied")
        assert content(tmp_path) == before

    call_without_privileges(check)


def test_an_interrupted_run_whose_folder_cannot_be_read_is_completed_later(tmp_path: Path) -> None:
    made = fill(tmp_path)
    folder = tmp_path / "runs" / made["run"]
    url = f"/v1/runs/{made['run']}"

    def check() -> None:
        # As after a crash.
        change_rows(tmp_path, "runs", where={"run_id": made["run"]}, state="running")
        folder.chmod(0)
        with serving(tmp_path) as server:
            assert server.client.get(f"{url}/outputs/surface").status_code == 503
            folder.chmod(0o700)
        with serving(tmp_path) as server:
            assert server.client.get(url).json()["state"] == "failed"
            assert server.client.get(f"{url}/outputs/surface").status_code == 200

    call_without_privileges(check)


def test_an_index_that_cannot_be_reached_is_not_called_damaged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'indexes' / 'index'}"
    (tmp_path / "indexes").mkdir()

    def check() -> None:
        with serving(tmp_path / "data", database_url=url) as server:
            client = server.client
            made = store_some(client)
            server.wait_until_idle()
            server.server.service.archive.catalog.database.close()
            (tmp_path / "indexes").chmod(0)
            answer = client.get(f"/v1/runs/{made['run']}")
            (tmp_path / "indexes").chmod(0o700)
            assert_unusable(answer, tmp_path / "indexes", "Permission denied")
            assert client.get(f"/v1/runs/{made['run']}").status_code == 200

    call_without_privileges(check)


def test_the_folder_of_an_index_that_does_not_exist_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    why = refusal(tmp_path / "data", database_url=f"sqlite:///{folder}/index")
    assert_words(why, str(folder), "does not exist")


def test_serve_names_a_read_only_data_directory_in_one_line(tmp_path: Path) -> None:
    fill(tmp_path)
    with read_only(tmp_path):
        refused = run("serve", "--port", "0", "--data-dir", tmp_path)
    assert_refused(refused, "the server could not start", str(tmp_path), "Read-only file system")
    assert_words(refused.stderr)
    assert len(refused.stderr.splitlines()) == 1


OUT_OF_FILES = """
import contextlib, os, resource, sys
from service.problems import problem_of
from service.store.database import Database

database = Database("sqlite:///" + sys.argv[1])
database.close()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
with contextlib.suppress(OSError):
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
try:
    with database.connection() as connection:
        connection.exec_driver_sql("SELECT * FROM runs")
except Exception as error:
    print(problem_of(error).status, problem_of(error).detail)
"""


def test_an_index_that_cannot_be_opened_for_too_many_files_is_not_called_damaged(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", OUT_OF_FILES, str(tmp_path / "index")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert_words(done.stdout, f"503 {tmp_path / 'index'}", "Too many open files", "ulimit -n")


def test_a_file_that_stays_after_a_deletion_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def check() -> None:
        with serving(tmp_path / "data") as server:
            run_id = queue(server.client, 2)
            wait_until_ended(server.client, run_id)
            kept = tmp_path / "data" / "runs" / run_id / "mine"
            kept.mkdir()
            (kept / "file").touch()
            kept.chmod(0o500)
            assert server.client.delete(f"/v1/runs/{run_id}").status_code == 204
            hidden = kept.parent.with_name(f".{run_id}.part") / "mine"
            lines = [one for one in caplog.records if str(hidden / "file") in one.getMessage()]
            assert [line.levelname for line in lines] == ["WARNING"]
            hidden.chmod(0o700)
        with serving(tmp_path / "data"):
            assert list((tmp_path / "data" / "runs").iterdir()) == []

    call_without_privileges(check)
