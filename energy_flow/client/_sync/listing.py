# Generated from energy_flow/client/_async/listing.py by scripts/unasync.py; edit that file.
"""``Listing``, the items of a list of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Listing(Iterator[T], Generic[T]):
    """The items of a list of the server, which are read page by page while it is iterated.

    Args:
        place: where the list is, for people.
        items: the items.
    """

    def __init__(self, place: str, items: Iterator[T]) -> None:
        self._place = place
        self._items = items

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place}; iterate to read it)"

    def __next__(self) -> T:
        """Return the next item."""
        return next(self._items)
