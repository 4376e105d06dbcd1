"""Damage to the files of a data directory."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Damage = Callable[[Path], object]


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit of a file; its size and its times of change stay."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 4
    path.write_bytes(data)


def truncate(path: Path) -> None:
    """Remove the last third of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def empty(path: Path) -> None:
    """Remove everything from a file."""
    path.write_bytes(b"")


def change_header(**changes: Any) -> Damage:
    """Return damage that changes members of the header of a ``.npy`` file, and no other byte."""

    def change(path: Path) -> None:
        data = path.read_bytes()
        end = 10 + int.from_bytes(data[8:10], "little")
        header = repr({**ast.literal_eval(data[10:end].decode()), **changes}).encode()
        path.write_bytes(data[:10] + header.ljust(end - 11) + b"\n" + data[end:])

    return change


HEADER_CHANGES: dict[str, Damage] = {
    "other numbers": change_header(descr="<i4"),
    "other bytes": change_header(descr=">f4"),
    "wider numbers": change_header(descr="<f8"),
    "objects": change_header(descr="|O"),
    "no dtype": change_header(descr=()),
    "other axes": change_header(shape=(100, 2, 2)),
    "no axes": change_header(shape=()),
    "empty rows": change_header(shape=(100, 0)),
    "vast rows": change_header(shape=(100, 2**62, 2**62)),
    "Fortran order": change_header(fortran_order=True),
    "no literal": lambda path: path.write_bytes(path.read_bytes().replace(b"}", b" ", 1)),
    "other version": lambda path: path.write_bytes(path.read_bytes().replace(b"\x01", b"\x02", 1)),
}
"""Changes to the header of an unfinished file of floats that its rows do not show."""

DAMAGES: dict[str, Damage] = {
    "flipped": flip,
    "truncated": truncate,
    "emptied": empty,
    "deleted": Path.unlink,
}


@contextmanager
def damaged(path: Path, damage: Damage) -> Iterator[None]:
    """Damage a file until the end of the block."""
    sound = path.read_bytes()
    damage(path)
    try:
        yield
    finally:
        path.write_bytes(sound)
