"""What the guards of all configs share: names, faults and rules over plain data.

A config is plain data with nested groups; a field has a dotted name such as ``spawn.threshold``.
Its types and ranges are checked by pydantic, its combinations by rules, and the faults of both are
told together: a rule is only left out when a field that it speaks of is itself faulty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from energy_flow.errors import Fault

Values = Mapping[str, Any]


class Group(BaseModel):
    """Fields that belong together; frozen, and no others are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """A combination of fields that is refused, or told.

    Attributes:
        fields: dotted names of what it speaks of; a fault is told at the first.
        broken: whether complete plain config data break it.
        message: what would be allowed.
    """

    fields: tuple[str, ...]
    broken: Callable[[Values], bool]
    message: Callable[[Values], str]


def broken_rules(rules: Iterable[Rule], values: Values, unsure: set[str]) -> list[Fault]:
    """Faults of every broken rule.

    Args:
        values: complete plain config data.
        unsure: dotted names of fields whose values are not to be trusted; rules that need one
            of them (or its group) are left out.
    """
    faults = []
    for rule in rules:
        if any(unsure & set(_prefixes(name)) for name in rule.fields):
            continue
        if rule.broken(values):
            got = {name: value_at(values, name) for name in rule.fields}
            loc: tuple[str | int, ...] = tuple(rule.fields[0].split("."))
            faults.append(Fault(loc, rule.message(values), got))
    return faults


def value_at(values: Values, dotted: str) -> Any:
    """The field of this name, or nothing where its group is not there."""
    found: Any = values
    for part in dotted.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def nest(fields: Values) -> dict[str, Any]:
    """Turns dotted keys into nested groups; nested ones stay."""
    nested: dict[str, Any] = {}
    for name, value in fields.items():
        head, dot, tail = str(name).partition(".")
        inner = {tail: value} if dot else value
        nested = merge(nested, {head: nest(inner) if isinstance(inner, Mapping) else inner})
    return nested


def merge(base: Values, changes: Values) -> dict[str, Any]:
    """``base`` with the fields of ``changes``, group by group."""
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """What pydantic refuses, told as faults; unknown fields with the names that are known."""
    faults = []
    for entry in error.errors():
        loc = tuple(entry["loc"])
        message = str(entry["msg"])
        if entry["type"] == "extra_forbidden":
            group = group_at(model, loc[:-1])
            known = sorted(group.model_fields) if group is not None else []
            message = f"unknown field; known are {', '.join(known)}"
        faults.append(Fault(loc, message, entry.get("input")))
    return faults


def without(
    model: type[BaseModel], fields: Values, faults: Iterable[Fault]
) -> tuple[dict[str, Any], set[str]]:
    """The config as it would be without its faulty fields, and the dotted names of those.

    So that combinations of the sound fields are still checked and told in the same answer.

    Args:
        model: every field of it has a default.
    """
    sound: Any = nest(fields)
    unsure: set[str] = set()
    for fault in faults:
        *path, last = (str(part) for part in fault.loc)
        group, depth = sound, 0
        while depth < len(path) and isinstance(group.get(path[depth]), dict):
            group, depth = group[path[depth]], depth + 1
        # A fault inside a value that is no group, such as an item of a list, spoils all of it.
        name = path[depth] if depth < len(path) else last
        group.pop(name, None)
        unsure.add(".".join((*path[:depth], name)))
    return model.model_validate(sound).model_dump(mode="json"), unsure


def _prefixes(dotted: str) -> list[str]:
    parts = dotted.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def group_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The group at a place of a config; none where there is a plain field, or nothing."""
    group: type[BaseModel] | None = model
    for part in loc:
        field = group.model_fields.get(str(part)) if group is not None else None
        if field is None:
            return None
        kinds = (field.annotation, *get_args(field.annotation))
        group = next(
            (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None
        )
    return group
