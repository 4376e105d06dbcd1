"""``FlowServer``: uvicorn, with a drain between the signal and the end.

A server that stops listening at once could neither say that it is not ready nor answer those who
read what is already there. This one goes on answering while running work gets its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from types import FrameType

import uvicorn

from service.app import create_app
from service.lifespan import Service, State
from service.settings import Settings

# For answers that are under way when everything behind them has stopped.
CLOSING_SECONDS = 5

# How long a connection may rest between two requests. Clients give theirs up after 5 (httpx) to 60
# seconds (proxies); whoever does so first must not be the server, or it closes a connection in the
# moment in which a request is on its way.
RESTING_SECONDS = 75


class FlowServer(uvicorn.Server):
    """One server; the first SIGTERM or SIGINT drains it, the second ends it at once.

    Attributes:
        service: what it serves.
    """

    def __init__(self, settings: Settings) -> None:
        app = create_app(settings)
        self.service: Service = app.state.service
        self._stop_asked = False
        self._draining: asyncio.Task[None] | None = None
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                lifespan="on",
                # The application logs requests itself, with their ids and times.
                access_log=False,
                timeout_keep_alive=RESTING_SECONDS,
                timeout_graceful_shutdown=CLOSING_SECONDS,
            )
        )

    @property
    def exit_code(self) -> int:
        """0 after a clean stop; 1 when it could not start."""
        return 1 if not self.started or self.service.state is State.FAILED else 0

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until it is told to stop; see :attr:`exit_code`."""
        # uvicorn ends the process where the application does not start.
        with contextlib.suppress(SystemExit):
            super().run(sockets)

    def ask_to_stop(self) -> None:
        """Drains, then stops; from any thread."""
        self._stop_asked = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Takes a signal."""
        if self._stop_asked:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
        self.ask_to_stop()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: sees whether to drain, and whether to stop."""
        if self._stop_asked and self._draining is None:
            self._draining = asyncio.create_task(self.service.drain())
        drained = self._draining is not None and self._draining.done()
        if drained or self.service.state is State.FAILED:
            self.should_exit = True
        return await super().on_tick(counter)
