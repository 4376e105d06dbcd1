"""One process at a time uses a data directory and an index, also if a file of a lock is removed."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import Any

import pytest

from service.lifespan import Service
from service.settings import Settings
from service.store.recovery.errors import DataDirInUseError
from tests.support.command_line import Caller, assert_refused
from tests.support.servers import TINY, serving

pytestmark = pytest.mark.sqlite


def assert_in_use(data_dir: Path, *words: str, **settings: Any) -> None:
    """Assert that a second server does not start."""
    second = Service(Settings(data_dir=data_dir, set=TINY, **settings))
    with pytest.raises(DataDirInUseError) as refused:
        second.lock_data_dir()
    for word in ("another server uses", *words):
        assert word in str(refused.value)


def test_a_removed_lock_lets_no_second_process_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path):
        (tmp_path / "lock").unlink()
        (tmp_path / "index.sqlite3.lock").unlink()
        assert_in_use(tmp_path, "the data directory", "--data-dir")
        for words in (
            ("rebuild-index",),
            ("adopt",),
            ("quarantine", "list"),
            ("quarantine", "restore", "x"),
            ("quarantine", "empty"),
        ):
            refused = Caller(capsys)("data", *words, "--data-dir", tmp_path)
            assert_refused(refused, "another server uses", "stop that server first")
        # A refused process leaves no lock that the first one does not hold.
        assert not (tmp_path / "lock").exists()
    with serving(tmp_path):
        pass


def test_a_directory_that_was_moved_is_in_use_at_its_new_path(tmp_path: Path) -> None:
    with serving(tmp_path / "here"):
        (tmp_path / "here").rename(tmp_path / "there")
        (tmp_path / "there" / "lock").unlink()
        assert_in_use(tmp_path / "there")
        (tmp_path / "there").rename(tmp_path / "here")


def test_the_lock_of_an_earlier_version_counts(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_in_use(tmp_path, "the data directory")
    # An earlier version sees a server of this one by the same file.
    with (
        serving(tmp_path),
        (tmp_path / "lock").open("ab") as lock,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_two_servers_cannot_use_one_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, copied, index = tmp_path / "here", tmp_path / "copied", tmp_path / "index"
    url = f"sqlite:///{index}"
    (tmp_path / "linked").symlink_to(tmp_path)
    with serving(here, database_url=url):
        # A copy of a running server has the id of its index.
        shutil.copytree(here, copied)
        for other in (
            url,
            f"sqlite:///{tmp_path}/linked/index",
            f"sqlite:///file:{index}?uri=true",
        ):
            assert_in_use(copied, str(index), "--database-url", database_url=other)
        for words in (("rebuild-index",), ("adopt",)):
            refused = Caller(capsys)("data", *words, "--data-dir", copied, "--database-url", url)
            assert_refused(refused, "another server uses the index", "stop that server first")
        # Another index in the same folder can be used.
        with serving(tmp_path / "new", database_url=f"sqlite:///{tmp_path}/other"):
            pass


def test_a_removed_lock_of_an_index_is_taken_again(tmp_path: Path) -> None:
    here, copied, index = tmp_path / "here", tmp_path / "copied", tmp_path / "index"
    url, lock = f"sqlite:///{index}", tmp_path / "index.lock"
    with serving(here, database_url=url) as server:
        shutil.copytree(here, copied)
        lock.unlink()
        assert server.client.post("/v1/models", json={"name": "a"}).status_code == 201
        assert lock.exists()
        assert_in_use(copied, str(index), "--database-url", database_url=url)


def test_a_server_whose_index_another_one_has_locked_changes_nothing(tmp_path: Path) -> None:
    here, copied, index = tmp_path / "here", tmp_path / "copied", tmp_path / "index"
    url, lock = f"sqlite:///{index}", tmp_path / "index.lock"
    with serving(here, database_url=url) as server:
        shutil.copytree(here, copied)
        lock.unlink()
        with serving(copied, database_url=url) as other:
            for _ in range(2):
                refused = server.client.post("/v1/models", json={"name": "a"})
                assert (refused.status_code, refused.json()["file"]) == (503, str(lock))
            assert server.client.get("/readyz").status_code == 503
            assert server.client.get("/v1/models").status_code == 200
            assert other.client.post("/v1/models", json={"name": "b"}).status_code == 201
        # The other one may have changed anything.
        assert server.client.post("/v1/models", json={"name": "a"}).status_code == 503


def test_the_index_in_a_directory_in_use_is_in_use(tmp_path: Path) -> None:
    with serving(tmp_path / "here"):
        url = f"sqlite:///{tmp_path / 'here' / 'index.sqlite3'}"
        assert_in_use(tmp_path / "there", "the index", database_url=url)


def test_a_refused_start_holds_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index'}"
    with serving(tmp_path / "here", database_url=url):
        assert_in_use(tmp_path / "there", database_url=url)
        with serving(tmp_path / "there"):
            pass
