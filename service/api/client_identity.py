"""Who sends a request: clients share the engine fairly."""

from __future__ import annotations

from fastapi import Request


def identify_client(request: Request) -> str:
    """Return the id of the request's API key, or the address that it comes from.

    Args:
        request: The request.
    """
    key: str | None = request.scope.get("state", {}).get("client_id")
    if key is not None:
        return f"key {key}"
    return "" if request.client is None else request.client.host
