"""``StoredFile``: an answer with a stored file, whole or in ranges."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, Final

import anyio
import anyio.to_thread
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from service.api.byte_ranges import correct_ranges
from service.api.piece_stream import ending_at_damage
from service.problems import Problem
from service.store.verification.piece_digests import PIECE_BYTES
from service.store.verification.verified_file import VerifiedFile

CHUNK_BYTES: Final = 4 * PIECE_BYTES
"""Bytes that are sent at once; a caller that does not read keeps some three times as many."""


class StoredFile(FileResponse):
    """An answer with a stored file; a range that it does not have is refused as a problem.

    Bytes that have changed on the disk are not sent: the answer ends before them.

    Args:
        file: The file. Of a verified one, each part is compared with its digests when it is read.
        media_type: Its media type.
        headers: Further headers.
        filename: Name for those who save it.
        stat_result: What the system reports of it, if that is known.
    """

    chunk_size = CHUNK_BYTES

    def __init__(
        self,
        file: VerifiedFile | Path,
        *,
        media_type: str,
        headers: dict[str, str] | None = None,
        filename: str | None = None,
        stat_result: os.stat_result | None = None,
    ) -> None:
        self._file = file
        super().__init__(
            file.path if isinstance(file, VerifiedFile) else file,
            headers=headers,
            media_type=media_type,
            filename=filename,
            stat_result=stat_result,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, as an ASGI application."""
        if self.stat_result is None:
            self.stat_result = await anyio.to_thread.run_sync(self._stat)
            self.set_stat_headers(self.stat_result)
        refused: Message | None = None

        async def send_if_valid(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused = message
            if refused is None:
                await send(message)

        corrected = correct_ranges(scope, self.stat_result.st_size)
        with ending_at_damage():
            await super().__call__(corrected, receive, send_if_valid)
        if refused is not None:
            size = self.headers["content-length"]
            message = f"the file has {int(size):,} bytes, and the header Range selects none of them"
            headers = {"Content-Range": f"bytes */{size}"}
            await Problem(416, message, headers=headers)(scope, receive, send)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[Any]:
        """Open the file for the methods of the library, which read it with this one alone."""
        file = await anyio.to_thread.run_sync(self._open)
        try:
            yield anyio.wrap_file(file)
        finally:
            # A request whose caller has left is cancelled; the file is closed nevertheless.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(file.close)

    def _open(self) -> IO[bytes]:
        return self._file.open() if isinstance(self._file, VerifiedFile) else self._file.open("rb")

    def _stat(self) -> os.stat_result:
        if not isinstance(self._file, VerifiedFile):
            return self._file.stat()
        # It may have been removed since it was verified.
        with self._file.explaining():
            return self._file.path.stat()
