"""Members of JSON objects, checked against pydantic models; all faults are reported at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from energy_flow.config.validation import collect_faults
from energy_flow.errors import Fault
from service.problems import invalid

MAX_ENTRIES: Final = 10_000
"""Most entries of a list, each of which can have a fault. Keys of samples are read elsewhere."""

MAX_DEPTH: Final = 32
"""How deeply lists and objects may be nested."""

Model = TypeVar("Model", bound=BaseModel)


def check_members(
    kind: type[Model],
    members: Mapping[str, Any],
    others: Collection[str] = (),
    numeric: Collection[str] = (),
) -> tuple[Model, list[Fault]]:
    """Return the members as a model and all faults; a faulty member has its default.

    Args:
        kind: The model.
        members: The members as sent. One that is null counts as absent.
        others: Names of members that the body may have and that are read elsewhere.
        numeric: Names of members, at any depth, with lists of numbers that are checked elsewhere.

    Raises:
        Problem: 422, a faulty or missing member has no default, or a list is too long or too deep.
    """
    given = {name: value for name, value in members.items() if value is not None}
    large = list(_find_large_values(given, numeric))
    if large:
        raise invalid(large)
    try:
        return kind.model_validate(given), []
    except ValidationError as error:
        faults = collect_faults(error, kind, others)
    sound: Any = given
    for fault in faults:
        sound = _without(sound, fault.loc)
    try:
        return kind.model_validate(sound), faults
    except ValidationError:
        raise invalid(faults) from None


def parse_members(kind: type[Model], members: Mapping[str, Any]) -> Model:
    """Return the members as a model.

    Args:
        kind: The model.
        members: The members as sent. One that is null counts as absent.

    Raises:
        Problem: 422, with every fault.
    """
    model, faults = check_members(kind, members)
    if faults:
        raise invalid(faults)
    return model


def _find_large_values(members: Mapping[str, Any], numeric: Collection[str]) -> Iterator[Fault]:
    # No recursion: a document can be nested more deeply than Python's stack allows.
    found: list[tuple[tuple[str | int, ...], Any]] = [((), members)]
    while found:
        loc, value = found.pop()
        if len(loc) > MAX_DEPTH:
            yield Fault(loc[:MAX_DEPTH], f"is nested more than {MAX_DEPTH} deep", None)
            return
        if isinstance(value, Mapping):
            entries: Iterable[tuple[str | int, Any]] = value.items()
        elif len(value) > MAX_ENTRIES:
            yield Fault(loc, f"must have at most {MAX_ENTRIES:,} entries", len(value))
            continue
        else:
            entries = enumerate(value)
        found += [
            ((*loc, name), one)
            for name, one in entries
            if isinstance(one, list | Mapping) and name not in numeric
        ]


def _without(members: Any, loc: tuple[str | int, ...]) -> Any:
    """Return members without the one at a place, or without the innermost that contains it."""
    if not loc or not isinstance(members, Mapping) or loc[0] not in members:
        return members
    inner = members[loc[0]]
    if len(loc) > 1 and isinstance(inner, Mapping) and loc[1] in inner:
        return {**members, loc[0]: _without(inner, loc[1:])}
    return {name: value for name, value in members.items() if name != loc[0]}
