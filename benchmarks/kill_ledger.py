"""What a server has acknowledged, to look for it after a kill; a part of ``kills``."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What callers create."""

    DATASET = "dataset"
    MODEL = "model"
    RUN = "run"
    EXPERIMENT = "experiment"


class Fate(StrEnum):
    """What is known about an item.

    ``SENT`` and ``DELETING`` are requests without an answer: both outcomes are right.
    """

    SENT = "sent"
    STORED = "stored"
    DELETING = "deleting"
    DELETED = "deleted"


@dataclass(slots=True)
class Item:
    """Something that a caller has asked for.

    Attributes:
        kind: what it is.
        name: its name; of a run, the seed, which no other run has.
        fate: what is known about it.
        sent_at: when it was asked for, in seconds since the epoch.
        run_id: id of a run, once it is known.
        digest: digest of the content of a dataset or a model, once it is known.
        repeat: body of a request with an ``Idempotency-Key``, to send it again.
    """

    kind: Kind
    name: str
    fate: Fate = Fate.SENT
    sent_at: float = field(default_factory=time.time)
    run_id: str | None = None
    digest: str | None = None
    repeat: dict[str, Any] | None = None


class Ledger:
    """All items; any thread may call the methods."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._lock = threading.Lock()
        self._numbers = 0

    def number(self) -> int:
        """Return a number that was not returned before."""
        with self._lock:
            self._numbers += 1
            return self._numbers

    def add(self, item: Item) -> Item:
        """Add an item that is about to be asked for, and return it."""
        with self._lock:
            self._items.append(item)
        return item

    def take_stored(self, kind: Kind, position: float) -> Item | None:
        """Return a stored item and mark it as being deleted; ``None`` if there is none.

        Args:
            kind: kind of the item.
            position: which one, from 0 to 1.
        """
        with self._lock:
            stored = [one for one in self._items if one.kind is kind and one.fate is Fate.STORED]
            if not stored:
                return None
            item = stored[int(position * (len(stored) - 1))]
            item.fate = Fate.DELETING
            return item

    def choose_stored(self, kind: Kind, position: float) -> Item | None:
        """Return a stored item; ``None`` if there is none.

        Args:
            kind: kind of the item.
            position: which one, from 0 to 1.
        """
        stored = [one for one in self.items(kind) if one.fate is Fate.STORED]
        return stored[int(position * (len(stored) - 1))] if stored else None

    def items(self, kind: Kind) -> list[Item]:
        """Return all items of a kind."""
        with self._lock:
            return [one for one in self._items if one.kind is kind]
