"""``LimitedProtocol``: uvicorn's HTTP, with limits for peers that are slow, silent or too many.

All of it happens before the application sees a request, and so before any key is checked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from service.api.middleware.api_keys import READING_METHODS
from service.problems import Problem, unavailable
from service.serving.connections import Refusal, ServerConnections
from service.serving.upgrades import ParserWithoutUpgrades

LINGER_SECONDS: Final = 2.0
"""How long a connection stays open after a refusal, so that the peer can read it.

A connection that is closed with unread data is reset, and the peer may never see the answer.
"""

MAX_PIPELINED: Final = 100
"""Requests that may be sent before the answer to an earlier one is complete."""

RETRY_SECONDS: Final = 2
"""When to try again where there are too many connections."""


class _Phase(Enum):
    HEADERS = auto()
    """A request is awaited, or the rest of its headers."""
    BODY = auto()
    """The rest of a body is awaited."""
    RECEIVED = auto()
    """The request is complete: it is answered, or has been."""
    REFUSED = auto()
    """The connection is not accepted; the answer waits for the first bytes of a request."""
    ENDING = auto()
    """The last answer has been written."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        config: uvicorn's configuration.
        server_state: A :class:`ServerConnections`.
        app_state: State of the application.
        _loop: The event loop.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._parser = ParserWithoutUpgrades(self._make_parser, self._encode_head)
        self.parser = self._parser  # type: ignore[assignment]
        assert isinstance(server_state, ServerConnections)
        self._all = server_state.limited
        self._limits = self._all.limits
        self._phase = _Phase.HEADERS
        # Of the phase; for a body, the start of the time in which its bytes are counted.
        self._since = self._all.now
        self._refusal: Refusal | None = None
        self._has_begun = False
        self._is_new_message = False
        self._is_new_part = False
        # Requests whose answers are not complete, oldest first; `cycle` is the newest.
        self._open: deque[RequestResponseCycle] = deque()
        self._header_bytes = 0
        self._body_bytes = 0
        self._answered_at = 0.0
        self._unsent_bytes = 0
        self._unsent_since = self._all.now

    @property
    def address(self) -> str:
        """Address of the peer."""
        return "" if self.client is None else self.client[0]

    @property
    def idle_since(self) -> float | None:
        """Time from which on no request is in progress; ``None`` if one is."""
        is_idle = self._phase is _Phase.RECEIVED and not self._open
        return None if not is_idle or self._unsent_bytes else self._answered_at

    def close(self) -> None:
        """Close the connection."""
        self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept or refuse a new connection."""
        super().connection_made(transport)
        self._since = self._unsent_since = self._all.now
        self._refusal = self._all.add(self)
        if self._refusal is not None:
            self._phase = _Phase.REFUSED

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and let its requests end."""
        self._all.remove(self)
        self._disconnect_requests()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, unless the connection is refused."""
        if self._phase is _Phase.ENDING:
            return
        if self._phase is _Phase.REFUSED:
            self._answer(_describe_refusal(self._refusal))
            return
        self._is_new_message = self._is_new_part = False
        super().data_received(data)
        is_header = self._phase is _Phase.HEADERS and not self._is_new_message
        # Of a body in chunks, what is before a chunk, or behind the last one.
        is_between = self._phase is _Phase.BODY and not self._is_new_part
        if is_header or is_between:
            # The parser reports no part of a header.
            self._header_bytes += len(data)
            if self._header_bytes > self._limits.header_bytes:
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin to count the headers of a request."""
        super().on_message_begin()
        self._phase = _Phase.HEADERS
        self._since = self._all.now
        self._has_begun = True
        self._is_new_message = True
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Count a part of the request line."""
        super().on_url(url)
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header.

        Those behind a body, trailers, are ignored (RFC 9110, 6.5.1).
        """
        if self._phase is not _Phase.BODY:
            super().on_header(name, value)
        self._count_header(len(name) + len(value) + len(": \r\n"))

    def on_headers_complete(self) -> None:
        """Begin to count the body of a request."""
        if self._parser.is_repeating:
            return
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError("this is another version of HTTP")
        if len(self._open) > MAX_PIPELINED:
            # The parser reports an error, which is answered by `send_400_response`.
            raise ValueError("too many requests are sent before their answers")
        if self.parser.get_http_version() == "1.0":
            # Which has no answers before the answer (RFC 9110, 15.2).
            self.expect_100_continue = False
        super().on_headers_complete()
        self._open.append(self.cycle)
        self._phase = _Phase.BODY
        self._header_bytes = 0
        self._is_new_part = True
        self._restart_body()

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._is_new_part = True
        self._header_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        if self._parser.is_repeating:
            return
        super().on_message_complete()
        self._phase = _Phase.RECEIVED

    def on_response_complete(self) -> None:
        """Note when the connection becomes idle."""
        self._open.popleft()
        super().on_response_complete()
        self._answered_at = self.loop.time()

    def resume_writing(self) -> None:
        """Note that the peer reads."""
        super().resume_writing()
        self._unsent_since = self._all.now

    def send_400_response(self, msg: str) -> None:
        """Answer a request that cannot be parsed, or whose headers are too large."""
        if self._header_bytes > self._limits.header_bytes:
            limit = self._limits.header_bytes
            message = f"the request line and the headers may have {limit:,} bytes together"
            self._refuse(Refusal.LARGE_HEADERS, Problem(431, message))
        else:
            self._refuse(Refusal.MALFORMED, Problem(400, "this is not a request of HTTP/1.1"))

    def shutdown(self) -> None:
        """End the connection, or let its answer end, when the server stops."""
        if self._phase in (_Phase.REFUSED, _Phase.ENDING):
            self.transport.close()
        elif self._is_incomplete:
            self._refuse(Refusal.STOPPING, unavailable("the server is stopping"))
            # Nothing looks at connections any more.
            self.transport.close()
        else:
            super().shutdown()

    def check(self) -> None:
        """Refuse or close the connection if it exceeds a limit of time."""
        self._check_reader()
        waited = self._all.now - self._since
        if self._phase is _Phase.HEADERS:
            # Of a pipelined request, only once the answers before it are complete.
            if self._open:
                self._since = self._all.now
            elif waited > self._limits.header_seconds:
                self._end_headers()
        elif self._phase is _Phase.BODY:
            self._check_body(waited)
        elif self._phase in (_Phase.REFUSED, _Phase.ENDING) and waited > LINGER_SECONDS:
            self.transport.close()

    @property
    def _is_incomplete(self) -> bool:
        """Whether a part of a request has arrived, and no part of its answer was sent."""
        if self._phase is _Phase.HEADERS:
            return self._has_begun and not self._open
        return self._phase is _Phase.BODY and not self.cycle.response_started

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._limits.header_bytes:
            # The parser reports an error, which is answered by `send_400_response`.
            raise ValueError("the headers are too large")

    def _encode_head(self) -> bytes:
        """Return the request line and the headers without the offer of another protocol."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version.encode())]
        for name, value in self.headers:
            kept = value
            if name == b"connection":
                tokens = (token.strip() for token in value.split(b","))
                kept = b", ".join(token for token in tokens if token.lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(b"%b: %b" % (name, kept))
        return b"\r\n".join((*lines, b"", b""))

    def _make_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # As uvicorn sets it: what follows a request that is the last of its connection is no error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _end_headers(self) -> None:
        if not self._has_begun:
            self._all.count(Refusal.SILENT)
            self.transport.close()
            return
        seconds = self._limits.header_seconds
        message = f"the headers were not complete after {seconds:g} s; send the request again"
        self._refuse(Refusal.SLOW_HEADERS, Problem(408, message))

    def _restart_body(self) -> None:
        self._since = self._all.now
        self._body_bytes = 0

    def _check_body(self, waited: float) -> None:
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            # The peer waits for the server.
            self._restart_body()
        elif waited > self._limits.body_seconds:
            if self._body_bytes < self._limits.body_rate * waited:
                message = (
                    f"the body arrived more slowly than {self._limits.body_rate:,} bytes a second; "
                    "send the request again"
                )
                self._refuse(Refusal.SLOW_BODY, Problem(408, message))
            else:
                self._restart_body()

    def _check_reader(self) -> None:
        """Close the connection if its peer reads nothing of what waits for it."""
        size = self.transport.get_write_buffer_size()
        if not size or size < self._unsent_bytes:
            self._unsent_since = self._all.now
        self._unsent_bytes = size
        if self._all.now - self._unsent_since > self._limits.unread_seconds:
            self._all.count(Refusal.UNREAD_ANSWER)
            self.transport.abort()

    def _refuse(self, refusal: Refusal, problem: Problem) -> None:
        self._all.count(refusal)
        self._answer(problem)

    def _answer(self, problem: Problem) -> None:
        """Answer in place of the application, and end the connection."""
        self._unset_keepalive_if_required()
        self._phase = _Phase.ENDING
        self._since = self._all.now
        is_next = not self._open or not (self.pipeline or self._open[0].response_started)
        self._disconnect_requests()
        if not is_next:
            # It would be read as a part of another answer.
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write(self._encode(problem))
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _disconnect_requests(self) -> None:
        """Let the application see a client that has disconnected."""
        self.pipeline.clear()
        for cycle in self._open:
            cycle.disconnected = True
            cycle.message_event.set()
            _cancel_read(cycle.scope["method"], cycle.scope["state"])
        self._open.clear()
        self.flow.resume_writing()

    def _encode(self, problem: Problem) -> bytes:
        response = problem.response()
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        return b"".join(
            (
                STATUS_LINE[problem.status],
                *lines,
                b"connection: close\r\n\r\n",
                bytes(response.body),
            )
        )


def _cancel_read(method: str, state: dict[str, Any]) -> None:
    """Cancel a request that changes nothing; the others see for themselves that the caller left.

    It may be one of many that wait for a thread, and would take the time of others.
    """
    if method in READING_METHODS and "task" in state:
        state["caller_left"] = True
        state["task"].cancel()


def _describe_refusal(refusal: Refusal | None) -> Problem:
    if refusal is Refusal.TOO_MANY_OF_ADDRESS:
        message = "your address has too many connections; close some, or try again later"
    else:
        message = "the server has too many connections; try again later"
    return unavailable(message, RETRY_SECONDS)
