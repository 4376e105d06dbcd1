"""``energy-flow serve``: run the server on one socket until a signal stops it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.cli.input.failures import EXIT_USAGE, CommandFailed, needing_extra
from service.cli.input.setting_options import settings_signature
from service.settings_table import SETTINGS

if TYPE_CHECKING:
    from service.settings import Settings


def serve(**flags: Any) -> None:
    """Run the server until SIGTERM or SIGINT, then let running work finish.

    Each setting is also an environment variable: --data-dir is ENERGY_FLOW_DATA_DIR, and so on.
    The option wins over the variable.
    """
    with needing_extra("server", "serve"):
        from service.cli.execute import server_process
    settings = _read_settings({name: value for name, value in flags.items() if value is not None})
    with _listen(settings.host, settings.port) as bound:
        server_process.run(settings, bound)


serve.__signature__ = settings_signature()  # type: ignore[attr-defined]


def _read_settings(flags: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings(**flags)
    except ValidationError as error:
        faults = "; ".join(_describe_fault(fault, flags) for fault in error.errors())
        raise CommandFailed(faults, EXIT_USAGE) from None


def _describe_fault(fault: Mapping[str, Any], flags: Mapping[str, Any]) -> str:
    """Return one line that names the option or the variable that holds the faulty value."""
    from energy_flow.config.messages import describe_error

    message = describe_error(fault)
    if fault["type"] != "value_error":
        message = f"{message} (got {fault['input']!r})"
    for setting in SETTINGS:
        if setting.name in fault["loc"][:1]:
            return f"{setting.flag if setting.name in flags else setting.variable}: {message}"
    return message


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
