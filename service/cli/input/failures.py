"""How a command fails: one clear line and an exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

SERVER_EXTRA = "pip install 'energy-flow[server]'"


class CommandFailed(Exception):
    """A command cannot do what it was asked to; the message is for the person who asked."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@contextmanager
def needing_server_extra(what: str) -> Iterator[None]:
    """Imports of packages that the plain installation may lack.

    Raises:
        CommandFailed: one of them is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("energy_flow", "service", ""):
            raise
        raise CommandFailed(
            f"{what} needs more than the plain package ({missing} is missing); "
            f"install energy-flow[server]: {SERVER_EXTRA}"
        ) from None
