"""A dataclass as plain JSON data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def shallow_dict(instance: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a dataclass by name, tuples as lists.

    ``dataclasses.asdict`` also copies what the fields hold, which takes far longer.
    """
    return {
        name: list(value) if type(value := getattr(instance, name)) is tuple else value
        for name in instance.__dataclass_fields__
    }
