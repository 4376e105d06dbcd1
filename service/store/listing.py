"""Lists of runs and experiments: filtered, sorted, and read in pages in both directions.

A page is found by columns of indexes and of narrow tables alone; then its rows are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, func, select, tuple_, union
from sqlalchemy.orm import Session

from energy_flow.choices import ListOrder
from service.store.id_prefix import begins_with
from service.store.list_entries import TAG, list_options, option_field, option_value
from service.store.tables import ExperimentRow, ListKeyRow, ListTextRow, RunRow

Row = TypeVar("Row", RunRow, ExperimentRow)

_UNENDED: Final = -1.0
"""In place of the duration of what has not ended."""


@dataclass(frozen=True, slots=True)
class ListFilter:
    """What entries of a list must have; what is ``None`` or empty may be any.

    Attributes:
        search: Text that a name, a note, a tag or a model contains, or an id begins with.
        tags: Tags that all must be there.
        options: Options that a request gave, nested or with dotted names.
        state: The state.
        kinds: The kinds, of which one must fit.
        model: Name of the model.
        created_after: Seconds since the epoch.
        created_before: Seconds since the epoch.
        experiment_id: Id of the experiment of which runs are trials.
    """

    search: str | None = None
    tags: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    state: str | None = None
    kinds: Sequence[str] | None = None
    model: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    experiment_id: str | None = None


@dataclass(frozen=True, slots=True)
class ListSort:
    """The order of a list.

    Attributes:
        order: What it is sorted by.
        descends: Whether the largest is first.
    """

    order: ListOrder = ListOrder.CREATED
    descends: bool = True

    def __str__(self) -> str:
        return f"{'-' if self.descends else ''}{self.order}"


NEWEST_FIRST: Final = ListSort()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins.

    Attributes:
        position: Position of the entry beside it.
        value: By what this entry is sorted; ``None`` where that is the position.
        is_backward: Whether the page ends before the entry; else it begins behind it.
    """

    position: int
    value: str | float | None = None
    is_backward: bool = False


@dataclass(frozen=True, slots=True)
class ListPage(Generic[Row]):
    """A page.

    Attributes:
        rows: Its entries.
        following: Where the next page begins; ``None`` on the last one.
        previous: Where the page before ends; ``None`` on the first one.
    """

    rows: list[Row]
    following: Place | None
    previous: Place | None


def read_page(
    session: Session,
    table: type[Row],
    chosen: ListFilter,
    sort: ListSort,
    place: Place | None,
    limit: int,
) -> ListPage[Row]:
    """Return a page of a list.

    Args:
        session: A transaction.
        table: Table of the list.
        chosen: What its entries must have.
        sort: Its order.
        place: Where the page begins; ``None`` for the first page.
        limit: Most entries of the page.
    """
    is_backward = place is not None and place.is_backward
    descends = sort.descends is not is_backward
    key = _find_key(table, sort.order)
    keys = [table.position] if key is None else [key, table.position]
    query = select(*keys).where(*_make_conditions(table, chosen))
    if place is not None:
        after = [place.position] if key is None else [place.value, place.position]
        query = query.where(tuple_(*keys) < after if descends else tuple_(*keys) > after)
    query = query.order_by(*(one.desc() if descends else one.asc() for one in keys))
    found = session.execute(query.limit(limit + 1)).all()
    has_more = len(found) > limit
    found = found[:limit]
    if is_backward:
        found = found[::-1]
    read = select(table).where(table.position.in_([one[-1] for one in found]))
    rows = {row.position: row for row in session.scalars(read)}

    def locate(one: Sequence[Any], *, is_backward: bool) -> Place:
        return Place(one[-1], None if key is None else one[0], is_backward)

    has_following = has_more if not is_backward else bool(found)
    has_previous = has_more if is_backward else place is not None and bool(found)
    return ListPage(
        # One can have been removed meanwhile.
        [rows[one[-1]] for one in found if one[-1] in rows],
        locate(found[-1], is_backward=False) if has_following else None,
        locate(found[0], is_backward=True) if has_previous else None,
    )


def find_ids(
    session: Session, table: type[Row], chosen: ListFilter, expected: int
) -> tuple[int, list[str]]:
    """Return how many entries a filter selects, and their ids if they are as many as expected.

    Args:
        session: A transaction.
        table: Table of the list.
        chosen: The filter.
        expected: How many they should be.
    """
    conditions = _make_conditions(table, chosen)
    found = session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0
    if found != expected:
        return found, []
    query = select(_id_column(table)).where(*conditions).order_by(table.position.desc())
    return found, list(session.scalars(query))


def _make_conditions(
    table: type[RunRow] | type[ExperimentRow], chosen: ListFilter
) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter.

    Args:
        table: Table of the list.
        chosen: The filter.
    """
    conditions: list[ColumnElement[bool]] = []
    if chosen.state is not None:
        conditions.append(table.state == chosen.state)
    if chosen.model is not None:
        conditions.append(table.model == chosen.model)
    if chosen.experiment_id is not None:
        conditions.append(RunRow.experiment_id == chosen.experiment_id)
    if chosen.kinds is not None:
        conditions.append(table.kind.in_(chosen.kinds))
    times = []
    if chosen.created_after is not None:
        times.append(table.created_at > chosen.created_after)
    if chosen.created_before is not None:
        times.append(table.created_at < chosen.created_before)
    if times:
        # Alone, it is read from the index; in the order of positions, from the wide rows.
        conditions.append(table.position.in_(select(table.position).where(*times)))
    owner = table.__tablename__
    wanted = [(TAG, tag) for tag in chosen.tags]
    wanted += [
        (option_field(name), option_value(value)) for name, value in list_options(chosen.options)
    ]
    for name, value in wanted:
        has = select(ListKeyRow.position).where(
            ListKeyRow.owner == owner, ListKeyRow.field == name, ListKeyRow.value == value
        )
        conditions.append(table.position.in_(has))
    if chosen.search:
        conditions.append(_match(table, chosen.search))
    return conditions


def _match(table: type[RunRow] | type[ExperimentRow], text: str) -> ColumnElement[bool]:
    folded = text.casefold()
    texts = select(ListTextRow.position).where(
        ListTextRow.owner == table.__tablename__,
        ListTextRow.text.contains(folded, autoescape=True),
    )
    by_id = select(table.position).where(begins_with(_id_column(table), folded))
    by_model = select(table.position).where(table.model.icontains(folded, autoescape=True))
    return table.position.in_(union(texts, by_id, by_model))


def _id_column(table: type[RunRow] | type[ExperimentRow]) -> Any:
    return RunRow.run_id if table is RunRow else ExperimentRow.experiment_id


def _find_key(
    table: type[RunRow] | type[ExperimentRow], order: ListOrder
) -> ColumnElement[Any] | None:
    """Return by what a list is sorted; ``None`` if that is the position alone."""
    match order:
        case ListOrder.CREATED:
            return None
        case ListOrder.NAME:
            return table.name.expression
        case ListOrder.STATE:
            return table.state.expression
        case ListOrder.DURATION:
            return func.coalesce(table.ended_at - table.started_at, _UNENDED)
