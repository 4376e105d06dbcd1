"""A folder as one small file."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path


def pack(folder: Path, names: Sequence[str], archive: Path) -> None:
    """Pack what has these names in a folder, without the names of the files' owner."""

    def without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(archive, "w:xz", preset=9, format=tarfile.PAX_FORMAT) as file:
        for name in names:
            file.add(folder / name, name, filter=without_owner)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder."""
    with tarfile.open(archive, "r:xz") as file:
        file.extractall(folder, filter="data")
