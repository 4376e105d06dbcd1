"""What pages of other origins may send and read, if the operator allows their origin (CORS)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from service.api.trace_response import COMPLETE, FORMAT, NEXT_CURSOR
from service.open_inference.inference_request import HEADER_LENGTH

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Encoding",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Range",
    "X-Request-ID",
    HEADER_LENGTH,
)
_ANSWER_HEADERS: Final = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
    COMPLETE,
    FORMAT,
    HEADER_LENGTH,
    NEXT_CURSOR,
)


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of starlette's ``CORSMiddleware``.

    Args:
        origins: Origins that are allowed.
    """
    return {
        "allow_origins": origins,
        "allow_methods": _METHODS,
        "allow_headers": _REQUEST_HEADERS,
        "expose_headers": _ANSWER_HEADERS,
    }
