"""Answers that are read from files piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class PieceStream(StreamingResponse):
    """An answer whose files are closed when it ends, also if its reader leaves before.

    Otherwise the files of a deleted run would take room on the disk until Python's next full
    garbage collection.

    Args:
        pieces: The answer; a thread of its own generates it.
        media_type: Media type of the answer.
        headers: Further headers.
    """

    def __init__(
        self,
        pieces: Generator[bytes, None, None],
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, as an ASGI application."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # A request whose caller has left is cancelled; the files are closed nevertheless.
            await asyncio.shield(asyncio.to_thread(self._close))

    def _close(self) -> None:
        # A server that is stopped at once cancels also what waits for a thread.
        with contextlib.suppress(ValueError):
            self._pieces.close()
