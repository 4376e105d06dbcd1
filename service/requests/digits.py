"""Numbers that headers and query parameters state."""

from __future__ import annotations

import re
from typing import Final

_DIGITS: Final = re.compile(r"[0-9]{1,18}")


def parse_digits(text: str) -> int | None:
    """Return the number of 1 to 18 decimal digits, which has 63 bits; ``None`` for other texts.

    Args:
        text: The text.
    """
    return int(text) if _DIGITS.fullmatch(text) else None
