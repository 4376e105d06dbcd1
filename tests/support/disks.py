"""Small file systems and read-only ones."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE_BYTES = 4096


@contextmanager
def mounted(path: Path, size: str) -> Iterator[Path]:
    """Mount a file system of a size, such as ``3m``, until the end of the block."""
    path.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder a read-only file system until the end of the block."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path, *, but_pages: int = 0) -> None:
    """Write a file until its disk is full but for some pages."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE_BYTES))
        except OSError:
            file.truncate(max(file.tell() - but_pages * PAGE_BYTES, 0))


def _mount(*arguments: str) -> None:
    mounting = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    if mounting.returncode != 0:
        pytest.skip("mounting needs privileges")
