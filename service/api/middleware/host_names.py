"""``HostNames``: the names by which a server may be reached."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

ANY: Final = "*"
# A name, or an address of version 6 in brackets, and a port (RFC 3986, 3.2.2).
_HOST: Final = re.compile(r"(?:([A-Za-z0-9._~-]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?")
_CACHED: Final = 1024
"""How many different values of headers are remembered."""


def split_host(value: str) -> tuple[str, int | None] | None:
    """Return the host in lower case and the port of a ``Host`` header; ``None`` if it is not one.

    Args:
        value: The value of the header.
    """
    found = _HOST.fullmatch(value)
    if found is None:
        return None
    name, address, port = found.groups()
    # A dot at the end only says that the name is complete.
    host = (address or name.removesuffix(".")).lower()
    if address is None and not all(host.split(".")):
        return None
    return host, int(port) if port else None


class HostNames:
    """Loopback names, IP addresses, and the names that the operator gives.

    A page of another site cannot be reached by an IP address or a loopback name: its name is its
    own, even if it is made to point to this server.

    Args:
        allowed: Names; ``*.example.org`` is every name that ends in ``.example.org``, ``*`` any.
        listening: Host that the server listens on.
    """

    def __init__(self, allowed: Iterable[str], listening: str) -> None:
        allowed = {name.lower() for name in allowed}
        self._names = frozenset(allowed)
        self._suffixes = tuple(name[1:] for name in allowed if name.startswith("*."))
        self._local = frozenset({"localhost", listening.lower()})
        # Clients send the same few values again and again.
        self.allows = lru_cache(_CACHED)(self._allows)

    @property
    def is_configured(self) -> bool:
        """Whether the operator gave any names."""
        return bool(self._names)

    def names(self, host: str) -> bool:
        """Return whether a host is one of those that the operator gave by name.

        Args:
            host: The host, without a port, in lower case.
        """
        return host in self._names or (bool(self._suffixes) and host.endswith(self._suffixes))

    def _allows(self, value: str) -> bool:
        """Return whether the value of a ``Host`` header is a name of the server."""
        if ANY in self._names:
            return True
        parts = split_host(value)
        if parts is None:
            return False
        host, _ = parts
        is_local = host in self._local or host.endswith(".localhost") or _is_address(host)
        return is_local or self.names(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
