"""``StoredFile``: an answer with a stored file, whole or in ranges."""

from __future__ import annotations

from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from service.problems import Problem


class StoredFile(FileResponse):
    """An answer with a stored file; a range that it does not have is refused as a problem."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, as an ASGI application."""
        refused: Message | None = None

        async def send_if_valid(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, send_if_valid)
        if refused is not None:
            size = self.headers["content-length"]
            message = f"the file has {int(size):,} bytes, and the header Range selects none of them"
            headers = {"Content-Range": f"bytes */{size}"}
            await Problem(416, message, headers=headers)(scope, receive, send)
