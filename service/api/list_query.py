"""The parameters of lists that can be searched and sorted, and the cursors of their pages."""

from __future__ import annotations

import base64
import binascii
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends, Query
from pydantic import WithJsonSchema

from energy_flow.choices import LIST_SORTS, ListOrder, RunState
from energy_flow.errors import Fault
from service.api.pagination import (
    DEFAULT_ITEMS,
    Limit,
    decode_cursor,
    encode_cursor,
    refuse_cursor,
)
from service.problems import Problem, invalid
from service.requests.json_body import parse_json
from service.schemas.labels import MAX_TAGS
from service.schemas.list_filter import MAX_SEARCH_CHARACTERS, Instant, parse_instant
from service.store.list_entries import list_options
from service.store.listing import NEWEST_FIRST, ListFilter, ListPage, ListSort, Place, Row

MAX_CURSOR_CHARACTERS: Final = 2000
"""Longest cursor that can be one; it has a name of 200 characters at most."""

MAX_CONDITIONS: Final = MAX_TAGS
"""Most tags, and most options, of a filter; nothing has more tags."""

_Sort = Annotated[
    str, WithJsonSchema({"type": "string", "enum": list(LIST_SORTS), "default": str(NEWEST_FIRST)})
]


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a request asks of a list."""

    limit: Limit = DEFAULT_ITEMS
    cursor: str | None = None
    sort: Annotated[_Sort, Query(description="order; it descends with a dash")] = "-created"
    search: Annotated[
        str | None,
        Query(
            max_length=MAX_SEARCH_CHARACTERS,
            description="part of a name, a note, a tag or a model, or the beginning of an id",
        ),
    ] = None
    tag: Annotated[
        list[str] | None, Query(description="repeatable, or separated by commas: all of them")
    ] = None
    state: RunState | None = None
    model: Annotated[str | None, Query(description="name of the model")] = None
    options: Annotated[
        str | None, Query(description="a JSON object: options that the request gave")
    ] = None
    created_after: Annotated[Instant | None, Query(description="ISO 8601")] = None
    created_before: Annotated[Instant | None, Query(description="ISO 8601")] = None

    def make_filter(
        self, kinds: Sequence[str] | None, experiment_id: str | None = None
    ) -> ListFilter:
        """Return the filter.

        Args:
            kinds: Kinds that are listed; ``None`` for all.
            experiment_id: Id of the experiment whose runs are listed.

        Raises:
            Problem: 422, with every fault of a parameter.
        """
        faults: list[Fault] = []
        options: Any = {}
        if self.options is not None:
            with contextlib.suppress(Problem, UnicodeEncodeError):
                options = parse_json(self.options.encode())
            if not isinstance(options, Mapping) or (not options and self.options.strip() != "{}"):
                faults.append(Fault(("options",), "must be a JSON object", self.options))
        moments: dict[str, float | None] = {}
        for name in ("created_after", "created_before"):
            text = getattr(self, name)
            try:
                moments[name] = None if text is None else parse_instant(text)
            except ValueError as error:
                faults.append(Fault((name,), str(error), text))
        if faults:
            raise invalid(faults)
        chosen = ListFilter(
            search=self.search,
            tags=split_tags(self.tag or ()),
            options=options,
            state=self.state,
            kinds=kinds,
            model=self.model,
            created_after=moments["created_after"],
            created_before=moments["created_before"],
            experiment_id=experiment_id,
        )
        return bound_filter(chosen)

    def parse_sort(self) -> ListSort:
        """Return the order.

        Raises:
            Problem: 422, there is no such order.
        """
        if self.sort not in LIST_SORTS:
            message = f"must be one of {', '.join(LIST_SORTS)}"
            raise invalid([Fault(("sort",), message, self.sort)])
        return ListSort(ListOrder(self.sort.removeprefix("-")), self.sort.startswith("-"))

    def parse_place(self) -> Place | None:
        """Return where the page begins; ``None`` for the first page.

        Raises:
            Problem: 422, the cursor is none of this list in this order.
        """
        if self.cursor is None:
            return None
        place = _decode(self.cursor, self.parse_sort())
        if place is not None:
            return place
        # The cursor of the default order, as it was before there were others.
        if self.parse_sort() != NEWEST_FIRST:
            raise refuse_cursor(self.cursor)
        return Place(decode_cursor(self.cursor, 1)[0])


ListQueryDep = Annotated[ListQuery, Depends()]


def split_tags(values: Sequence[str]) -> list[str]:
    """Return the tags of a filter, each of which may be several separated by commas."""
    tags = (tag.strip() for value in values for tag in value.split(","))
    return [tag for tag in tags if tag]


def bound_filter(chosen: ListFilter) -> ListFilter:
    """Return a filter without repetitions, which the index can answer in reasonable time.

    Args:
        chosen: The filter.

    Raises:
        Problem: 422, it has more than ``MAX_CONDITIONS`` different tags, or options.
    """
    chosen = replace(
        chosen,
        tags=list(dict.fromkeys(chosen.tags)),
        kinds=None if chosen.kinds is None else list(dict.fromkeys(chosen.kinds)),
    )
    counts = {"tag": len(chosen.tags), "options": sum(1 for _ in list_options(chosen.options))}
    message = f"may be at most {MAX_CONDITIONS}"
    faults = [
        Fault((name,), message, count) for name, count in counts.items() if count > MAX_CONDITIONS
    ]
    if faults:
        raise invalid(faults)
    return chosen


def render_page(
    page: ListPage[Row], sort: ListSort, render: Callable[[Row], Any]
) -> dict[str, Any]:
    """Return a page as JSON data.

    Args:
        page: The page.
        sort: The order of its list.
        render: Returns the item of a row.
    """
    return {
        "items": [render(row) for row in page.rows],
        "next_cursor": _encode(page.following, sort),
        "previous_cursor": _encode(page.previous, sort),
    }


def _encode(place: Place | None, sort: ListSort) -> str | None:
    if place is None:
        return None
    if sort == NEWEST_FIRST and not place.is_backward:
        return encode_cursor(place.position)
    data = [str(sort), place.is_backward, place.value, place.position]
    return base64.urlsafe_b64encode(orjson.dumps(data)).decode().rstrip("=")


def _decode(cursor: str, sort: ListSort) -> Place | None:
    """Return the place of a cursor of :func:`_encode`; ``None`` if it is none of this order."""
    data: Any = None
    if len(cursor) <= MAX_CURSOR_CHARACTERS:
        with contextlib.suppress(binascii.Error, ValueError):
            data = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    match data:
        case [str() as of, bool() as is_backward, value, int() as position] if of == str(sort):
            pass
        case _:
            return None
    is_number = isinstance(value, float) and math.isfinite(value)
    kinds = {
        ListOrder.CREATED: value is None,
        ListOrder.NAME: isinstance(value, str),
        ListOrder.STATE: isinstance(value, str),
        ListOrder.DURATION: is_number,
    }
    if not kinds[sort.order] or isinstance(position, bool) or not 0 <= position < 2**63:
        return None
    return Place(position, value, is_backward)
