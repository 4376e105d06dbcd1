"""With which version and arithmetic runs are computed, and what to state where they differ.

A number of the arithmetic belongs to a precision; see :func:`energy_flow.choices.arithmetic_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from energy_flow.choices import Precision, arithmetic_of
from service.store.tables import ExperimentRow, RunRow


@cache
def installed_version() -> str:
    """Return the version of the package."""
    return version("energy-flow")


def find_arithmetic(config: Mapping[str, Any], request: Mapping[str, Any]) -> int:
    """Return the arithmetic with which this version computes a run.

    Args:
        config: Config of the run, as its row has it.
        request: Request of the run, as its row has it; a training has a precision of its own there.
    """
    training = request.get("training") or {}
    return arithmetic_of(Precision(training.get("precision") or config["precision"]))


def describe_origin(row: RunRow | ExperimentRow) -> str:
    """Return the version and the arithmetic of a run or an experiment, for people."""
    return f"{describe_version(row.version)}, arithmetic {row.arithmetic}"


def describe_version(number: str | None) -> str:
    """Return the name of a version for people.

    Args:
        number: The version; ``None`` if it is not known.
    """
    return "an unknown version" if number is None else f"version {number}"


def note_on_replay(row: RunRow) -> str | None:
    """Return what to state of a replay by this version, if it has another arithmetic.

    Args:
        row: Row of the run.
    """
    own = find_arithmetic(row.config, row.request)
    if row.arithmetic == own:
        return None
    return (
        f"computed by {describe_origin(row)}; this server computes with arithmetic {own}, "
        "so bits can differ"
    )


def note_on_comparison(a: RunRow, b: RunRow) -> str | None:
    """Return what to state of a comparison, if the two runs have different arithmetics.

    Args:
        a: Row of the first run.
        b: Row of the second run.
    """
    if a.arithmetic == b.arithmetic:
        return None
    return (
        f"run a was computed by {describe_origin(a)}, run b by {describe_origin(b)}, "
        "so bits can differ"
    )
