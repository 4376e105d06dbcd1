"""Requests of any kind, built from Python values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from energy_flow.client.exchange import FileBody, Request
from energy_flow.client.json_values import check_numbers, dump_json

JSON = "application/json"
BYTES = "application/octet-stream"


def api_path(*parts: str) -> str:
    """Return a path below ``/v1``.

    Args:
        parts: may hold any character.
    """
    return "/".join(("/v1", *(quote(part, safe="") for part in parts)))


def get(path: str, accept: str = JSON, **query: Any) -> Request:
    """Return a request to read something.

    Args:
        path: of what is read.
        accept: media type of the answer.
        query: parameters; those that are ``None`` are left out.

    Raises:
        ValueError: a number is missing, masked, infinite or not a number.
    """
    check_numbers(query, "")
    pairs = tuple((name, _query_value(value)) for name, value in query.items() if value is not None)
    return Request("GET", path, query=pairs, headers={"accept": accept}, repeatable=True)


def get_file(path: str, to: Path, accept: str = "*/*", **query: Any) -> Request:
    """Return a request whose answer is written to a file.

    Args:
        path: of what is read.
        to: the file.
        accept: media type of the answer.
        query: parameters; those that are ``None`` are left out.
    """
    return replace(get(path, accept, **query), save_to=to)


def post(path: str, fields: Mapping[str, Any] | None = None) -> Request:
    """Return a request to change something.

    Args:
        path: of what is changed.
        fields: members of the body; those that are ``None`` are left out.

    Raises:
        ValueError: a number is missing, masked, infinite or not a number.
    """
    if fields is None:
        return Request("POST", path)
    body = dump_json({name: value for name, value in fields.items() if value is not None})
    return Request("POST", path, headers={"content-type": JSON}, body=body)


def post_once(path: str, fields: Mapping[str, Any], key: str | None = None) -> Request:
    """Return a request to create something, which creates it once even if it is repeated.

    Args:
        path: of what is created.
        fields: as for :func:`post`.
        key: the ``Idempotency-Key``; by default a new one.
    """
    request = post(path, fields)
    headers = {**request.headers, "idempotency-key": idempotency_key(key)}
    return replace(request, headers=headers, repeatable=True)


def as_names(names: str | Sequence[str] | None) -> list[str] | None:
    """Return names as a list; a text is one name."""
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)


def patch(path: str, fields: Mapping[str, Any]) -> Request:
    """Return a request to change members of something; a repetition changes nothing more.

    Args:
        path: of what is changed.
        fields: as for :func:`post`.
    """
    return replace(post(path, fields), method="PATCH", repeatable=True)


def idempotency_key(key: str | None) -> str:
    """Return the key, or a new one where there is none."""
    return key if key is not None else uuid4().hex


def put(path: str, body: bytes | FileBody, **query: str) -> Request:
    """Return a request to keep bytes under a name, which changes nothing if it is repeated.

    Args:
        path: contains the name.
        body: the bytes.
        query: parameters.
    """
    return Request(
        "PUT",
        path,
        query=tuple(query.items()),
        headers={"content-type": BYTES},
        body=body,
        repeatable=True,
    )


def put_file(
    path: str, file: Path, on_progress: Callable[[int, int], object] | None, **query: str
) -> Request:
    """Return a request to keep a file under a name, which changes nothing if it is repeated.

    Args:
        path: contains the name.
        file: the file.
        on_progress: called with the bytes sent so far and all bytes.
        query: parameters.

    Raises:
        OSError: there is no such file.
    """
    return put(path, FileBody(file, file.stat().st_size, on_progress), **query)


def delete(path: str) -> Request:
    """Return a request to remove something."""
    return Request("DELETE", path)


def _query_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(_query_value(entry) for entry in value)
    if isinstance(value, Mapping):
        return dump_json(value).decode()
    return str(value)
