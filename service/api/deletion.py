"""Deletion of several runs or experiments by one request."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from energy_flow.errors import Fault
from service.api.list_query import bound_filter
from service.problems import Problem, invalid, problem_of
from service.schemas.list_filter import DeletionFields, ListFilterFields, parse_instant
from service.store.listing import ListFilter
from service.threads import Threads, in_thread

log = logging.getLogger(__name__)


def make_filter(
    fields: ListFilterFields, kinds: Iterable[str] | None, experiment_id: str | None = None
) -> ListFilter:
    """Return the filter of a body.

    Args:
        fields: Its members.
        kinds: Kinds that are selected; ``None`` for all.
        experiment_id: Id of the experiment whose runs are selected.

    Raises:
        Problem: 422, it has too many tags or options.
    """
    after, before = fields.created_after, fields.created_before
    chosen = ListFilter(
        search=fields.search,
        tags=fields.tag or (),
        options=fields.options or {},
        state=fields.state,
        kinds=None if kinds is None else list(kinds),
        model=fields.model,
        created_after=None if after is None else parse_instant(after),
        created_before=None if before is None else parse_instant(before),
        experiment_id=experiment_id,
    )
    return bound_filter(chosen)


async def choose(
    fields: DeletionFields,
    chosen: ListFilter | None,
    find_ids: Callable[[ListFilter, int], tuple[int, list[str]]],
) -> list[str]:
    """Return the ids of what is to be deleted.

    Args:
        fields: The request.
        chosen: Its filter, if it has one.
        find_ids: Returns how many a filter selects, and their ids if they are as many as expected.

    Raises:
        Problem: 409, the filter selects another number; 422, the request has not exactly one of
            ids and filter, or a filter without the number.
    """
    if (fields.ids is None) == (chosen is None):
        raise invalid([Fault(("ids",), "give either ids, or filter with count", fields.ids)])
    if chosen is None:
        if fields.count is not None:
            raise invalid([Fault(("count",), "belongs to filter; leave it out", fields.count)])
        return list(dict.fromkeys(fields.ids or ()))
    if fields.count is None:
        raise invalid([Fault(("count",), "is required with filter", None)])
    found, ids = await in_thread(Threads.READS, find_ids, chosen, fields.count)
    if found != fields.count:
        message = f"the filter selects {found}, not {fields.count}; nothing is deleted"
        raise Problem(409, message, extra={"count": found})
    return ids


async def delete_each(
    ids: Iterable[str], delete: Callable[[str], Awaitable[None]]
) -> dict[str, Any]:
    """Delete one after the other; what cannot be deleted does not keep the others.

    Args:
        ids: What to delete.
        delete: Deletes one.

    Returns:
        The answer.
    """
    deleted: list[str] = []
    kept: list[dict[str, Any]] = []
    for one in ids:
        try:
            await delete(one)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                log.exception("%s could not be deleted", one)
            kept.append({"id": one, "error": problem.to_dict()})
        else:
            deleted.append(one)
    return {"deleted": deleted, "kept": kept}
