"""Query parameters: how many there may be, and those that are not known."""

from __future__ import annotations

from collections.abc import Collection, Sized
from typing import Final

from energy_flow.choices import unknown_name
from energy_flow.errors import Fault
from service.problems import Problem

MAX_PARAMETERS: Final = 100
"""Most query parameters of different names. For each that is not known, similar names are found."""


def check_parameter_count(query: Sized) -> None:
    """Refuse more than :data:`MAX_PARAMETERS` query parameters.

    Args:
        query: The parameters by name.

    Raises:
        Problem: 413, there are more.
    """
    if len(query) > MAX_PARAMETERS:
        message = f"the request has more than {MAX_PARAMETERS} query parameters"
        raise Problem(413, f"{message}, the most that are read")


def unknown_parameter(name: str, value: str, known: Collection[str] = ()) -> Fault:
    """Return the fault of a query parameter that is not known.

    Args:
        name: The name that was given.
        value: Its value.
        known: The names that are known.
    """
    hint = f"; {unknown_name(name, sorted(known))}" if known else ""
    return Fault((name,), f"is not a query parameter here{hint}", value)
