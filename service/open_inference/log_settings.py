"""What is logged, as the protocol's logging extension shows it and sets it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from energy_flow.errors import Fault

MOST_VERBOSE = 10
"""Levels from 1 on are one and the same."""

LOGGERS = ("energy_flow", "service")

# Off, so is everything above it in this list.
_SWITCHES = {
    "log_info": logging.INFO,
    "log_warning": logging.WARNING,
    "log_error": logging.ERROR,
}
_FIXED = {"log_file": "", "log_format": "default"}


def log_settings() -> dict[str, Any]:
    """As they are now, for the whole process."""
    level = min(logging.getLogger(name).getEffectiveLevel() for name in LOGGERS)
    return {
        "log_file": "",
        **{name: level <= threshold for name, threshold in _SWITCHES.items()},
        "log_verbose_level": int(level <= logging.DEBUG),
        "log_format": "default",
    }


def set_logging(changes: Mapping[str, Any]) -> list[Fault]:
    """Changes settings, all of them or, if there are faults, none."""
    wanted = {**log_settings(), **changes}
    faults = [
        Fault((name,), f"is not known; known are {', '.join(log_settings())}", value)
        for name, value in changes.items()
        if name not in log_settings()
    ]
    for name, value in _FIXED.items():
        if wanted[name] != value:
            faults.append(Fault((name,), "cannot be changed while the server runs", wanted[name]))
    faults += [
        Fault((name,), "must be true or false", wanted[name])
        for name in _SWITCHES
        if not isinstance(wanted[name], bool)
    ]
    verbose = wanted["log_verbose_level"]
    # JSON has one sort of number: 1.0 is an integer there.
    if isinstance(verbose, bool) or verbose not in range(MOST_VERBOSE + 1):
        said = f"must be an integer from 0 to {MOST_VERBOSE}"
        faults.append(Fault(("log_verbose_level",), said, verbose))
    if not faults and changes:
        level = logging.DEBUG if verbose else _level(wanted)
        for logger in LOGGERS:
            logging.getLogger(logger).setLevel(level)
    return faults


def _level(wanted: Mapping[str, Any]) -> int:
    for name, threshold in _SWITCHES.items():
        if wanted[name]:
            return threshold
    return logging.CRITICAL
