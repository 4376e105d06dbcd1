"""How a command fails: with one clear line and an exit code, without a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from energy_flow.choices import unknown_name

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CommandFailed(Exception):
    """The command failed; the message is printed for the user.

    Args:
        message: what is wrong and what to do next.
        exit_code: of the process.
    """

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        self.exit_code = exit_code
        super().__init__(message)


def check_choice(flag: str, value: str, known: Iterable[str]) -> None:
    """Refuse a value that is not in a closed list.

    Args:
        flag: the option, such as ``--format``.
        value: the value that was given.
        known: the values that exist.

    Raises:
        CommandFailed: the value does not exist; the message names those that do.
    """
    names = list(known)
    if value not in names:
        raise CommandFailed(f"{flag} cannot be '{value}'; {unknown_name(value, names)}", EXIT_USAGE)


def require_file(path: Path) -> None:
    """Refuse a path that is not that of a file.

    Args:
        path: the path that was given.

    Raises:
        CommandFailed: there is no file.
    """
    if path.is_dir():
        raise CommandFailed(f"{path} is a folder, not a file; check its path")
    if path.is_fifo():
        raise CommandFailed(f"{path} is a pipe; write what it gives to a file, and name the file")
    if not path.is_file():
        raise CommandFailed(f"file {path} does not exist; check its path")


@contextmanager
def needing_extra(extra: str, what: str) -> Iterator[None]:
    """Import packages that the plain installation may lack.

    Args:
        extra: the extra of ``energy-flow`` that installs them.
        what: what they are needed for.

    Raises:
        CommandFailed: one of them is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("energy_flow", "service", ""):
            raise
        raise _missing(missing, extra, what) from None


def require_package(package: str, extra: str, what: str) -> None:
    """Refuse to continue without a package, which is not imported.

    Args:
        package: the package.
        extra: the extra of ``energy-flow`` that installs it.
        what: what it is needed for.

    Raises:
        CommandFailed: the package is missing.
    """
    try:
        is_there = find_spec(package) is not None
    except ValueError:
        # So is a package of which Python knows already that it cannot be imported.
        is_there = False
    if not is_there:
        raise _missing(package, extra, what)


def _missing(package: str, extra: str, what: str) -> CommandFailed:
    return CommandFailed(
        f"{what} needs the package {package}; install it with: pip install 'energy-flow[{extra}]'"
    )
