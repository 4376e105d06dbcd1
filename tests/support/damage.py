"""Damage to the files of a data directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
