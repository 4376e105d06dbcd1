"""Names, tags and notes, by which people find runs and experiments again."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from service.schemas.bodies import RequestBody

MAX_NAME_CHARACTERS: Final = 200
MAX_TAGS: Final = 32
MAX_TAG_CHARACTERS: Final = 64
MAX_NOTE_CHARACTERS: Final = 10_000


def _has_control(text: str, allowed: str = "") -> bool:
    return any(one not in allowed and unicodedata.category(one) in _REFUSED for one in text)


# Control characters, surrogates, and separators of lines and paragraphs.
_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _check_line(text: str, most: int) -> str:
    text = text.strip()
    if len(text) > most:
        raise ValueError(f"must have at most {most} characters")
    if _has_control(text):
        raise ValueError("must be one line without control characters")
    return text


def _check_name(text: str) -> str:
    return _check_line(text, MAX_NAME_CHARACTERS)


def _check_tag(text: str) -> str:
    text = _check_line(text, MAX_TAG_CHARACTERS)
    if not text or "," in text:
        raise ValueError("must be a text without commas, and not empty")
    return text


def _check_tags(tags: list[str]) -> list[str]:
    different = sorted(set(tags))
    if len(different) > MAX_TAGS:
        raise ValueError(f"must be at most {MAX_TAGS} different tags")
    return different


def _check_note(text: str) -> str:
    if len(text) > MAX_NOTE_CHARACTERS:
        raise ValueError(f"must have at most {MAX_NOTE_CHARACTERS} characters")
    if _has_control(text, "\n\r\t"):
        raise ValueError("must have no control characters but line breaks and tabs")
    return text


Tag = Annotated[
    str,
    AfterValidator(_check_tag),
    Field(json_schema_extra={"minLength": 1, "maxLength": MAX_TAG_CHARACTERS}),
]
"""A tag in a request."""


class NoteFields(RequestBody):
    """Tags and a note."""

    tags: Annotated[list[Tag], AfterValidator(_check_tags)] = Field(
        default=[],
        description="tags, a set; they are found by lists",
        json_schema_extra={"type": ["array", "null"]},
    )
    note: Annotated[str, AfterValidator(_check_note)] = Field(
        "",
        description="text about it",
        json_schema_extra={"type": ["string", "null"], "maxLength": MAX_NOTE_CHARACTERS},
    )


class LabelFields(NoteFields):
    """A name, tags and a note."""

    name: Annotated[str, AfterValidator(_check_name)] = Field(
        "",
        description="text of one line; need not be unique",
        json_schema_extra={"type": ["string", "null"], "maxLength": MAX_NAME_CHARACTERS},
    )
