"""The rows of runs in the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from energy_flow.choices import ENDED_STATES, RunState
from service.store import id_prefix
from service.store.database import Database, Removal
from service.store.idempotency import IdempotencyKey, find_created, has_created
from service.store.list_entries import RUNS, add_run_entries, remove_entries, replace_labels
from service.store.listing import (
    ListFilter,
    ListPage,
    ListSort,
    Place,
    find_ids,
    read_page,
)
from service.store.tables import RunRow

UNFINISHED = (RunState.QUEUED, RunState.RUNNING)
"""States of a run that has not ended; only a trial can be paused."""

_IS_NO_TRIAL = RunRow.experiment_id.is_(None)
"""Trials are changed and removed with their experiment."""

_IS_COMPLETE = and_(RunRow.state.in_(ENDED_STATES), RunRow.ended_at.is_not(None))
"""As :attr:`RunRow.is_complete`."""

_RUNS = RunRow.metadata.tables[RunRow.__tablename__]
# The database chooses the position.
_ADDED = tuple(column.key for column in _RUNS.columns if column.key != "position")


class RunCatalog:
    """The table of runs.

    Attributes:
        database: The index.

    Rows that it returns are detached: changing one changes nothing in the index.

    Args:
        database: The index.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, row: RunRow) -> bool:
        """Add a run.

        Args:
            row: The new row.

        Returns:
            False if an earlier request has its idempotency key.
        """
        try:
            # A unit of work of the ORM would be a large part of the cost of a short run.
            values = {name: getattr(row, name) for name in _ADDED}
            with self.database.connection(durable=row.safe) as connection:
                added = connection.execute(_RUNS.insert(), values)
                assert added.inserted_primary_key is not None
                add_run_entries(connection, added.inserted_primary_key.position, values)
        except IntegrityError:
            if not has_created(self.database, row):
                raise
            return False
        return True

    def get(self, run_id: str) -> RunRow | None:
        """Return the run of that id, if there is one."""
        with self.database.session() as session:
            return session.scalars(select(RunRow).where(RunRow.run_id == run_id)).one_or_none()

    def find_by_prefix(self, prefix: str) -> list[str]:
        """Return the ids that begin with a prefix, in their order.

        Args:
            prefix: Beginning of an id.

        Returns:
            The ids, at most one more than a refusal names.
        """
        with self.database.session() as session:
            return id_prefix.find_ids(session, RunRow.run_id, prefix)

    def find_digests(self, run_id: str) -> bytes | None:
        """Return the encoded digests of the files of a run, if it has any."""
        query = select(RunRow.digests).where(RunRow.run_id == run_id)
        with self.database.session() as session:
            return session.scalars(query).one_or_none()

    def find_created(self, idempotency: IdempotencyKey | None) -> RunRow | None:
        """Return the run that an earlier request with the same key created, if any.

        Raises:
            Problem: 422, the key was used for another request.
        """
        return find_created(self.database, RunRow, idempotency)

    def page(
        self, chosen: ListFilter, sort: ListSort, place: Place | None, limit: int
    ) -> ListPage[RunRow]:
        """Return a page of runs.

        Args:
            chosen: Which runs are listed.
            sort: Their order.
            place: Where the page begins; ``None`` for the first page.
            limit: Most runs of the page.
        """
        with self.database.session() as session:
            return read_page(session, RunRow, chosen, sort, place, limit)

    def find_ids(self, chosen: ListFilter, expected: int) -> tuple[int, list[str]]:
        """Return how many runs a filter selects, and their ids if they are as many as expected.

        Args:
            chosen: The filter.
            expected: How many they should be.
        """
        with self.database.session() as session:
            return find_ids(session, RunRow, chosen, expected)

    def change(self, run_id: str, *, durable: bool = False, **values: Any) -> bool:
        """Set columns of a run.

        Args:
            run_id: Id of the run.
            durable: Whether to wait until the change is on the disk.
            values: New values by column.

        Returns:
            Whether there is a run of that id.
        """
        statement = _RUNS.update().where(_RUNS.c.run_id == run_id).values(**values)
        return self.database.carry_out(
            lambda session: session.connection().execute(statement).rowcount > 0, durable=durable
        )

    def find_labels(self, run_id: str) -> tuple[str, list[str], str] | None:
        """Return name, tags and note of a run, if there is one of that id."""
        query = select(RunRow.name, RunRow.tags, RunRow.note).where(RunRow.run_id == run_id)
        with self.database.session() as session:
            found = session.execute(query).one_or_none()
        return None if found is None else (found.name, found.tags, found.note)

    def relabel(
        self, run_id: str, describe: Callable[[RunRow], None], **labels: Any
    ) -> RunRow | None:
        """Change name, tags or note of a run durably.

        Args:
            run_id: Id of the run.
            describe: Function that writes its description, in the transaction.
            labels: New values by column.

        Returns:
            The run, if there is one of that id.
        """
        chosen = RunRow.run_id == run_id
        with self.database.session(durable=True) as session:
            # Also without new values: nothing else changes the row until the end.
            session.execute(update(RunRow).where(chosen).values(run_id=run_id, **labels))
            row = session.scalars(select(RunRow).where(chosen)).one_or_none()
            if row is not None:
                replace_labels(session, RUNS, row.position, row.name, row.tags, row.note)
                describe(row)
            return row

    def change_on_full_disk(self, run_id: str, **values: Any) -> None:
        """Set columns of a run durably; on a full disk, the room for removals is used.

        Args:
            run_id: Id of the run.
            values: New values by column.
        """
        statement = update(RunRow).where(RunRow.run_id == run_id).values(**values)
        with self.database.removing() as removal:
            removal.run(lambda session: session.execute(statement))

    def remove(
        self, removal: Removal, run_id: str, *states: str, make_room: Callable[[], object]
    ) -> tuple[int, str | None] | None:
        """Remove a run that is no trial.

        Args:
            removal: Carries out the transaction.
            run_id: Id of the run.
            states: States in which it may be removed; any state if none is named.
            make_room: Function that removes its files, if the disk is full.

        Returns:
            Its bytes and the digest of its dataset, if it has one; ``None`` if nothing was
            removed.
        """
        statement = delete(RunRow).where(RunRow.run_id == run_id, _IS_NO_TRIAL)
        if states:
            statement = statement.where(RunRow.state.in_(states))

        def remove(session: Session) -> tuple[int, str | None] | None:
            columns = (RunRow.bytes, RunRow.dataset_digest, RunRow.position)
            found = session.execute(statement.returning(*columns)).one_or_none()
            if found is None:
                return None
            remove_entries(session, RUNS, [found.position])
            return found.bytes, found.dataset_digest

        def make_room_if_removable() -> bool:
            row = self.get(run_id)
            if row is None or row.experiment_id is not None or (states and row.state not in states):
                return False
            make_room()
            return True

        return removal.run(remove, make_room_if_removable)

    def list_unfinished(self) -> list[RunRow]:
        """Return the runs that have not ended, oldest first, without trials."""
        query = (
            select(RunRow)
            .where(RunRow.state.in_(UNFINISHED), _IS_NO_TRIAL)
            .order_by(RunRow.position.asc())
        )
        with self.database.session() as session:
            return list(session.scalars(query))

    def list_incomplete(self) -> list[RunRow]:
        """Return the runs that have ended and whose files could not be completed, oldest first."""
        query = (
            select(RunRow)
            .where(RunRow.state.in_(ENDED_STATES), RunRow.ended_at.is_(None))
            .order_by(RunRow.position.asc())
        )
        with self.database.session() as session:
            return list(session.scalars(query))

    def list_ids(self) -> set[str]:
        """Return the ids of all runs."""
        with self.database.session() as session:
            return set(session.scalars(select(RunRow.run_id)))

    def sum_ended_bytes(self) -> int:
        """Return the bytes of all ended runs, without trials."""
        query = select(func.coalesce(func.sum(RunRow.bytes), 0)).where(
            RunRow.state.in_(ENDED_STATES), _IS_NO_TRIAL
        )
        with self.database.session() as session:
            return int(session.scalar(query) or 0)

    def mark_safe(self, run_ids: Sequence[str]) -> None:
        """Record that the files of some runs are on the disk."""
        with self.database.session() as session:
            session.execute(update(RunRow).where(RunRow.run_id.in_(run_ids)).values(safe=True))

    def list_unsafe(self) -> list[RunRow]:
        """Return the ended runs whose files may not be on the disk."""
        query = select(RunRow).where(RunRow.safe.is_(False), _IS_COMPLETE)
        with self.database.session() as session:
            return list(session.scalars(query))

    def find_oldest_ended(self) -> RunRow | None:
        """Return the last of the list of runs that have ended, if there is one; no trial.

        The order is that of :meth:`page`, which no change of the clock affects.
        """
        with self.database.session() as session:
            # For a single state, an index has this order.
            found = [
                session.scalars(
                    select(RunRow)
                    .where(RunRow.state == state, RunRow.ended_at.is_not(None), _IS_NO_TRIAL)
                    .order_by(RunRow.position.asc())
                    .limit(1)
                ).first()
                for state in ENDED_STATES
            ]
        return min(filter(None, found), key=lambda row: row.position, default=None)

    def count_by_state(self) -> dict[str, int]:
        """Return the number of runs by state, without states of no run."""
        query = select(RunRow.state, func.count()).group_by(RunRow.state)
        with self.database.session() as session:
            return {state: int(count) for state, count in session.execute(query)}

    def count(self) -> int:
        """Return the number of runs."""
        with self.database.session() as session:
            return int(session.scalar(select(func.count()).select_from(RunRow)) or 0)
