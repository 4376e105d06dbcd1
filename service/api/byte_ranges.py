"""The header ``Range``, as RFC 9110, 14.2 reads it and the library does not."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import Scope

_RANGE: Final = re.compile(rb"[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*")


def correct_ranges(scope: Scope, size: int) -> Scope:
    """Return a request for a file whose header ``Range`` the library reads as it is meant.

    Ranges of another unit are ignored. Of several ranges, those that begin behind the end are left
    out, unless all do. What is no range is refused by the library.

    Args:
        scope: The request.
        size: Bytes of the file.
    """
    headers = scope["headers"]
    values = [value for name, value in headers if name == b"range"]
    if len(values) != 1:
        return scope
    unit, separator, text = values[0].partition(b"=")
    others = [(name, value) for name, value in headers if name != b"range"]
    if separator and unit.strip().lower() != b"bytes":
        return {**scope, "headers": others}
    found = [_RANGE.fullmatch(part) for part in text.split(b",")]
    if not separator or None in found:
        # Also what Python takes for a number, such as 1_0.
        return {**scope, "headers": [*others, (b"range", b"bytes=")]}
    kept = b",".join(match[0].strip() for match in found if match and _is_within(match, size))
    return {**scope, "headers": [*others, (b"range", b"bytes=" + kept)]} if kept else scope


def _is_within(match: re.Match[bytes], size: int) -> bool:
    first, _last, suffix = match.groups()
    digits = (first or suffix).lstrip(b"0") or b"0"
    # Numbers of any length can be sent.
    number = int(digits) if len(digits) < 19 else size
    return number < size if first else number > 0 and size > 0
