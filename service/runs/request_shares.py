"""``RequestShares``: how many requests of a client are handled while others send some."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from energy_flow.errors import QueueFull

RECENT_SECONDS: Final = 1.0
"""How long a client counts after its last request: it may be about to send another one."""
RATE_SECONDS: Final = 10.0
"""The requests of so many seconds tell how fast those of a client are answered."""
LEAST_SHARE: Final = 8
"""Requests that every client may have, however many clients there are."""
LONGEST_WAIT: Final = 30.0
"""Seconds; the Python client waits no longer."""


@dataclass(slots=True)
class _Client:
    """The requests of a client.

    Attributes:
        active: Number of those that are being handled.
        last: When the last one began or ended.
        answered: When the last ones were answered.
        next_room: When there is probably room for another one that is refused.
    """

    active: int = 0
    last: float = 0.0
    answered: deque[float] = field(default_factory=deque)
    next_room: float = 0.0


class RequestShares:
    """Requests that wait for their simulations, by client.

    Handling a request takes time of the event loop before its run takes a turn, so clients with
    many requests are refused early. It is used on the event loop only.

    Args:
        limit: Requests of all clients together, while several send some; each client has an equal
            share.
        clock: Returns seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._clients: dict[str, _Client] = {}
        self._forgot = 0.0

    @contextmanager
    def enter(self, client: str) -> Iterator[None]:
        """Count a request until the end of the block.

        Args:
            client: Who sends it.

        Raises:
            QueueFull: The client has its share of requests, and others send some.
        """
        now = self._clock()
        if now - self._forgot > RATE_SECONDS:
            self._forget(now)
        own = self._clients.setdefault(client, _Client())
        own.last = now
        self._require_share(own, now)
        own.active += 1
        try:
            yield
            own.answered.append(self._clock())
        finally:
            own.active -= 1
            own.last = self._clock()

    def _require_share(self, own: _Client, now: float) -> None:
        if own.active < LEAST_SHARE:
            return
        busy = sum(
            client.active > 0 or now - client.last <= RECENT_SECONDS
            for client in self._clients.values()
        )
        share = max(LEAST_SHARE, self._limit // busy)
        if busy > 1 and own.active >= share:
            message = (
                f"{own.active} requests of this client are being handled, its share while others "
                "send some"
            )
            raise QueueFull(self._book_room(own, now), message)

    def _book_room(self, own: _Client, now: float) -> float:
        """Return the seconds until there is probably room for one that is refused.

        Each one that is refused is sent behind the former ones, so that they do not all return at
        once.
        """
        while own.answered and now - own.answered[0] > RATE_SECONDS:
            own.answered.popleft()
        rate = max(1, len(own.answered)) / RATE_SECONDS
        own.next_room = min(max(own.next_room, now) + 1 / rate, now + LONGEST_WAIT)
        return own.next_room - now

    def _forget(self, now: float) -> None:
        """Forget clients that have sent nothing for a while."""
        self._forgot = now
        self._clients = {
            name: client
            for name, client in self._clients.items()
            if client.active or now - client.last <= RATE_SECONDS
        }
