"""Members of JSON objects, checked against pydantic models; all faults are reported at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from energy_flow.config.validation import collect_faults
from energy_flow.errors import Fault
from service.problems import invalid

Model = TypeVar("Model", bound=BaseModel)


def check_members(
    kind: type[Model], members: Mapping[str, Any], others: Collection[str] = ()
) -> tuple[Model, list[Fault]]:
    """Return the members as a model and all faults; a faulty member has its default.

    Args:
        kind: The model.
        members: The members as sent. One that is null counts as absent.
        others: Names of members that the body may have and that are read elsewhere.

    Raises:
        Problem: 422, a faulty or missing member has no default.
    """
    given = {name: value for name, value in members.items() if value is not None}
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


def _without(members: Any, loc: tuple[str | int, ...]) -> Any:
    """Return members without the one at a place, or without the innermost that contains it."""
    if not loc or not isinstance(members, Mapping) or loc[0] not in members:
        return members
    inner = members[loc[0]]
    if len(loc) > 1 and isinstance(inner, Mapping) and loc[1] in inner:
        return {**members, loc[0]: _without(inner, loc[1:])}
    return {name: value for name, value in members.items() if name != loc[0]}
