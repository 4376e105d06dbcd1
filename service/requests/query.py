"""Query parameters: how many there may be, and those that are not known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sized
from typing import Final

from energy_flow.choices import unknown_name
from energy_flow.errors import Fault
from service.problems import Problem, invalid

MAX_PARAMETERS: Final = 100
"""Most query parameters of different names. For each that is not known, similar names are found."""


COLUMN: Final = "column"
"""The parameter that names the column of the embeddings in a file."""


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


FORMAT: Final = "format"
"""The parameter that names the format of a file."""


def take_parameter(
    query: Mapping[str, list[str]], name: str
) -> tuple[str | None, dict[str, list[str]]]:
    """Return the value of a parameter about a file, and the other parameters.

    Args:
        query: All values of each parameter.
        name: Name of the parameter.

    Raises:
        Problem: 422, it is given twice.
    """
    rest = dict(query)
    values = rest.pop(name, [])
    if len(values) > 1:
        raise invalid([Fault((name,), "may be given once", values)])
    return (values[0] if values else None), rest


def unknown_parameter(name: str, value: str, known: Collection[str] = ()) -> Fault:
    """Return the fault of a query parameter that is not known.

    Args:
        name: The name that was given.
        value: Its value.
        known: The names that are known.
    """
    hint = f"; {unknown_name(name, sorted(known))}" if known else ""
    return Fault((name,), f"is not a query parameter here{hint}", value)
