"""Answers of a server, read into Python values."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.client.errors import UnexpectedAnswer
from energy_flow.client.exchange import Reply

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    Attributes:
        items: the entries.
        next_cursor: asks for the next part; ``None`` at the end of the list.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None


def read_json(reply: Reply) -> Any:
    """Return the body as JSON data.

    Raises:
        UnexpectedAnswer: it is not JSON.
    """
    try:
        return orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        content_type = reply.headers.get("content-type", "no content type")
        raise UnexpectedAnswer(
            f"status {reply.status} with {len(reply.body)} bytes that are not JSON "
            f"({content_type}); is this the address of an Energy Flow server?"
        ) from None


def convert(data: Any, result_type: type[T]) -> T:
    """Return JSON data as a value of a type; members that a dataclass does not have are ignored.

    Args:
        data: plain JSON data, whose values may already be arrays or dataclasses.
        result_type: a dataclass, or ``dict[str, Any]`` for any JSON object.

    Raises:
        UnexpectedAnswer: a member is missing or has another type.
    """
    try:
        return msgspec.convert(data, result_type)
    except msgspec.ValidationError as error:
        raise UnexpectedAnswer(
            f"the answer is not a {result_type.__name__}: {error}; "
            "do the server and this client have the same version?"
        ) from None


def parse(data: Any, result_type: type[T]) -> T:
    """Return JSON data as a value of a type; a field ``data`` holds all of it.

    Args:
        data: plain JSON data.
        result_type: as in :func:`convert`.

    Raises:
        UnexpectedAnswer: as in :func:`convert`.
    """
    if is_dataclass(result_type) and isinstance(data, dict):
        data = {**data, "data": data}
    return convert(data, result_type)


def json_as(result_type: type[T]) -> Callable[[Reply], T]:
    """Return a function that reads JSON answers with :func:`parse`."""
    return lambda reply: parse(read_json(reply), result_type)


read_object = json_as(dict[str, Any])
"""Reads an answer that may be any JSON object."""


def page_of(item_type: type[T]) -> Callable[[Reply], Page[T]]:
    """Return a function that reads a page whose items :func:`parse` understands."""

    def read_page(reply: Reply) -> Page[T]:
        page = convert(read_json(reply), Page[Any])
        return Page(tuple(parse(item, item_type) for item in page.items), page.next_cursor)

    return read_page


def read_nothing(reply: Reply) -> None:
    """Ignore the body of an answer."""


def read_npy(reply: Reply) -> NDArray[Any]:
    """Return the array in a ``.npy`` answer; nothing is unpickled.

    Raises:
        UnexpectedAnswer: there is none.
    """
    try:
        array: NDArray[Any] = np.load(io.BytesIO(reply.body), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UnexpectedAnswer(f"the array cannot be read: {error}") from None
    return array
