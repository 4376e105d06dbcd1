"""Validation that all configs share: names of fields, faults, and rules over plain data.

A config is plain data with nested groups; a field has a dotted name such as ``spawn.threshold``.
Pydantic checks types and ranges, rules check combinations, and the faults of both are reported
together. A rule is skipped only if one of its fields is faulty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from energy_flow.config.messages import describe_error
from energy_flow.errors import ConfigError, Fault

Values = Mapping[str, Any]

MAX_DOTS: Final = 8
"""Most dots in the name of a field. Each makes a group, and Python's stack has an end."""


MAX_DESCRIBED: Final = 100
"""Most faults for which names that are close are looked up, which takes some 0.3 ms each."""


def _keep_first_paragraph(schema: dict[str, Any]) -> None:
    """Leave arguments and errors of Python out of the description in a JSON schema."""
    paragraph = str(schema.get("description", "")).partition("\n\n")[0]
    schema["description"] = " ".join(paragraph.split())


class Group(BaseModel):
    """Fields that belong together; frozen, and unknown fields are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        # ``to_dict`` writes every field.
        json_schema_serialization_defaults_required=True,
        json_schema_extra=_keep_first_paragraph,
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """A combination of fields that is refused, or gives a warning.

    Attributes:
        fields: dotted names; a fault is reported at the first.
        is_broken: returns whether complete plain config data break the rule.
        message: returns what would be allowed.
    """

    fields: tuple[str, ...]
    is_broken: Callable[[Values], bool]
    message: Callable[[Values], str]


def check_rules(rules: Iterable[Rule], values: Values, unsure: set[str]) -> list[Fault]:
    """Return a fault for every broken rule.

    Args:
        rules: combinations that are refused.
        values: complete plain config data.
        unsure: dotted names of faulty fields or groups; rules that need one of them are skipped.
    """
    faults = []
    for rule in rules:
        if any(unsure & set(_prefixes(name)) for name in rule.fields):
            continue
        if rule.is_broken(values):
            got = {name: _get_value(values, name) for name in rule.fields}
            loc: tuple[str | int, ...] = tuple(rule.fields[0].split("."))
            faults.append(Fault(loc, rule.message(values), got))
    return faults


def list_warnings(rules: Iterable[Rule], values: Values) -> tuple[str, ...]:
    """Return the message of every broken rule.

    Args:
        rules: combinations that give a warning.
        values: complete plain config data.
    """
    return tuple(rule.message(values) for rule in rules if rule.is_broken(values))


def _get_value(values: Values, dotted: str) -> Any:
    """Return the field of this name, or nothing where its group is missing."""
    found: Any = values
    for part in dotted.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def nest(fields: Values) -> dict[str, Any]:
    """Return the fields with dotted keys as nested groups.

    A key with more than :data:`MAX_DOTS` dots, which no field has, stays as it is.
    """
    nested: dict[str, Any] = {}
    for name, value in fields.items():
        is_name = str(name).count(".") <= MAX_DOTS
        head, dot, tail = str(name).partition(".") if is_name else (str(name), "", "")
        inner = {tail: value} if dot else value
        _put(nested, head, nest(inner) if isinstance(inner, Mapping) else inner)
    return nested


def find_repeats(fields: Values) -> list[Fault]:
    """Return a fault for each field that has a value by a dotted name and another one in a group.

    Args:
        fields: values by name, nested or dotted.
    """
    seen: set[str] = set()
    faults: dict[str, Fault] = {}
    for name, value in _leaves(fields, ""):
        if name in seen:
            message = "is given twice, by a dotted name and in a group; leave one out"
            faults[name] = Fault(tuple(name.split(".")), message, value)
        seen.add(name)
    return list(faults.values())


def _leaves(fields: Values, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in fields.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


@contextmanager
def reporting(faults: list[Fault]) -> Iterator[None]:
    """Report faults together with those that a block finds.

    Args:
        faults: what is wrong beside that.

    Raises:
        ConfigError: there are faults of either kind.
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(*faults, *error.faults) from None
    if faults:
        raise ConfigError(*faults)


def _put(nested: dict[str, Any], name: str, value: Any) -> None:
    """Add a field, or the fields of a group, to groups that nobody else has."""
    old = nested.get(name)
    if isinstance(old, dict) and isinstance(value, dict):
        for inner, one in value.items():
            _put(old, inner, one)
    else:
        nested[name] = value


def merge(base: Values, changes: Values) -> dict[str, Any]:
    """Return ``base`` with the fields of ``changes``, group by group."""
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def find_booleans(model: type[BaseModel], fields: Values) -> list[Fault]:
    """Return a fault for each number that is true or false, which pydantic takes for 1 and 0.

    Args:
        model: has the fields.
        fields: values by name; groups as mappings or objects.
    """
    kinds = _kinds_of_fields(model)
    faults = []
    for name, value in fields.items():
        kind = kinds.get(name)
        if kind is None:
            continue
        if isinstance(value, bool) and kind in (int, float):
            message = "must be an integer" if kind is int else "must be a number"
            faults.append(Fault((name,), message, value))
        elif isinstance(value, Mapping) and issubclass(kind, BaseModel):
            faults += [
                Fault((name, *fault.loc), fault.msg, fault.got)
                for fault in find_booleans(kind, value)
            ]
    return faults


@cache
def _kinds_of_fields(model: type[BaseModel]) -> dict[str, type[Any]]:
    """Return the fields that are numbers or groups, with ``int``, ``float`` or the group."""
    found: dict[str, type[Any]] = {}
    for name, field in model.model_fields.items():
        kinds = set(_kinds(field.annotation))
        groups = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if groups:
            found[name] = groups[0]
        elif bool not in kinds and kinds & {int, float}:
            found[name] = float if float in kinds else int
    return found


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types of a union, without what is annotated."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for one in get_args(annotation):
            yield from _kinds(one)
    else:
        yield annotation


def collect_faults(
    error: ValidationError,
    model: type[BaseModel],
    others: Collection[str] = (),
    found: Iterable[Fault] = (),
) -> list[Fault]:
    """Return what pydantic refuses as faults with messages of ours.

    Args:
        error: of a validation.
        model: what was validated.
        others: names that may stand beside the model's fields; messages list them too.
        found: faults that come first; others at their places are left out.
    """
    faults = list(found)
    known_places = {fault.loc for fault in faults}
    for entry in error.errors():
        loc = tuple(entry["loc"])
        if loc in known_places:
            continue
        # The input of a missing field is the group without it.
        got = None if entry["type"] == "missing" else entry.get("input")
        if len(faults) >= MAX_DESCRIBED:
            faults.append(Fault(loc, str(entry["msg"]), got))
            continue
        group = find_group(model, loc[:-1])
        beside = others if len(loc) == 1 else ()
        known = sorted({*group.model_fields, *beside}) if group is not None else []
        faults.append(Fault(loc, describe_error(entry, known), got))
    return faults


def drop_faulty_fields(
    model: type[BaseModel], fields: Values, faults: Iterable[Fault]
) -> tuple[dict[str, Any], set[str]]:
    """Replace faulty fields by their defaults, so that combinations of the others can be checked.

    Args:
        model: has a default for every field.
        fields: values by name, nested or dotted.
        faults: name the faulty fields.

    Returns:
        Complete plain config data, and the dotted names of the faulty fields.
    """
    sound: Any = nest(fields)
    unsure: set[str] = set()
    for fault in faults:
        *path, last = (str(part) for part in fault.loc)
        group, depth = sound, 0
        while depth < len(path) and isinstance(group.get(path[depth]), dict):
            group, depth = group[path[depth]], depth + 1
        # A fault inside a value that is no group, such as a list, makes the whole value faulty.
        name = path[depth] if depth < len(path) else last
        group.pop(name, None)
        unsure.add(".".join((*path[:depth], name)))
    return model.model_validate(sound).model_dump(mode="json"), unsure


def _prefixes(dotted: str) -> list[str]:
    parts = dotted.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def find_group(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the group at a place of a config, or nothing where there is no group.

    Args:
        model: the config.
        loc: names of groups, from the outermost to the innermost.
    """
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
