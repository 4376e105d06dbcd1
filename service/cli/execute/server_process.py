"""Run the server in this process."""

from __future__ import annotations

import gc
import logging
import resource
import socket
import sys
from contextlib import suppress
from typing import Final

from energy_flow.choices import LogFormat, ServerState
from energy_flow.errors import CheckpointError, ConfigError
from energy_flow.runtime.device import resolve_device
from energy_flow.runtime.process import configure_process
from energy_flow.simulation.checkpoint import describe
from service.cli.execute.private_files import private_files
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.monitoring.log_lines import JsonLines, TextLines
from service.monitoring.log_writer import LogWriter
from service.problems import find_unusable_path, is_disk_full
from service.serving import FlowServer
from service.settings import Settings
from service.store.database import SUPERSEDED
from service.store.recovery.errors import (
    DataDirInUseError,
    RecoveryError,
    describe_full_disk,
)

OTHER_FILES: Final = 256
"""Files that a server opens besides its connections, at most."""


SWITCH_SECONDS: Final = 0.0005
"""How long a thread runs Python before one that waits gets its turn.

A step has hundreds of operations, and waits this long for each of them while another thread encodes
an answer or parses a body. So has the event loop. Python's own value is ten times as long.
"""


class AnnouncingServer(FlowServer):
    """A server that prints its address to stdout when it is ready."""

    def __init__(self, settings: Settings, address: str) -> None:
        super().__init__(settings)
        self._address = address
        self._announced = False

    async def on_tick(self, counter: int) -> bool:
        """Do the regular work of the server; called ten times a second.

        Returns:
            Whether the server must stop.
        """
        if not self._announced and self.service.state is ServerState.READY:
            self._announced = True
            # The objects that exist now live as long as the server. Without freeze, every full
            # collection examines them and delays answers by tenths of a second.
            gc.collect()
            gc.freeze()
            # The only line on stdout, so that a script can read the address.
            sys.stdout.write(f"Energy Flow listens on {self._address}\n")
            sys.stdout.flush()
        return await super().on_tick(counter)


def run(settings: Settings, bound: socket.socket) -> None:
    """Serve on a bound socket until a signal stops the server.

    Args:
        settings: of the server.
        bound: the socket.

    Raises:
        CommandFailed: the server cannot start.
    """
    with private_files():
        _run(settings, bound)


def _run(settings: Settings, bound: socket.socket) -> None:
    # Here a fault is reported in one line; later it would be an exception in the log.
    try:
        resolve_device(settings.device)
    except ConfigError as error:
        raise CommandFailed(str(error), EXIT_USAGE) from None
    try:
        if settings.model is not None:
            describe(settings.model)
    except (CheckpointError, OSError) as error:
        raise CommandFailed(f"{settings.model}: {error}", EXIT_USAGE) from None
    configure_process()
    _allow_open_files(settings.max_connections)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        server = AnnouncingServer(settings, client_url(bound))
    except ConfigError as error:
        raise CommandFailed(str(error), EXIT_USAGE) from None
    try:
        server.service.lock_data_dir()
    except DataDirInUseError as error:
        raise CommandFailed(f"the server could not start: {error}") from None
    except RecoveryError as error:
        raise CommandFailed(str(error), EXIT_USAGE) from None
    except OSError as error:
        raise CommandFailed(f"the server could not start: {_describe(error, settings)}") from None
    # uvicorn exits when the application cannot start; the reason is raised below.
    with suppress(SystemExit), LogWriter() as log:
        _set_up_log(log, settings.log_format)
        server.run(sockets=[bound])
    if server.service.is_superseded:
        raise CommandFailed(f"the server has ended: {SUPERSEDED}")
    if server.exit_code != 0:
        raise CommandFailed(f"the server could not start: {server.service.failure}")


def _allow_open_files(connections: int) -> None:
    """Let the process open files for all connections, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _describe(error: OSError, settings: Settings) -> str:
    if is_disk_full(error):
        return describe_full_disk(settings.data_dir, settings.index_url)
    return str(find_unusable_path(error) or error)


def _set_up_log(handler: logging.Handler, log_format: LogFormat) -> None:
    """Write records of this project from level INFO, those of libraries from WARNING."""
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("energy_flow", "service"):
        logging.getLogger(name).setLevel(logging.INFO)
    # uvicorn has set up its own. Its lines about the start and the end of its process say less than
    # those of the service.
    uvicorn = logging.getLogger("uvicorn")
    uvicorn.handlers.clear()
    uvicorn.propagate = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def client_url(bound: socket.socket) -> str:
    """Return the URL by which clients on this machine reach a socket."""
    host, port = bound.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"
