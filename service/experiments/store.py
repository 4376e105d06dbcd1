"""Experiments and their trials in the index. All methods block; none is for the event loop."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.states import ENDED, UNFINISHED, State
from service.store.database import Database
from service.store.tables import ExperimentRow, RunRow


class ExperimentStore:
    """The table of experiments, and the runs that are their trials.

    Rows that it returns are detached: changing one changes nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: ExperimentRow, trials: Sequence[Mapping[str, Any]]) -> bool:
        """Adds an experiment with its trials, durably; False when its key or its name is taken.

        Args:
            trials: columns of their runs.
        """
        try:
            with self._database.session(durable=True) as session:
                session.add(row)
                session.flush()
                session.execute(insert(RunRow), trials)
        except IntegrityError:
            taken = self.find(row.name) is not None
            if not taken and (
                row.idempotency_key is None or not self.with_key(row.idempotency_key)
            ):
                raise
            return False
        return True

    def find(self, id_or_name: str) -> ExperimentRow | None:
        """The experiment of that id, else the one of that name."""
        with self._database.session() as session:
            for column in (ExperimentRow.experiment_id, ExperimentRow.name):
                query = select(ExperimentRow).where(column == id_or_name)
                row = session.scalars(query).one_or_none()
                if row is not None:
                    return row
        return None

    def with_key(self, idempotency_key: str) -> ExperimentRow | None:
        """The experiment that was made with that key."""
        query = select(ExperimentRow).where(ExperimentRow.idempotency_key == idempotency_key)
        with self._database.session() as session:
            return session.scalars(query).one_or_none()

    def page(
        self, limit: int, before: int | None, state: str | None, kind: str | None
    ) -> list[ExperimentRow]:
        """Experiments, newest first, from those that arrived before a position."""
        query = select(ExperimentRow).order_by(ExperimentRow.position.desc()).limit(limit)
        if before is not None:
            query = query.where(ExperimentRow.position < before)
        if state is not None:
            query = query.where(ExperimentRow.state == state)
        if kind is not None:
            query = query.where(ExperimentRow.kind == kind)
        with self._database.session() as session:
            return list(session.scalars(query))

    def change(self, experiment_id: str, *, durable: bool = True, **values: Any) -> None:
        """Sets columns of an experiment."""
        statement = update(ExperimentRow).where(ExperimentRow.experiment_id == experiment_id)
        with self._database.session(durable=durable) as session:
            session.execute(statement.values(**values))

    def unfinished(self) -> list[ExperimentRow]:
        """Experiments that have not ended, oldest first."""
        query = (
            select(ExperimentRow)
            .where(ExperimentRow.state.in_(UNFINISHED))
            .order_by(ExperimentRow.position)
        )
        with self._database.session() as session:
            return list(session.scalars(query))

    def count_by_state(self) -> dict[str, int]:
        """How many experiments are in each state that any is in."""
        query = select(ExperimentRow.state, func.count()).group_by(ExperimentRow.state)
        with self._database.session() as session:
            return {state: int(count) for state, count in session.execute(query)}

    def trials(
        self,
        experiment_id: str,
        *,
        first: int = 0,
        limit: int | None = None,
        states: Iterable[str] | None = None,
    ) -> list[RunRow]:
        """Trials from a number on, ascending."""
        query = (
            select(RunRow)
            .where(RunRow.experiment_id == experiment_id, RunRow.trial >= first)
            .order_by(RunRow.trial)
            .limit(limit)
        )
        if states is not None:
            query = query.where(RunRow.state.in_(list(states)))
        with self._database.session() as session:
            return list(session.scalars(query))

    def trial(self, experiment_id: str, number: int) -> RunRow | None:
        """The trial of that number."""
        query = select(RunRow).where(RunRow.experiment_id == experiment_id, RunRow.trial == number)
        with self._database.session() as session:
            return session.scalars(query).one_or_none()

    def cancel_queued(self, experiment_id: str, numbers: Sequence[int]) -> None:
        """Ends trials that never began."""
        statement = (
            update(RunRow)
            .where(
                RunRow.experiment_id == experiment_id,
                RunRow.trial.in_(numbers),
                RunRow.state == State.QUEUED,
            )
            .values(state=State.CANCELLED, ended_at=time.time())
        )
        with self._database.session() as session:
            session.execute(statement)

    def remove(self, experiment_id: str) -> list[str] | None:
        """Removes an experiment that has ended, with its trials.

        Returns:
            the ids of their runs; ``None`` when there was none to remove.
        """
        experiment = delete(ExperimentRow).where(
            ExperimentRow.experiment_id == experiment_id, ExperimentRow.state.in_(ENDED)
        )
        trials = delete(RunRow).where(RunRow.experiment_id == experiment_id)
        with self._database.session(durable=True) as session:
            removed = session.scalar(experiment.returning(ExperimentRow.position))
            if removed is None:
                return None
            return list(session.scalars(trials.returning(RunRow.run_id)))
