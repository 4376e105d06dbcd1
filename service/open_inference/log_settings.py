"""The settings of the log, as the protocol's logging extension has them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from energy_flow.choices import unknown_name
from energy_flow.errors import Fault

MAX_VERBOSE: Final = 10
"""Largest verbose level; all levels from 1 on have the same effect."""

LOGGERS: Final = ("energy_flow", "service")

# A switch that is off silences those above it in this list.
_SWITCHES = {
    "log_info": logging.INFO,
    "log_warning": logging.WARNING,
    "log_error": logging.ERROR,
}
_FIXED = {"log_file": "", "log_format": "default"}


def read_log_settings() -> dict[str, Any]:
    """Return the settings of this process."""
    level = min(logging.getLogger(name).getEffectiveLevel() for name in LOGGERS)
    return {
        "log_file": "",
        **{name: level <= threshold for name, threshold in _SWITCHES.items()},
        "log_verbose_level": int(level <= logging.DEBUG),
        "log_format": "default",
    }


def change_log_settings(changes: Mapping[str, Any]) -> list[Fault]:
    """Change settings of this process, unless one of the changes has a fault.

    Args:
        changes: New values by name.

    Returns:
        All faults.
    """
    known = read_log_settings()
    settings = {**known, **changes}
    faults = [
        Fault((name,), f"is not known; {unknown_name(name, known)}", value)
        for name, value in changes.items()
        if name not in known
    ]
    for name, value in _FIXED.items():
        if settings[name] != value:
            message = "cannot be changed while the server runs"
            faults.append(Fault((name,), message, settings[name]))
    faults += [
        Fault((name,), "must be true or false", settings[name])
        for name in _SWITCHES
        if not isinstance(settings[name], bool)
    ]
    if changes.get("log_error") is False:
        message = "cannot be switched off: errors are always logged"
        faults.append(Fault(("log_error",), message, False))
    verbose = settings["log_verbose_level"]
    # JSON has one kind of number: 1.0 is an integer too.
    if isinstance(verbose, bool) or verbose not in range(MAX_VERBOSE + 1):
        message = f"must be an integer from 0 to {MAX_VERBOSE}"
        faults.append(Fault(("log_verbose_level",), message, verbose))
    if not faults and changes:
        level = logging.DEBUG if verbose else _find_level(settings)
        for logger in LOGGERS:
            logging.getLogger(logger).setLevel(level)
    return faults


def _find_level(settings: Mapping[str, Any]) -> int:
    return next((level for name, level in _SWITCHES.items() if settings[name]), logging.ERROR)
