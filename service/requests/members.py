"""Members of JSON objects, checked against pydantic models; all faults are reported at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from energy_flow.config.validation import collect_faults
from energy_flow.errors import Fault
from service.problems import invalid

Model = TypeVar("Model", bound=BaseModel)


def check_members(
    kind: type[Model],
    members: Mapping[str, Any],
    others: Collection[str] = (),
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
    sound = _without(given, [fault.loc for fault in faults])
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


def _without(members: Mapping[str, Any], places: Iterable[tuple[str | int, ...]]) -> dict[str, Any]:
    """Return members without those at some places, or without the innermost that contain them."""
    inner: dict[str | int, list[tuple[str | int, ...]]] = {}
    for place in places:
        if place:
            inner.setdefault(place[0], []).append(place[1:])
    kept: dict[str, Any] = {}
    for name, value in members.items():
        within = inner.get(name)
        if within is None:
            kept[name] = value
        elif isinstance(value, Mapping) and all(place and place[0] in value for place in within):
            kept[name] = _without(value, within)
    return kept
