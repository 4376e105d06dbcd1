"""Who sends a request: clients share the engine fairly."""

from __future__ import annotations

from fastapi import Request

from service.store.keys.key_ring import ActiveKey


def identify_client(request: Request) -> str:
    """Return the id of the request's API key, or the address that it comes from.

    The key that is a setting has no id: many clients may share it.

    Args:
        request: The request.
    """
    key: ActiveKey | None = request.scope.get("state", {}).get("key")
    if key is not None and key.id is not None:
        return f"key {key.id}"
    return "" if request.client is None else request.client.host
