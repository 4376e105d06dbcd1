"""Answers that are read from files piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Generator, Iterator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.problems import DamagedFile, UnusablePath

log = logging.getLogger(__name__)


@contextlib.contextmanager
def ending_at_damage() -> Iterator[None]:
    """Send an answer within a block, which ends where a file is damaged.

    It cannot be refused any more. The server closes the connection of an answer without an end.
    """
    try:
        yield
    except (DamagedFile, UnusablePath) as problem:
        log.error("an answer that had begun is cut off: %s", problem)


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
            with ending_at_damage():
                await super().__call__(scope, receive, send)
        finally:
            # A request whose caller has left is cancelled; the files are closed nevertheless.
            await asyncio.shield(asyncio.to_thread(self._close))

    def _close(self) -> None:
        # A server that is stopped at once cancels also what waits for a thread.
        with contextlib.suppress(ValueError):
            self._pieces.close()
