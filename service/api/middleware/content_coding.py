"""``ContentCoding``: decodes compressed bodies, and compresses answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from energy_flow.choices import TraceFormat
from service.content_codings import CODINGS, Decoder, Encoder, choose_coding, make_encoder
from service.media_types import EVENT_STREAM, PNG
from service.problems import Problem
from service.threads import Threads, in_thread

ACCEPTED: Final = ", ".join(CODINGS)
"""Names of the codings, as a header has them."""

SMALL_BYTES: Final = 1024
"""Smaller answers are sent as they are."""

QUICK_BYTES: Final = 64 * 1024
"""Larger pieces are compressed in a thread, which the event loop does not wait for."""

_LARGE_BODY_BYTES = 2**20
# The status of a coding that is not known; the Open Inference Protocol has its own.
_UNKNOWN_CODING_STATUS = {"/v1/": 415, "/v2/": 501}
# They are compressed already, or each event must arrive at once.
_AS_THEY_ARE = (TraceFormat.PARQUET.media_type, PNG, EVENT_STREAM)


class ContentCoding:
    """Middleware that decodes bodies with ``Content-Encoding``, and compresses answers.

    The application gets bodies without their coding. Answers are compressed if
    ``Accept-Encoding`` names one coding alone. Stored files, which have an ETag and can be read in
    ranges, are sent as they are.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        status = _UNKNOWN_CODING_STATUS.get(scope.get("path", "")[:4])
        if scope["type"] != "http" or status is None:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        coding = headers.get("content-encoding", "").strip().lower()
        if coding not in ("", "identity"):
            if coding not in CODINGS:
                message = f"Content-Encoding {coding!r} is not known; known are {ACCEPTED}"
                problem = Problem(status, message, headers={"Accept-Encoding": ACCEPTED})
                await problem(scope, receive, send)
                return
            receive = _DecodedBody(receive, coding)
            decoded = MutableHeaders(raw=list(scope["headers"]))
            del decoded["content-encoding"]
            # The length of the decoded body is not known.
            del decoded["content-length"]
            scope["headers"] = decoded.raw
        wanted = choose_coding(headers.get("accept-encoding", ""))
        await self.app(scope, receive, _EncodedAnswer(send, wanted))


class _DecodedBody:
    """Receives the decoded body, a piece at a time."""

    def __init__(self, receive: Receive, coding: str) -> None:
        self._receive = receive
        self._decoder = Decoder(coding)
        self._pieces: Iterator[bytes] = iter(())
        self._has_more = True
        self._turn_bytes = 0

    async def __call__(self) -> Message:
        while True:
            piece = next(self._pieces, None)
            if piece is not None:
                await self._give_way(len(piece))
                return {"type": "http.request", "body": piece, "more_body": True}
            if not self._has_more:
                self._decoder.finish()
                # From now on, only a disconnect is received.
                self._has_more = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._has_more = message.get("more_body", False)
            self._pieces = self._decoder.decode(message.get("body", b""))

    async def _give_way(self, decoded: int) -> None:
        self._turn_bytes += decoded
        if self._turn_bytes >= _LARGE_BODY_BYTES:
            self._turn_bytes = 0
            await asyncio.sleep(0)


class _EncodedAnswer:
    """Sends an answer, compressed if the caller wants it and if that may help."""

    def __init__(self, send: Send, coding: str | None) -> None:
        self._send = send
        self._coding = coding
        self._start: Message | None = None
        self._encoder: Encoder | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if not _can_be_compressed(message["status"], headers):
                self._coding = None
            else:
                headers.add_vary_header("Accept-Encoding")
            if self._coding is None:
                await self._send(message)
            else:
                self._start = message
            return
        if self._coding is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        body, has_more = message.get("body", b""), message.get("more_body", False)
        if self._start is not None:
            start, self._start = self._start, None
            if not has_more and len(body) < SMALL_BYTES:
                self._coding = None
                await self._send(start)
                await self._send(message)
                return
            headers = MutableHeaders(scope=start)
            headers["Content-Encoding"] = self._coding
            del headers["Content-Length"]
            self._encoder = make_encoder(self._coding)
            await self._send(start)
        assert self._encoder is not None
        encoder = self._encoder
        if len(body) > QUICK_BYTES:
            encoded = await in_thread(Threads.BODIES, encoder.compress, body)
        else:
            encoded = encoder.compress(body)
        if not has_more:
            encoded += encoder.flush()
        if encoded or not has_more:
            await self._send({**message, "body": encoded})


def _can_be_compressed(status: int, headers: Headers) -> bool:
    media_type = headers.get("content-type", "").partition(";")[0]
    is_stored_file = "etag" in headers or "content-range" in headers
    return status not in (204, 304) and not is_stored_file and media_type not in _AS_THEY_ARE
