"""What a parsed JSON document is made of: how deep it is, how long, and what is in it twice."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from energy_flow.errors import Fault
from service.problems import invalid

MAX_ENTRIES: Final = 10_000
"""Most entries of a list, each of which can have a fault. Large arrays are checked elsewhere."""

MAX_DEPTH: Final = 32
"""How deeply lists and objects may be nested."""

Place = tuple[str | int, ...]


def check_structure(document: Any, text: bytes, arrays: Collection[str] = ()) -> None:
    """Refuse a document that is too deep, has too long lists, or has a member twice.

    Args:
        document: The document.
        text: Its JSON text, of which a parser keeps only the last of two members of one name.
        arrays: Names of members, at any depth, with lists of numbers that are checked elsewhere.

    Raises:
        Problem: 422, with the places.
    """
    faults: list[Fault] = []
    members = 0
    for place, value in _walk(document, arrays):
        if len(place) > MAX_DEPTH:
            message = f"is nested more than {MAX_DEPTH} deep"
            raise invalid([Fault(place[:MAX_DEPTH], message, None)])
        if isinstance(value, Mapping):
            members += len(value)
        elif len(value) > MAX_ENTRIES:
            message = f"must have at most {MAX_ENTRIES:,} entries"
            faults.append(Fault(place, message, len(value)))
    # Each member has a colon. Where there are more, they are in strings, or a member is lost.
    if not faults and text.count(b":") > members:
        faults = [Fault(place, "is given twice", None) for place in find_repeated(text)]
    if faults:
        raise invalid(faults)


def _walk(document: Any, arrays: Collection[str] = ()) -> Iterator[tuple[Place, Any]]:
    """Yield lists and objects with their places; of a list that is too long, no entries."""
    # No recursion: a document can be nested more deeply than Python's stack allows.
    found: list[tuple[Place, Any]] = [((), document)] if _is_container(document) else []
    while found:
        place, value = found.pop()
        yield place, value
        entries: Iterable[tuple[str | int, Any]] = ()
        if isinstance(value, Mapping):
            entries = value.items()
        elif len(value) <= MAX_ENTRIES:
            entries = enumerate(value)
        found += [
            ((*place, name), one)
            for name, one in entries
            if _is_container(one) and name not in arrays
        ]


def _is_container(value: Any) -> bool:
    return isinstance(value, list | dict)


class _Object(dict[str, Any]):
    """An object with the names that its text has twice."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        super().__init__(members)
        self.repeated: list[str] = []
        if len(self) < len(members):
            names = [name for name, _ in members]
            self.repeated = [name for name in self if names.count(name) > 1]


def find_repeated(text: bytes) -> list[Place]:
    """Return the places of members that a text has twice.

    Args:
        text: JSON text.
    """
    document = json.loads(text, object_pairs_hook=_Object, parse_int=float)
    return [
        (*place, name)
        for place, value in _walk(document)
        if isinstance(value, _Object)
        for name in value.repeated
    ]
