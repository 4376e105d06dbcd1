"""The rows of experiments and their trials in the index. All methods block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from energy_flow.choices import ENDED_STATES, UNFINISHED_STATES, RunState
from service.store import id_prefix
from service.store.database import Database, Removal
from service.store.id_prefix import choose_id, is_prefix
from service.store.idempotency import IdempotencyKey, find_created, has_created
from service.store.list_entries import (
    EXPERIMENTS,
    RUNS,
    add_entries,
    add_run_entries,
    find_keys,
    find_text,
    remove_entries,
    replace_labels,
)
from service.store.listing import (
    ListFilter,
    ListPage,
    ListSort,
    Place,
    find_ids,
    read_page,
)
from service.store.names import check_new_name, find_like
from service.store.tables import ExperimentRow, RunRow

RESTARTED: Final = (RunState.FAILED, RunState.CANCELLED)
"""States of the trials that a retry starts again."""

# Event ids of an experiment between two starts. A larger number of starts than 2^53 / 10^9 would
# leave the range of integers that JSON readers represent exactly.
EVENT_IDS_PER_START: Final = 10**9


class ExperimentStore:
    """The table of experiments, and the runs that are their trials.

    Rows that it returns are detached: changing one changes nothing in the index.

    Args:
        database: The index.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(
        self,
        row: ExperimentRow,
        trials: Sequence[Mapping[str, Any]],
        check: Callable[[Session], None] = lambda _: None,
    ) -> bool:
        """Add an experiment with its trials durably.

        Args:
            row: The experiment.
            trials: Columns of the runs of its trials.
            check: Refuses what the trials will make, in the transaction that adds them.

        Returns:
            False if an earlier request has its idempotency key, or another experiment its name.

        Raises:
            Problem: 409, an experiment has a name that differs only in case; 422, the name is
                reserved; else as ``check``.
        """
        try:
            with self.database.session(durable=True) as session:
                session.add(row)
                # Written first, so that no other transaction adds a name meanwhile.
                session.flush()
                check_new_name(row.name, find_like(session, ExperimentRow.name, row.name))
                check(session)
                session.execute(insert(RunRow), trials)
                _add_entries(session, row, trials)
        except IntegrityError:
            if self.find(row.name) is None and not has_created(self.database, row):
                raise
            return False
        return True

    def find(self, id_or_name: str) -> ExperimentRow | None:
        """Return the experiment of that id, else the one of that name, if there is one.

        If there is neither, the text can be the beginning of an id.

        Raises:
            Problem: 409, several ids begin with it.
        """
        with self.database.session() as session:
            for column in (ExperimentRow.experiment_id, ExperimentRow.name):
                query = select(ExperimentRow).where(column == id_or_name)
                row = session.scalars(query).one_or_none()
                if row is not None:
                    return row
            if not is_prefix(id_or_name):
                return None
            ids = id_prefix.find_ids(session, ExperimentRow.experiment_id, id_or_name)
            found = choose_id("experiment", id_or_name, ids)
            if found is None:
                return None
            query = select(ExperimentRow).where(ExperimentRow.experiment_id == found)
            return session.scalars(query).one_or_none()

    def find_created(self, idempotency: IdempotencyKey | None) -> ExperimentRow | None:
        """Return the experiment that an earlier request with the same key created, if any.

        Raises:
            Problem: 422, the key was used for another request.
        """
        return find_created(self.database, ExperimentRow, idempotency)

    def page(
        self, chosen: ListFilter, sort: ListSort, place: Place | None, limit: int
    ) -> ListPage[ExperimentRow]:
        """Return a page of experiments.

        Args:
            chosen: Which experiments are listed.
            sort: Their order.
            place: Where the page begins; ``None`` for the first page.
            limit: Most experiments of the page.
        """
        with self.database.session() as session:
            return read_page(session, ExperimentRow, chosen, sort, place, limit)

    def find_ids(self, chosen: ListFilter, expected: int) -> tuple[int, list[str]]:
        """Return how many experiments a filter selects, and their ids if as many are expected.

        Args:
            chosen: The filter.
            expected: How many they should be.
        """
        with self.database.session() as session:
            return find_ids(session, ExperimentRow, chosen, expected)

    def change(self, experiment_id: str, *, durable: bool = True, **values: Any) -> None:
        """Set columns of an experiment.

        Args:
            experiment_id: Its id.
            durable: Whether to wait until the change is on the disk.
            values: New values by column.
        """
        statement = update(ExperimentRow).where(ExperimentRow.experiment_id == experiment_id)
        self.database.carry_out(
            lambda session: session.execute(statement.values(**values)), durable=durable
        )

    def relabel(self, experiment_id: str, **labels: Any) -> ExperimentRow | None:
        """Change tags or note of an experiment durably.

        Args:
            experiment_id: Its id.
            labels: New values by column.

        Returns:
            The experiment, if there is one of that id.
        """
        chosen = ExperimentRow.experiment_id == experiment_id
        with self.database.session(durable=True) as session:
            if labels:
                session.execute(update(ExperimentRow).where(chosen).values(**labels))
            row = session.scalars(select(ExperimentRow).where(chosen)).one_or_none()
            if row is not None:
                replace_labels(session, EXPERIMENTS, row.position, row.name, row.tags, row.note)
            return row

    def change_on_full_disk(self, experiment_id: str, **values: Any) -> None:
        """Set columns of an experiment durably; on a full disk, the room for removals is used.

        Args:
            experiment_id: Its id.
            values: New values by column.
        """
        statement = update(ExperimentRow).where(ExperimentRow.experiment_id == experiment_id)
        with self.database.removing() as removal:
            removal.run(lambda session: session.execute(statement.values(**values)))

    def list_unfinished(self) -> list[ExperimentRow]:
        """Return the experiments that have not ended, oldest first."""
        query = (
            select(ExperimentRow)
            .where(ExperimentRow.state.in_(UNFINISHED_STATES))
            .order_by(ExperimentRow.position)
        )
        with self.database.session() as session:
            return list(session.scalars(query))

    def count_by_state(self) -> dict[str, int]:
        """Return the number of experiments by state, without states of no experiment."""
        query = select(ExperimentRow.state, func.count()).group_by(ExperimentRow.state)
        with self.database.session() as session:
            return {state: int(count) for state, count in session.execute(query)}

    def trials(
        self,
        experiment_id: str,
        *,
        first: int = 0,
        limit: int | None = None,
        states: Iterable[str] | None = None,
    ) -> list[RunRow]:
        """Return the runs of an experiment's trials, by number.

        Args:
            experiment_id: Id of the experiment.
            first: Number of the first trial.
            limit: Most rows to return; all by default.
            states: Return only trials in these states.
        """
        query = (
            select(RunRow)
            .where(RunRow.experiment_id == experiment_id, RunRow.trial >= first)
            .order_by(RunRow.trial)
            .limit(limit)
        )
        if states is not None:
            query = query.where(RunRow.state.in_(list(states)))
        with self.database.session() as session:
            return list(session.scalars(query))

    def trial(self, experiment_id: str, number: int) -> RunRow | None:
        """Return the run of the trial of that number, if there is one."""
        query = select(RunRow).where(RunRow.experiment_id == experiment_id, RunRow.trial == number)
        with self.database.session() as session:
            return session.scalars(query).one_or_none()

    def cancel_queued(self, experiment_id: str, numbers: Sequence[int]) -> None:
        """End trials that never started.

        Args:
            experiment_id: Id of the experiment.
            numbers: Numbers of the trials; those that have started meanwhile are left alone.
        """
        statement = (
            update(RunRow)
            .where(
                RunRow.experiment_id == experiment_id,
                RunRow.trial.in_(numbers),
                RunRow.state == RunState.QUEUED,
            )
            .values(state=RunState.CANCELLED, ended_at=time.time())
        )
        with self.database.session() as session:
            session.execute(statement)

    def restart(
        self,
        removal: Removal,
        row: ExperimentRow,
        trials: Sequence[Mapping[str, Any]],
        check: Callable[[Session], None],
    ) -> list[str] | None:
        """Queue a failed experiment again, with new runs in place of those that did not succeed.

        Args:
            removal: Carries out the transaction.
            row: The experiment.
            trials: Columns of the new runs.
            check: Refuses what the trials will make, in the transaction that adds them.

        Returns:
            The ids of the runs that were removed; ``None`` if the experiment was removed or started
            again meanwhile.

        Raises:
            Problem: As ``check``.
        """
        values = {
            "state": RunState.QUEUED,
            "ended_at": None,
            "error": None,
            "counts": None,
            "last_event_id": row.last_event_id + EVENT_IDS_PER_START,
        }
        change = update(ExperimentRow).where(
            ExperimentRow.experiment_id == row.experiment_id,
            ExperimentRow.state == RunState.FAILED,
        )
        numbers = [trial["trial"] for trial in trials]
        old = delete(RunRow).where(
            RunRow.experiment_id == row.experiment_id,
            RunRow.trial.in_(numbers),
            RunRow.state.in_(RESTARTED),
        )

        def restart(session: Session) -> list[str] | None:
            if session.scalar(change.values(**values).returning(ExperimentRow.position)) is None:
                return None
            check(session)
            runs = session.execute(old.returning(RunRow.run_id, RunRow.position)).all()
            remove_entries(session, RUNS, [run.position for run in runs])
            session.execute(insert(RunRow), trials)
            positions = _find_positions(session, row.experiment_id)
            for trial in trials:
                add_run_entries(session, positions[trial["trial"]], trial)
            return [run.run_id for run in runs]

        return removal.run(restart)

    def remove(
        self, removal: Removal, experiment_id: str, make_room: Callable[[], bool]
    ) -> list[str] | None:
        """Remove an ended experiment with its trials.

        Args:
            removal: Carries out the transaction.
            experiment_id: Id of the experiment.
            make_room: Function that removes the files of its trials, if the disk is full.

        Returns:
            The ids of the trials' runs; ``None`` if nothing was removed.
        """
        experiment = delete(ExperimentRow).where(
            ExperimentRow.experiment_id == experiment_id, ExperimentRow.state.in_(ENDED_STATES)
        )
        trials = delete(RunRow).where(RunRow.experiment_id == experiment_id)

        def remove(session: Session) -> list[str] | None:
            removed = session.scalar(experiment.returning(ExperimentRow.position))
            if removed is None:
                return None
            remove_entries(session, EXPERIMENTS, [removed])
            runs = session.execute(trials.returning(RunRow.run_id, RunRow.position)).all()
            remove_entries(session, RUNS, [run.position for run in runs])
            return [run.run_id for run in runs]

        return removal.run(remove, make_room)


def _find_positions(session: Session, experiment_id: str) -> dict[int | None, int]:
    """Return the positions of an experiment's runs by the numbers of their trials."""
    query = select(RunRow.trial, RunRow.position).where(RunRow.experiment_id == experiment_id)
    return {found.trial: found.position for found in session.execute(query)}


def _add_entries(session: Session, row: ExperimentRow, trials: Sequence[Mapping[str, Any]]) -> None:
    """Add what an experiment and its trials are found by in lists."""
    positions = _find_positions(session, row.experiment_id)
    keys = find_keys(row.tags, {})
    for trial in trials:
        add_run_entries(session, positions[trial["trial"]], trial)
        keys |= find_keys([], trial["request"]["options"])
    add_entries(session, EXPERIMENTS, row.position, keys, find_text(row.name, row.tags, row.note))
