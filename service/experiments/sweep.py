"""A sweep's points: pure functions from what was asked to the values of each trial."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from energy_flow.errors import Fault
from service.experiments.schemas import Sweep
from service.experiments.swept_fields import OF_A_RUN, SweptFields

MOST_TRIALS = 10_000

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of the swept fields.

    Attributes:
        parameters: values by dotted field.
        places: of each value among those that were listed for its field; none where it was drawn.
    """

    parameters: Parameters
    places: Mapping[str, int | None]


def swept_fields(sweep: Sweep | None) -> tuple[str, ...]:
    """The dotted names of the fields, in the order in which they were given."""
    if sweep is None:
        return ()
    return tuple(sweep.grid if sweep.grid is not None else sweep.random or {})


def points(sweep: Sweep | None, swept: SweptFields = OF_A_RUN) -> Iterator[Point]:
    """All points of a sweep without faults, in order; one without fields where there is none.

    A grid's last field varies fastest. A random sweep's points follow from its seed alone.
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
        # Of Python's generator the random() of a seed never changes; its other methods may.
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
    """How many points there are, without making them."""
    if sweep is None:
        return 1
    if sweep.grid is not None:
        return math.prod(len(values) for values in sweep.grid.values())
    return sweep.count or 0


def faults_of(sweep: Sweep | None, swept: SweptFields = OF_A_RUN) -> list[Fault]:
    """What is wrong with a sweep itself, before any config is looked at."""
    if sweep is None:
        return []
    faults = _faults_of_form(sweep)
    kind = "grid" if sweep.grid is not None else "random"
    choices = sweep.grid if sweep.grid is not None else sweep.random
    for field, choice in (choices or {}).items():
        where = ("sweep", kind, field)
        if field not in swept.known:
            said = f"is no field that can be swept; known are {', '.join(swept.known)}"
            faults.append(Fault(where, said, field))
        elif isinstance(choice, list):
            if not choice:
                faults.append(Fault(where, "must have at least one value", choice))
        elif kind == "grid":
            faults.append(Fault(where, "must be a list of values", choice))
        else:
            faults += _faults_of_range(where, swept.number(field), choice)
    return faults


def _faults_of_form(sweep: Sweep) -> list[Fault]:
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


def _faults_of_range(
    where: tuple[str, ...], number: type[int] | type[float] | None, choice: Any
) -> list[Fault]:
    if not isinstance(choice, Mapping):
        return [Fault(where, "must be a list of values, or low and high", choice)]
    unknown = sorted(set(choice) - {"low", "high", "log"})
    faults = [
        Fault((*where, name), "is not known; known are low, high, log", choice[name])
        for name in unknown
    ]
    low: Any = choice.get("low")
    high: Any = choice.get("high")
    log = choice.get("log", False)
    if number is None:
        return [*faults, Fault(where, "is no number; give a list of values", choice)]
    for name, value in (("low", low), ("high", high)):
        if not _is_number(value):
            faults.append(Fault((*where, name), "must be a finite number", value))
    if not isinstance(log, bool):
        faults.append(Fault((*where, "log"), "must be true or false", log))
    if faults:
        return faults
    if low > high:
        faults.append(Fault((*where, "low"), f"may be at most high = {high}", low))
    if log and low <= 0:
        faults.append(Fault((*where, "low"), "must be above 0 where log is true", low))
    if number is int and not (float(low).is_integer() and float(high).is_integer()):
        faults.append(Fault(where, "takes integers: low and high must be such", choice))
    return faults


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _draw(
    number: type[int] | type[float] | None, choice: Any, uniform: float
) -> tuple[Any, int | None]:
    """A value for ``uniform`` in [0, 1), and its place where it is one of a list."""
    if isinstance(choice, list):
        place = int(uniform * len(choice))
        return choice[place], place
    low, high = choice["low"], choice["high"]
    integer = number is int
    # An integer has the same share of the range as its neighbours, both ends included.
    first, last = (low - 0.5, high + 0.5) if integer else (low, high)
    if choice.get("log", False):
        drawn = math.exp(math.log(first) + uniform * (math.log(last) - math.log(first)))
    else:
        drawn = first + uniform * (last - first)
    # Rounding may lead a little beyond the ends.
    if integer:
        return min(max(math.floor(drawn + 0.5), int(low)), int(high)), None
    return min(max(drawn, float(low)), float(high)), None
