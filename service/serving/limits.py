"""``ConnectionLimits``: what connections may do before anything of the application sees them."""

from __future__ import annotations

from dataclasses import dataclass

from service.lifespan import ServiceLimits
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of connections.

    Attributes:
        connections: Most connections.
        connections_of_address: Most connections from one address.
        is_local_limited: Whether that holds for addresses of this machine as well.
        header_seconds: Most seconds until the headers of a request are complete.
        header_bytes: Most bytes of the request line and the headers.
        body_rate: Least bytes a second of a body, on average over ``body_seconds``.
        body_seconds: Seconds after which the bytes of a body are counted, again and again.
        unread_seconds: Most seconds in which a reader takes nothing of what waits for it.
    """

    connections: int
    connections_of_address: int
    is_local_limited: bool
    header_seconds: float
    header_bytes: int
    body_rate: int
    body_seconds: float
    unread_seconds: float

    @classmethod
    def of(cls, settings: Settings, limits: ServiceLimits) -> ConnectionLimits:
        """Return the limits of a server.

        Args:
            settings: The server's settings.
            limits: The server's other limits.
        """
        of_address = settings.max_connections_per_client
        return cls(
            connections=settings.max_connections,
            connections_of_address=of_address or max(1, settings.max_connections // 2),
            # All clients behind a proxy on this machine have its address.
            is_local_limited=of_address is not None,
            header_seconds=settings.header_seconds,
            header_bytes=limits.max_header_bytes,
            body_rate=settings.body_min_rate,
            body_seconds=limits.body_seconds,
            unread_seconds=limits.unread_seconds,
        )
