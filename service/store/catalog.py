"""Runs in the index: added, found, listed, changed, removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from service.store.database import Database
from service.store.tables import RunRow

ENDED = ("succeeded", "failed", "cancelled")
UNFINISHED = ("queued", "running")

_OF_ITS_OWN = RunRow.experiment_id.is_(None)
"""What is done with runs is not done with trials: their experiment sees to them."""

_RUNS = RunRow.metadata.tables[RunRow.__tablename__]
# The position is the database's to give.
_ADDED = tuple(column.key for column in _RUNS.columns if column.key != "position")


class RunCatalog:
    """The table of runs. Rows that it returns are detached: changing one changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: RunRow) -> bool:
        """Adds a run; False when its idempotency key is taken."""
        try:
            # A session's unit of work would be a good part of what a short run costs to keep.
            values = {name: getattr(row, name) for name in _ADDED}
            with self._database.connection(durable=row.safe) as connection:
                connection.execute(_RUNS.insert(), values)
        except IntegrityError:
            if row.idempotency_key is None or self.with_key(row.idempotency_key) is None:
                raise
            return False
        return True

    def get(self, run_id: str) -> RunRow | None:
        """The run of that id."""
        return self._one(RunRow.run_id == run_id)

    def with_key(self, idempotency_key: str) -> RunRow | None:
        """The run that was made with that key."""
        return self._one(RunRow.idempotency_key == idempotency_key)

    def page(
        self,
        limit: int,
        before: int | None,
        *,
        state: str | None = None,
        kinds: Sequence[str] | None = None,
        experiment_id: str | None = None,
    ) -> list[RunRow]:
        """Runs, newest first, from those that arrived before a position."""
        query = select(RunRow).order_by(RunRow.position.desc()).limit(limit)
        if before is not None:
            query = query.where(RunRow.position < before)
        if kinds is not None:
            query = query.where(RunRow.kind.in_(kinds))
        for column, value in ((RunRow.state, state), (RunRow.experiment_id, experiment_id)):
            if value is not None:
                query = query.where(column == value)
        with self._database.session() as session:
            return list(session.scalars(query))

    def change(self, run_id: str, *, durable: bool = False, **values: Any) -> None:
        """Sets columns of a run.

        Args:
            durable: it survives a power cut.
        """
        with self._database.session(durable=durable) as session:
            session.execute(update(RunRow).where(RunRow.run_id == run_id).values(**values))

    def remove(self, run_id: str, *states: str) -> tuple[int, str | None] | None:
        """Removes a run, if it is in one of the states (any, when none is named) and no
        trial.

        Returns:
            the bytes that it had, and the digest of the dataset that it needed, if it did;
            ``None`` when there was none to remove.
        """
        statement = delete(RunRow).where(RunRow.run_id == run_id, _OF_ITS_OWN)
        if states:
            statement = statement.where(RunRow.state.in_(states))
        with self._database.session() as session:
            removed = session.execute(statement.returning(RunRow.bytes, RunRow.dataset_digest))
            found = removed.one_or_none()
            return None if found is None else (found.bytes, found.dataset_digest)

    def unfinished(self) -> list[RunRow]:
        """Runs that have not ended, oldest first; no trials."""
        query = (
            select(RunRow)
            .where(RunRow.state.in_(UNFINISHED), _OF_ITS_OWN)
            .order_by(RunRow.position.asc())
        )
        with self._database.session() as session:
            return list(session.scalars(query))

    def ids(self) -> set[str]:
        """Ids of all runs."""
        with self._database.session() as session:
            return set(session.scalars(select(RunRow.run_id)))

    def ended_bytes(self) -> int:
        """Bytes that ended runs take; without trials."""
        query = select(func.coalesce(func.sum(RunRow.bytes), 0)).where(
            RunRow.state.in_(ENDED), _OF_ITS_OWN
        )
        with self._database.session() as session:
            return int(session.scalar(query) or 0)

    def note_safe(self, run_ids: Sequence[str]) -> None:
        """Notes that a power cut cannot hurt these runs any more."""
        with self._database.session() as session:
            session.execute(update(RunRow).where(RunRow.run_id.in_(run_ids)).values(safe=True))

    def unsafe(self) -> list[RunRow]:
        """Ended runs whose files may not be safely on the disk."""
        query = select(RunRow).where(RunRow.safe.is_(False), RunRow.state.in_(ENDED))
        with self._database.session() as session:
            return list(session.scalars(query))

    def oldest_ended(self) -> RunRow | None:
        """The run that ended first; no trial."""
        query = (
            select(RunRow)
            .where(RunRow.state.in_(ENDED), _OF_ITS_OWN)
            .order_by(RunRow.ended_at.asc(), RunRow.position.asc())
            .limit(1)
        )
        with self._database.session() as session:
            return session.scalars(query).first()

    def count_by_state(self) -> dict[str, int]:
        """How many runs are in each state that any is in."""
        query = select(RunRow.state, func.count()).group_by(RunRow.state)
        with self._database.session() as session:
            return {state: int(count) for state, count in session.execute(query)}

    def count(self) -> int:
        """How many runs there are."""
        with self._database.session() as session:
            return int(session.scalar(select(func.count()).select_from(RunRow)) or 0)

    def _one(self, condition: ColumnElement[bool]) -> RunRow | None:
        with self._database.session() as session:
            return session.scalars(select(RunRow).where(condition)).one_or_none()
