"""``Connections``: all connections of a server, how many there may be, and a clock for them."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Protocol

from uvicorn.server import ServerState

from service.serving.limits import ConnectionLimits

SWEEP_SECONDS: Final = 0.5
"""Time between two looks at all connections."""

MAX_REFUSED: Final = 100
"""Refused connections that are answered at the same time; further ones are closed at once."""


class Refusal(StrEnum):
    """Why a connection is refused or closed."""

    TOO_MANY = "too_many"
    TOO_MANY_OF_ADDRESS = "too_many_of_address"
    IDLE_FOR_ANOTHER = "idle_for_another"
    SILENT = "silent"
    SLOW_HEADERS = "slow_headers"
    LARGE_HEADERS = "large_headers"
    MALFORMED = "malformed"
    SLOW_BODY = "slow_body"
    UNREAD_ANSWER = "unread_answer"
    STOPPING = "stopping"


class Connection(Protocol):
    """A connection, as :class:`Connections` sees it."""

    @property
    def address(self) -> str:
        """Address of the peer."""
        ...

    @property
    def idle_since(self) -> float | None:
        """Time from which on no request is in progress; ``None`` if one is."""
        ...

    def check(self) -> None:
        """Refuse or close the connection if it exceeds a limit of time."""

    def close(self) -> None:
        """Close the connection."""


class Connections:
    """All connections of a server. Its methods belong to the event loop.

    Attributes:
        limits: Limits of connections.
        now: Seconds in which the server has served, as of the last sweep. While its process is
            suspended or the event loop does not run, peers cannot be served either, and this clock
            stands.

    Args:
        limits: Limits of connections.
        count: Counts a connection that is refused or closed, by its reason.
    """

    def __init__(self, limits: ConnectionLimits, count: Callable[[str], None]) -> None:
        self.limits = limits
        self.now = 0.0
        self._count = count
        self._accepted: set[Connection] = set()
        self._refused: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._swept_at = time.monotonic()

    def __len__(self) -> int:
        """Return the number of accepted connections."""
        return len(self._accepted)

    def add(self, connection: Connection) -> Refusal | None:
        """Accept a connection, or return why it is refused.

        Args:
            connection: A new connection. Remove it when it is lost.
        """
        refusal = self._find_refusal(connection.address)
        if refusal is None:
            self._accepted.add(connection)
            self._by_address[connection.address] += 1
            return None
        self.count(refusal)
        if len(self._refused) < MAX_REFUSED:
            self._refused.add(connection)
        else:
            connection.close()
        return refusal

    def remove(self, connection: Connection) -> None:
        """Forget a connection that was lost."""
        self._refused.discard(connection)
        if connection in self._accepted:
            self._accepted.remove(connection)
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def count(self, refusal: Refusal) -> None:
        """Count a connection that is refused or closed."""
        self._count(refusal)

    def sweep(self) -> None:
        """Check all connections, if that was not done just now."""
        now = time.monotonic()
        if now - self._swept_at < SWEEP_SECONDS:
            return
        self.now += min(now - self._swept_at, 2 * SWEEP_SECONDS)
        self._swept_at = now
        for connection in [*self._accepted, *self._refused]:
            connection.check()

    def _find_refusal(self, address: str) -> Refusal | None:
        limits = self.limits
        is_limited = limits.is_local_limited or not _is_local(address)
        if is_limited and self._by_address[address] >= limits.connections_of_address:
            return Refusal.TOO_MANY_OF_ADDRESS
        if len(self._accepted) >= limits.connections and not self._close_idle():
            return Refusal.TOO_MANY
        return None

    def _close_idle(self) -> bool:
        """Close the connection that has been idle for the longest time, if there is one."""
        idle = [
            (since, connection)
            for connection in self._accepted
            if (since := connection.idle_since) is not None
        ]
        if not idle:
            return False
        _, connection = min(idle, key=lambda one: one[0])
        self.remove(connection)
        self.count(Refusal.IDLE_FOR_ANOTHER)
        connection.close()
        return True


class ServerConnections(ServerState):
    """uvicorn's state of a server, which every connection gets, with our limits.

    Args:
        limited: All connections.
    """

    def __init__(self, limited: Connections) -> None:
        super().__init__()
        self.limited = limited


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        # A socket of the file system.
        return True
