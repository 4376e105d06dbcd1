"""Directories of both versions: a copy of the present files, and a worktree of a commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UnknownCommit(ValueError):
    """There is no such commit."""


def resolve_commit(repository: Path, revision: str) -> str:
    """Return the full hash of a commit.

    Args:
        repository: a directory in the repository.
        revision: a branch, a tag, a hash, ``HEAD~3``, or what else git accepts.

    Raises:
        UnknownCommit: there is no such commit, no repository, or no git.
    """
    try:
        inside = _git(repository, "rev-parse", "--git-dir")
        found = _git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except OSError as error:
        raise UnknownCommit(f"git cannot be run ({error}); install it") from None
    if inside.returncode != 0:
        raise UnknownCommit(
            f"{repository} is no git repository; run this in a clone of the project"
        )
    if found.returncode != 0:
        raise UnknownCommit(
            f"there is no commit '{revision}'; give a branch, a tag or a hash that "
            "`git log --oneline --all` shows, or get it with `git fetch` first"
        )
    return found.stdout.strip()


@contextmanager
def worktree(repository: Path, commit: str) -> Iterator[Path]:
    """Check a commit out in a temporary directory, and remove it in the end.

    Args:
        repository: a directory in the repository.
        commit: hash of the commit.

    Yields:
        The directory.

    Raises:
        RuntimeError: git could not make the worktree.
    """
    with tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        tree = Path(folder).resolve() / "other"
        try:
            added = _git(repository, "worktree", "add", "--detach", str(tree), commit)
            if added.returncode != 0:
                raise RuntimeError(
                    f"git could not make a worktree of {commit}: {added.stderr.strip()}"
                )
            yield tree
        finally:
            # Forced twice, because git locks a worktree while it makes it.
            _git(repository, "worktree", "remove", "--force", "--force", str(tree))


@contextmanager
def copy_of(repository: Path) -> Iterator[Path]:
    """Copy the present files, without those that git ignores, to a temporary directory.

    So both versions are on the same file system, and files can be edited during the measurement.

    Args:
        repository: a directory in the repository.

    Yields:
        The directory.

    Raises:
        RuntimeError: git does not list the files.
    """
    listed = _git(repository, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if listed.returncode != 0:
        raise RuntimeError(f"git could not list the files in {repository}: {listed.stderr.strip()}")
    with tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        copy = Path(folder).resolve() / "this"
        for name in listed.stdout.split("\0"):
            # Deleted files are still listed.
            if name and (repository / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(repository / name, copy / name)
        yield copy


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git without the hooks of the user, and without the Ctrl-C of the terminal."""
    return subprocess.run(
        ["git", "-c", f"core.hooksPath={os.devnull}", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
