"""The text of an API key, which only its owner has."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

PREFIX: Final = "ef_"
"""Start of every key, by which people and scanners recognise one."""

_BYTES: Final = 32


def make_secret() -> str:
    """Return a new key of 256 random bits."""
    return PREFIX + secrets.token_hex(_BYTES)


def digest_secret(secret: bytes) -> bytes:
    """Return the SHA-256 of a key.

    A slow function, as for passwords, would add nothing: nobody can guess so many random bits.

    Args:
        secret: The key.
    """
    return hashlib.sha256(secret).digest()
