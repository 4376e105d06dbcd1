"""Messages for what pydantic refuses: one text for each type of error.

Configs, bodies and parameters of requests, and settings use these texts in place of pydantic's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from energy_flow.choices import must_be_one_of, unknown_name

Context = Mapping[str, Any]
"""Values that belong to an error, such as the bound that is not kept."""

_OWN_PREFIX: Final = re.compile(r"^(Value error|Assertion failed), ")
_SUBJECT: Final = re.compile(r"^[A-Z]\w*( \w+)? should ")

MESSAGES: Final[Mapping[str, Callable[[Any, Context], str]]] = MappingProxyType(
    {
        "missing": lambda got, about: "is required",
        "bool_type": lambda got, about: "must be true or false",
        "bool_parsing": lambda got, about: "must be true or false",
        "int_type": lambda got, about: "must be an integer",
        "int_parsing": lambda got, about: "must be an integer",
        "int_parsing_size": lambda got, about: "is too large for an integer",
        "int_from_float": lambda got, about: "must be an integer",
        "float_type": lambda got, about: "must be a number",
        "float_parsing": lambda got, about: "must be a number",
        "finite_number": lambda got, about: "must be a finite number",
        "greater_than": lambda got, about: f"must be above {_number(about['gt'])}",
        "greater_than_equal": lambda got, about: f"must be at least {_number(about['ge'])}",
        "less_than": lambda got, about: f"must be below {_number(about['lt'])}",
        "less_than_equal": lambda got, about: f"must be at most {_number(about['le'])}",
        "string_type": lambda got, about: "must be a string",
        "string_unicode": lambda got, about: "must be UTF-8 text",
        "path_type": lambda got, about: "must be the path of a file or folder",
        "enum": lambda got, about: must_be_one_of(got, _names(about["expected"])),
        "literal_error": lambda got, about: must_be_one_of(got, _names(about["expected"])),
        "list_type": lambda got, about: "must be a list",
        "tuple_type": lambda got, about: "must be a list",
        "too_short": lambda got, about: f"must have at least {_count_items(about['min_length'])}",
        "too_long": lambda got, about: f"must have at most {_count_items(about['max_length'])}",
        "dict_type": lambda got, about: "must be an object with named members",
        "model_type": lambda got, about: "must be an object with named members",
    }
)
"""Texts by type of error, from the refused value and the error's context."""


def describe_error(error: Mapping[str, Any], known: Iterable[str] = ()) -> str:
    """Return the message for one error of pydantic: what would be allowed.

    Args:
        error: an entry of ``ValidationError.errors()``.
        known: names of the fields that exist, for an unknown field.
    """
    if error["type"] == "extra_forbidden":
        names = list(known)
        return "unknown field" + (f"; {unknown_name(error['loc'][-1], names)}" if names else "")
    message = MESSAGES.get(error["type"])
    if message is not None:
        return message(error.get("input"), error.get("ctx", {}))
    return _rephrase(str(error["msg"]))


def _rephrase(text: str) -> str:
    """Return a text of a validator of ours, or one of pydantic's in the style of the table."""
    own = _OWN_PREFIX.sub("", text)
    if own != text:
        return own
    text = _SUBJECT.sub("must ", text)
    # A word in capitals, such as JSON, keeps them.
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _names(listed: str) -> list[str]:
    """Return the names of a list as pydantic writes it: ``'a', 'b' or 'c'``."""
    return re.findall(r"'([^']*)'", listed) or [listed]


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"


def _count_items(number: int) -> str:
    return "1 item" if number == 1 else f"{number} items"


def describe_width(width: int) -> str:
    """Return a number of components in words.

    Args:
        width: the number, at least 1.
    """
    return f"{width} component" if width == 1 else f"{width} components"
