"""``ParserWithoutUpgrades``: a parser of HTTP/1.1 for a server that speaks no other protocol."""

from __future__ import annotations

from collections.abc import Callable

import httptools


class ParserWithoutUpgrades:
    """A parser that ignores the header ``Upgrade`` (RFC 9110, 7.8).

    The library's parser takes what follows the headers of such a request for another protocol, also
    its body. So those headers are parsed once more, without the offer. The protocol must ignore
    what it is told of a message while :attr:`is_repeating`.

    Args:
        make_parser: Returns a new parser of the library. One that has seen the offer reads no
            further message if the connection is to be closed.
        read_head: Returns the request line and the headers that were parsed last, without the
            offer.
    """

    def __init__(
        self,
        make_parser: Callable[[], httptools.HttpRequestParser],
        read_head: Callable[[], bytes],
    ) -> None:
        self._make_parser = make_parser
        self._parser = make_parser()
        self._read_head = read_head

    @property
    def is_repeating(self) -> bool:
        """Whether the headers that have just been parsed are parsed once more."""
        return self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT"

    def feed_data(self, data: bytes) -> None:
        """Parse what has arrived.

        Args:
            data: The bytes.

        Raises:
            httptools.HttpParserError: It is no HTTP.
        """
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if not self.is_repeating:
                    return
                data = self._read_head() + data[upgrade.args[0] :]
                self._parser = self._make_parser()

    def should_upgrade(self) -> bool:
        """Return that the connection keeps its protocol."""
        return False

    def should_keep_alive(self) -> bool:
        """Return whether the connection may be used for another request."""
        return self._parser.should_keep_alive()

    def get_method(self) -> bytes:
        """Return the method of the request."""
        return self._parser.get_method()

    def get_http_version(self) -> str:
        """Return the version, such as ``1.1``."""
        return self._parser.get_http_version()
