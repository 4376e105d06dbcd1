"""``Choice``: one name of a closed list, and messages about names that are in no list."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from inspect import get_annotations
from typing import Any, Final, Self

_MAX_NAME: Final = 64
"""Longest name that is compared with others; the time of a comparison grows with its square."""


class Choice(StrEnum):
    """One name of a closed list.

    ``Choice(name)`` finds a member. A list whose members have attributes declares them, and each
    member's line has their values after the name, in the order of the declarations.
    """

    def __new__(cls, name: str, *values: Any) -> Self:
        """Return a member with its attributes.

        Args:
            name: of the member.
            values: of all attributes, in the order of their declarations.

        Raises:
            ValueError: there are more or fewer values than attributes.
        """
        member = str.__new__(cls, name)
        member._value_ = name
        for attribute, value in zip(_attributes_of(cls), values, strict=True):
            setattr(member, attribute, value)
        return member

    @property
    def code(self) -> int:
        """Return the place in the list, from 0, which stands for the name in arrays."""
        return list(type(self)).index(self)


def _attributes_of(choice: type[Choice]) -> list[str]:
    lists = (one for one in reversed(choice.__mro__) if issubclass(one, Choice))
    return [name for one in lists for name in get_annotations(one)]


def names_of(choices: Iterable[StrEnum]) -> tuple[str, ...]:
    """Return the names of a list as plain strings, in order."""
    return tuple(choice.value for choice in choices)


def closest_name(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, if one is close.

    Args:
        name: the name that was given.
        known: the names that exist.
    """
    if not isinstance(name, str) or len(name) > _MAX_NAME:
        return None
    close = get_close_matches(str(name), [str(one) for one in known], n=1)
    return close[0] if close else None


def unknown_name(name: object, known: Iterable[str]) -> str:
    """Return the part of a message that follows a name that is not in its list.

    Args:
        name: the name that was given.
        known: the names that exist.

    Returns:
        The known names, and the one that was probably meant, if one is close.
    """
    names = [str(one) for one in known]
    return f"known are {', '.join(names)}{_suggest(name, names)}"


def must_be_one_of(name: object, known: Iterable[str]) -> str:
    """Return the message for a value that is not one of a closed list of names.

    Args:
        name: the value that was given.
        known: the names that are allowed.
    """
    names = [str(one) for one in known]
    if len(names) == 1:
        return f"must be {names[0]!r}"
    return f"must be one of {', '.join(names)}{_suggest(name, names)}"


def _suggest(name: object, known: Iterable[str]) -> str:
    close = closest_name(name, known)
    return "" if close is None else f"; did you mean '{close}'?"
