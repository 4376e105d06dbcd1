"""The benchmark against another commit: its checkout, the files that run, and the ratio."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.against.command import main
from benchmarks.against.comparison import Comparison
from benchmarks.against.step import Case, stepping
from benchmarks.against.turns import order_of
from benchmarks.against.version import Version
from benchmarks.against.worktree import UnknownCommit, copy_of, resolve_commit, worktree
from tests.support.repository import ROOT


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits with different content of one file; the first is tagged."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for content in ("first", "second"):
        (folder / "file").write_text(content, encoding="utf-8")
        git(folder, "add", "file")
        git(folder, "commit", "--quiet", "--message", content)
    git(folder, "tag", "old", "HEAD~1")
    return folder


def version(root: Path, kernels: Path) -> Version:
    kernels.mkdir()
    return Version("other", None, root, sys.executable, kernels, threads=1)


def test_a_worktree_exists_only_while_it_is_measured(repository: Path) -> None:
    commit = resolve_commit(repository, "old")
    assert commit == git(repository, "rev-parse", "HEAD~1")
    trees = []

    def interrupted() -> None:
        with worktree(repository, commit) as tree:
            trees.append(tree)
            assert (tree / "file").read_text(encoding="utf-8") == "first"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not trees[0].parent.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert (repository / "file").read_text(encoding="utf-8") == "second"


def test_files_are_measured_as_they_are(repository: Path) -> None:
    (repository / ".gitignore").write_text("ignored\n", encoding="utf-8")
    for name, content in {"file": "changed", "folder/new": "new", "ignored": ""}.items():
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text(content, encoding="utf-8")
    with copy_of(repository) as copy:
        (repository / "file").write_text("edited meanwhile", encoding="utf-8")
        found = {
            str(path.relative_to(copy)): path.read_text(encoding="utf-8")
            for path in copy.rglob("*")
            if path.is_file()
        }
    assert found == {".gitignore": "ignored\n", "file": "changed", "folder/new": "new"}
    assert not copy.parent.exists()


def test_a_commit_that_does_not_exist_is_named(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownCommit, match=r"no commit 'v9'.*git fetch"):
        resolve_commit(repository, "v9")
    with pytest.raises(UnknownCommit, match="no git repository"):
        resolve_commit(tmp_path, "HEAD")


def test_parts_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["HEAD", "--only", "step,stop"])
    assert refusal.value.code == 2
    assert "there is no part 'stop'; known are bits, step, callers" in capsys.readouterr().err


def test_a_version_runs_its_own_files(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    for file, content in {
        "pyproject.toml": '[project.scripts]\nenergy-flow = "renamed.program:main"\n',
        "energy_flow/__init__.py": "",
        "renamed/__init__.py": "",
        "renamed/program.py": "",
    }.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(content, encoding="utf-8")
    checkout = version(root.resolve(), tmp_path / "kernels")
    assert checkout.check()["files"] == {
        "energy_flow": str(checkout.root / "energy_flow" / "__init__.py"),
        "program": str(checkout.root / "renamed" / "program.py"),
    }
    # The checkout that is installed in the environment of these tests is not used.
    shutil.rmtree(root / "energy_flow")
    with pytest.raises(RuntimeError, match="energy_flow"):
        checkout.check()


def test_a_version_steps(tmp_path: Path) -> None:
    rows = tmp_path / "embeddings.npy"
    np.save(rows, np.full((2, 8), 0.05, dtype=np.float32))
    with stepping(version(ROOT, tmp_path / "kernels"), rows, "cpu") as process:
        process.build(Case("debug", "float32", batch=2, steps=1))
        measured = process.measure()
    # One step of the 20 × 20 flows of two samples, as often as the time allows.
    assert measured["flow_steps"] > 0
    assert measured["flow_steps"] % 800 == 0
    assert measured["seconds"] > 0


def test_a_ratio_above_one_means_that_this_version_is_better() -> None:
    halved = Comparison("s", {"this": [1, 2, 3], "other": [2, 4, 6]})
    doubled = Comparison("1/s", {"this": [2, 4, 6], "other": [1, 2, 3]}, more_is_better=True)
    for comparison in (halved, doubled):
        assert comparison.to_dict()["ratio"]["median"] == 2
        assert comparison.to_dict()["this"] == comparison.median("this")


def test_versions_take_turns() -> None:
    assert [order_of(turn) for turn in range(3)] == [
        ("this", "other"),
        ("other", "this"),
        ("this", "other"),
    ]
