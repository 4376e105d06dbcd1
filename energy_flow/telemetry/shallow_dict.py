"""A dataclass as plain JSON data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def shallow_dict(instance: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a dataclass by name, tuples as lists.

    ``dataclasses.asdict`` also copies what the fields hold, which takes far longer.
    """
    values = ((name, getattr(instance, name)) for name in instance.__dataclass_fields__)
    return {name: list(value) if type(value) is tuple else value for name, value in values}
