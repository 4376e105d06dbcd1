"""The settings of the server, from options and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.settings_table import SETTINGS

if TYPE_CHECKING:
    from service.settings import Settings


def read_settings(flags: Mapping[str, Any]) -> Settings:
    """Return the settings; options win over the environment.

    Args:
        flags: values of options by the name of their setting; ``None`` where one is not given.

    Raises:
        CommandFailed: a value is refused.
    """
    from pydantic import ValidationError

    from service.settings import Settings

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = "; ".join(_describe_fault(fault, given) for fault in error.errors())
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
