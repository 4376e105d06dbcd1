"""``FlowServer``: uvicorn, with a drain between the signal and the end.

While the server drains, it reports that it is not ready, answers requests for stored results, and
gives running work time to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from types import FrameType
from typing import Final

import uvicorn

from energy_flow.choices import ServerState
from energy_flow.engine import Executor
from service.app import create_app
from service.lifespan import DEFAULT_LIMITS, Service, ServiceLimits
from service.serving.connections import Connections, Refusal, ServerConnections
from service.serving.limits import ConnectionLimits
from service.serving.protocol import LimitedProtocol
from service.settings import Settings

SHUTDOWN_SECONDS: Final = 5
"""Time for answers in progress after everything else has stopped."""

KEEP_ALIVE_SECONDS: Final = 75
"""How long a connection may be idle.

Clients close idle connections after 5 (httpx) to 60 seconds (proxies). If the server did so first,
it could close a connection on which a request is arriving.
"""


class FlowServer(uvicorn.Server):
    """A server; the first SIGTERM or SIGINT drains it, the second stops it at once.

    Attributes:
        service: The service behind the application.

    Args:
        settings: The server's settings.
        limits: The server's other limits.
        executor: Carries out work, and has not been started; by default an engine in this process.
    """

    def __init__(
        self,
        settings: Settings,
        limits: ServiceLimits = DEFAULT_LIMITS,
        executor: Executor | None = None,
    ) -> None:
        app = create_app(settings, limits, executor)
        self.service: Service = app.state.service
        instruments = self.service.instruments
        self._connections = Connections(
            ConnectionLimits.of(settings, limits), instruments.connection_refused
        )
        instruments.watch_connections(lambda: len(self._connections), tuple(Refusal))
        self._stop_requested = False
        self._draining: asyncio.Task[None] | None = None
        self._ends_work = False
        self._ending_work: asyncio.Task[None] | None = None
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=LimitedProtocol,
                lifespan="on",
                # Also for answers to what is no HTTP. Browsers must not guess what an answer is.
                headers=[("X-Content-Type-Options", "nosniff")],
                # There are no routes for it.
                ws="none",
                # The application logs requests itself, with their ids and times.
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self.server_state = ServerConnections(self._connections)

    @property
    def exit_code(self) -> int:
        """0 after a clean stop; 1 if the server could not start."""
        return 1 if not self.started or self.service.state is ServerState.FAILED else 0

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal or :meth:`request_stop`.

        Args:
            sockets: Sockets that are already bound.
        """
        # uvicorn exits the process if the application does not start.
        with contextlib.suppress(SystemExit):
            super().run(sockets)

    def request_stop(self) -> None:
        """Drain, then stop; callable from any thread."""
        self._stop_requested = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: the second SIGINT ends running work, another one everything."""
        if self._stop_requested and sig == signal.SIGINT and not self._ends_work:
            self._ends_work = True
            return
        if self._stop_requested:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
        self.request_stop()

    async def on_tick(self, counter: int) -> bool:
        """Check connections, drain or stop; uvicorn calls this ten times a second."""
        self._connections.sweep()
        ends = self._stop_requested or self.service.is_superseded
        if ends and self._draining is None:
            self._draining = asyncio.create_task(self.service.drain())
        if self._ends_work and self._ending_work is None:
            self._ending_work = asyncio.create_task(self.service.end_running_work())
        is_drained = self._draining is not None and self._draining.done()
        if is_drained or self.service.state is ServerState.FAILED:
            self.should_exit = True
        return await super().on_tick(counter)
