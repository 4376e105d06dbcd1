"""``NaN`` and ``Infinity`` in JSON, which has neither: found with their places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from energy_flow.errors import Fault
from service.problems import Problem

WORDS: Final = re.compile(rb"-?(?:NaN|Infinity)")
"""What other writers of JSON put in the place of such numbers."""


@dataclass(frozen=True, slots=True)
class _Constant:
    """One of the words."""

    name: str


def refuse_non_finite(place: tuple[str | int, ...], word: str) -> Problem:
    """Return 400 for one of the words.

    Args:
        place: Where it is in the document.
        word: The word.
    """
    advice = "give a finite number, or leave the row out"
    where = ".".join(map(str, place)) or "it"
    fault = Fault(place, f"{word} is not JSON; {advice}", word)
    return Problem(400, f"the body is not JSON: {where} is {word}; {advice}", faults=[fault])


def parse_non_finite(text: bytes) -> Any:
    """Return a short document that may have numbers beyond float64, such as 1e999, as infinity.

    Args:
        text: JSON text.

    Raises:
        Problem: 400, it has one of the words; the first one is named with its place.
        ValueError: It is not JSON for another reason.
        RecursionError: It is too deep.
    """
    document = json.loads(text, parse_constant=_Constant)
    found: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    while found:
        place, value = found.pop()
        if isinstance(value, _Constant):
            raise refuse_non_finite(place, value.name)
        entries: Iterable[tuple[str | int, Any]] = ()
        if isinstance(value, Mapping):
            entries = value.items()
        elif isinstance(value, list):
            entries = enumerate(value)
        # The first one is taken first.
        found += [
            ((*place, key), one)
            for key, one in reversed(list(entries))
            if isinstance(one, dict | list | _Constant)
        ]
    return document
