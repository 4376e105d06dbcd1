"""``energy-flow serve``: run the server on one socket until a signal stops it."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from service.cli.execute.private_files import private_files
from service.cli.input.failures import EXIT_USAGE, CommandFailed, needing_extra
from service.cli.input.read_settings import read_settings
from service.cli.input.setting_options import settings_signature

if TYPE_CHECKING:
    from service.settings import Settings


def serve(**flags: Any) -> None:
    """Run the server until SIGTERM or SIGINT, then let running work finish.

    Each setting is also an environment variable: --data-dir is ENERGY_FLOW_DATA_DIR, and so on.
    The option wins over the variable.
    """
    # All that can be refused without torch is refused before its import, which takes seconds.
    with needing_extra("server", "serve"):
        settings = read_settings(flags)
    _check_model(settings)
    with _listen(settings.host, settings.port) as bound:
        _check_data_dir(settings)
        with needing_extra("server", "serve"):
            from service.cli.execute import server_process
        server_process.run(settings, bound)


serve.__signature__ = settings_signature()  # type: ignore[attr-defined]


def _check_model(settings: Settings) -> None:
    from energy_flow.errors import ConfigError
    from service.settings import default_config

    try:
        default_config(settings)
    except ConfigError as error:
        raise CommandFailed(str(error), EXIT_USAGE) from None
    if settings.model is not None and not settings.model.exists():
        raise CommandFailed(f"there is no checkpoint {settings.model}; check --model", EXIT_USAGE)


def _check_data_dir(settings: Settings) -> None:
    """Make the data directory, and refuse one that cannot be used and a server without a key."""
    from service.store.keys.access import OpenAddressError, check_access
    from service.store.recovery.errors import RecoveryError

    folder = settings.data_dir
    try:
        if folder.exists() and not folder.is_dir():
            raise CommandFailed(f"{folder} is a file, not a folder; choose another --data-dir")
        with private_files():
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(
            f"folder {folder} cannot be created: {error.strerror}; choose another --data-dir"
        ) from None
    try:
        check_access(settings)
    except (OpenAddressError, RecoveryError) as error:
        raise CommandFailed(str(error), EXIT_USAGE) from None


def _listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; binding first refuses a port in use before a model is made."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise CommandFailed(f"cannot listen on {host}: {error.strerror}; check --host") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        advice = "choose another port, or --port 0 for a free one"
        if error.errno == errno.EADDRINUSE:
            advice = (
                f"if an Energy Flow server is running there already, use it; otherwise {advice}"
            )
        raise CommandFailed(
            f"cannot listen on {host}, port {port}: {error.strerror}; {advice}"
        ) from None
    return bound
