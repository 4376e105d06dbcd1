"""The points of a sweep: pure functions from a request to the values of each trial."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from energy_flow.choices import unknown_name
from energy_flow.errors import Fault
from service.experiments.swept_fields import OF_A_RUN, SweptFields
from service.schemas.experiment import Sweep
from service.store.list_entries import option_value

MAX_TRIALS = 10_000

MAX_INTEGER = 2**63
"""Largest end of a range of integers; no field has larger ones."""
MAX_NUMBER = 1e300
"""Largest end of a range, whose length is a number too."""

_RANGE_MEMBERS = ("low", "high", "log")

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of the swept fields.

    Attributes:
        parameters: Values by dotted field.
        places: Index of each value in the list of its field; ``None`` if it was drawn from a range.
    """

    parameters: Parameters
    places: Mapping[str, int | None]


def swept_fields(sweep: Sweep | None) -> tuple[str, ...]:
    """Return the dotted names of the fields, in the order of the request."""
    if sweep is None:
        return ()
    return tuple(sweep.grid if sweep.grid is not None else sweep.random or {})


def points(sweep: Sweep | None, swept: SweptFields = OF_A_RUN) -> Iterator[Point]:
    """Yield the points of a sweep without faults, in order; one without fields for no sweep.

    The last field of a grid varies fastest. The points of a random sweep follow from its seed.

    Args:
        sweep: The sweep, if there is one.
        swept: The fields that a sweep may vary.
    """
    if sweep is None:
        yield Point({}, {})
    elif sweep.grid is not None:
        fields = sweep.grid
        for combination in product(*(enumerate(values) for values in fields.values())):
            yield Point(
                {field: value for field, (_, value) in zip(fields, combination, strict=True)},
                {field: place for field, (place, _) in zip(fields, combination, strict=True)},
            )
    else:
        # Python guarantees the same sequence for a seed only for random().
        chance = random.Random(sweep.seed)
        for _ in range(sweep.count or 0):
            drawn = {
                field: _draw(swept.number(field), choice, chance.random())
                for field, choice in (sweep.random or {}).items()
            }
            yield Point(
                {field: value for field, (value, _) in drawn.items()},
                {field: place for field, (_, place) in drawn.items()},
            )


def count_points(sweep: Sweep | None) -> int:
    """Return the number of points without making them."""
    if sweep is None:
        return 1
    if sweep.grid is not None:
        return math.prod(len(values) for values in sweep.grid.values())
    return sweep.count or 0


def find_equal_points(sweep: Sweep | None, swept: SweptFields = OF_A_RUN) -> list[Fault]:
    """Return faults of points that are the same as others.

    Args:
        sweep: A sweep without other faults.
        swept: The fields that a sweep may vary.

    Returns:
        Of a grid, a fault for each value that its field has twice; of a random sweep, one fault
        that names the first equal points.
    """
    if sweep is None:
        return []
    if sweep.grid is not None:
        return [
            Fault(("sweep", "grid", field, place), "is there twice; name each value once", value)
            for field, values in sweep.grid.items()
            for place, value in enumerate(values)
            if option_value(value) in map(option_value, values[:place])
        ]
    first: dict[tuple[str, ...], int] = {}
    equal: list[tuple[int, int, Parameters]] = []
    for number, point in enumerate(points(sweep, swept)):
        key = tuple(map(option_value, point.parameters.values()))
        if key in first:
            equal.append((first[key], number, point.parameters))
        first.setdefault(key, number)
    if not equal:
        return []
    before, number, parameters = equal[0]
    values = ", ".join(f"{field} = {value}" for field, value in parameters.items())
    message = (
        f"draws {len(equal)} points that it has drawn before: {before} and {number} both have "
        f"{values}; lower count, draw from wider ranges, or use a grid"
    )
    return [Fault(("sweep", "count"), message, sweep.count)]


def find_faults(sweep: Sweep | None, swept: SweptFields = OF_A_RUN) -> list[Fault]:
    """Return the faults of a sweep itself, without those of the configs that it makes.

    Args:
        sweep: The sweep, if there is one.
        swept: The fields that a sweep may vary.
    """
    if sweep is None:
        return []
    faults = _find_form_faults(sweep)
    kind = "grid" if sweep.grid is not None else "random"
    choices = sweep.grid if sweep.grid is not None else sweep.random
    for field, choice in (choices or {}).items():
        where = ("sweep", kind, field)
        if field not in swept.known:
            message = f"is no field that can be swept; {unknown_name(field, swept.known)}"
            faults.append(Fault(where, message, field))
        elif isinstance(choice, list):
            if not choice:
                faults.append(Fault(where, "must have at least one value", choice))
        elif kind == "grid":
            faults.append(Fault(where, "must be a list of values", choice))
        else:
            faults += _find_range_faults(where, swept.number(field), choice)
    return faults


def _find_form_faults(sweep: Sweep) -> list[Fault]:
    faults = []
    if (sweep.grid is None) == (sweep.random is None):
        faults.append(Fault(("sweep",), "must have either grid or random", _given(sweep)))
    elif sweep.grid is not None and sweep.count is not None:
        faults.append(Fault(("sweep", "count"), "belongs to a random sweep", sweep.count))
    elif sweep.random is not None and sweep.count is None:
        faults.append(Fault(("sweep", "count"), "is required for a random sweep", None))
    if sweep.grid == {} or sweep.random == {}:
        faults.append(Fault(("sweep",), "must name at least one field", {}))
    return faults


def _given(sweep: Sweep) -> list[str]:
    return [name for name in ("grid", "random") if getattr(sweep, name) is not None]


def _find_range_faults(
    where: tuple[str, ...], number: type[int] | type[float] | None, choice: Any
) -> list[Fault]:
    if not isinstance(choice, Mapping):
        return [Fault(where, "must be a list of values, or low and high", choice)]
    unknown = sorted(set(choice) - set(_RANGE_MEMBERS))
    faults = [
        Fault((*where, name), f"is unknown; {unknown_name(name, _RANGE_MEMBERS)}", choice[name])
        for name in unknown
    ]
    low: Any = choice.get("low")
    high: Any = choice.get("high")
    log = choice.get("log", False)
    if number is None:
        return [*faults, Fault(where, "is no number; give a list of values instead", choice)]
    for name, value in (("low", low), ("high", high)):
        if not _is_number(value):
            faults.append(Fault((*where, name), "must be a finite number", value))
    if not isinstance(log, bool):
        faults.append(Fault((*where, "log"), "must be true or false", log))
    if faults:
        return faults
    most = MAX_INTEGER if number is int else MAX_NUMBER
    faults += [
        Fault((*where, name), f"must be from {-most:g} to {most:g}", value)
        for name, value in (("low", low), ("high", high))
        if abs(value) > most
    ]
    if faults:
        return faults
    if low > high:
        faults.append(Fault((*where, "low"), f"must be at most high = {high}", low))
    if log and low <= 0:
        faults.append(Fault((*where, "low"), "must be above 0 if log is true", low))
    if number is int and not (float(low).is_integer() and float(high).is_integer()):
        faults.append(Fault(where, "is a field of integers; low and high must be integers", choice))
    return faults


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # No integer is infinite, but one of hundreds of digits is no float.
    return isinstance(value, int) or math.isfinite(value)


def _draw(
    number: type[int] | type[float] | None, choice: Any, uniform: float
) -> tuple[Any, int | None]:
    """Return the value for a number ``uniform`` in [0, 1), and its index if it is one of a list."""
    if isinstance(choice, list):
        place = int(uniform * len(choice))
        return choice[place], place
    low, high = choice["low"], choice["high"]
    integer = number is int
    # Each integer has the same share of the range, also those at the ends.
    first, last = (low - 0.5, high + 0.5) if integer else (low, high)
    if choice.get("log", False):
        drawn = math.exp(math.log(first) + uniform * (math.log(last) - math.log(first)))
    else:
        drawn = first + uniform * (last - first)
    # Rounding can exceed the ends a little.
    if integer:
        return min(max(math.floor(drawn + 0.5), int(low)), int(high)), None
    return min(max(drawn, float(low)), float(high)), None
