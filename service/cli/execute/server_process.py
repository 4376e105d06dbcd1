"""Runs the server in this process, from its socket to its last answer."""

from __future__ import annotations

import gc
import logging
import socket
import sys
from contextlib import suppress

from energy_flow.errors import CheckpointError, ConfigError
from energy_flow.runtime.device import resolve_device
from energy_flow.runtime.malloc import keep_freed
from energy_flow.simulation.checkpoint import describe
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.lifespan import State, default_config
from service.monitoring.log_lines import JsonLines
from service.monitoring.log_writer import LogWriter
from service.serving import FlowServer
from service.settings import Settings


class AnnouncingServer(FlowServer):
    """Says where it listens, once it is ready for work."""

    def __init__(self, settings: Settings, address: str) -> None:
        super().__init__(settings)
        self._address = address
        self._announced = False

    async def on_tick(self, counter: int) -> bool:
        """Looks after the server ten times a second; true ends it."""
        if not self._announced and self.service.state is State.READY:
            self._announced = True
            # What is there now stays; looking for garbage among it, over and over, would hold up
            # every answer for tenths of a second.
            gc.collect()
            gc.freeze()
            # The only line on stdout, so that a script can read the address.
            sys.stdout.write(f"Energy Flow listens on {self._address}\n")
            sys.stdout.flush()
        return await super().on_tick(counter)


def run(settings: Settings, bound: socket.socket) -> None:
    """Serves on a bound socket until a signal comes.

    Raises:
        CommandFailed: it cannot start.
    """
    # Refused here in one line; later it would be a failure in the log.
    try:
        default_config(settings)
        resolve_device(settings.device)
    except ConfigError as error:
        raise CommandFailed(str(error), EXIT_USAGE) from None
    try:
        if settings.model is not None:
            describe(settings.model)
    except (CheckpointError, OSError) as error:
        raise CommandFailed(f"{settings.model}: {error}", EXIT_USAGE) from None
    keep_freed()
    server = AnnouncingServer(settings, address_of(bound))
    # uvicorn leaves this way when the application cannot start; what it says follows below.
    with suppress(SystemExit), LogWriter() as log:
        _set_up_log(log, settings.log_format)
        server.run(sockets=[bound])
    if server.exit_code != 0:
        raise CommandFailed(f"the server could not start: {server.service.failure}")


def _set_up_log(handler: logging.Handler, log_format: str) -> None:
    """One line a message; what libraries tell only from warnings on."""
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if log_format == "json" else text)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("energy_flow", "service"):
        logging.getLogger(name).setLevel(logging.INFO)
    # Its own handlers came with its config; its words belong among the others.
    uvicorn = logging.getLogger("uvicorn")
    uvicorn.handlers.clear()
    uvicorn.propagate = True


def address_of(bound: socket.socket) -> str:
    """Where a client on this machine reaches a socket."""
    host, port = bound.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"
