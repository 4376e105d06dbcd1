"""``AsyncListing``, the items of a list of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class AsyncListing(AsyncIterator[T], Generic[T]):
    """The items of a list of the server, which are read page by page while it is iterated.

    Args:
        place: where the list is, for people.
        items: the items.
    """

    def __init__(self, place: str, items: AsyncIterator[T]) -> None:
        self._place = place
        self._items = items

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place}; iterate to read it)"

    async def __anext__(self) -> T:
        """Return the next item."""
        return await anext(self._items)
