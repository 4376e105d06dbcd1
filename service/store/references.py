"""What refers to a dataset or a model, and so keeps it from being removed.

Rows are looked at in the transaction that removes. Whoever adds one that refers to a dataset or a
model does so while its registry is ``keeping`` it.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from service.problems import Problem
from service.store.catalog import UNFINISHED
from service.store.tables import DatasetContentRow, DatasetRow, ExperimentRow, RunRow

# Of those that are in the way, so many are named.
MOST_NAMED = 5


def check_dataset_unused(session: Session, name: str) -> None:
    """Refuses to remove a dataset that something has yet to read under its name, or an experiment
    is about.

    Raises:
        Problem: 409, naming what that is.
    """
    users = _unfinished_runs(session, RunRow.dataset == name)
    users += _experiments(session, ExperimentRow.dataset == name)
    _check(f"the dataset {name!r}", users)


def check_model_unused(session: Session, name: str) -> None:
    """Refuses to remove a model that something has yet to use, or an experiment is about.

    Raises:
        Problem: 409, naming what that is.
    """
    users = _unfinished_runs(session, RunRow.model == name)
    users += _experiments(session, ExperimentRow.model == name)
    _check(f"the model {name!r}", users)


def unreferenced() -> ColumnElement[bool]:
    """Whether nothing refers to the content of a row of ``dataset_contents``."""
    digest = DatasetContentRow.digest
    return ~or_(
        exists().where(DatasetRow.digest == digest),
        exists().where(RunRow.dataset_digest == digest),
    )


def _unfinished_runs(session: Session, condition: ColumnElement[bool]) -> list[str]:
    query = (
        select(RunRow.run_id)
        .where(condition, RunRow.state.in_(UNFINISHED), RunRow.experiment_id.is_(None))
        .order_by(RunRow.position)
        .limit(MOST_NAMED)
    )
    return [f"run {run_id}" for run_id in session.scalars(query)]


def _experiments(session: Session, condition: ColumnElement[bool]) -> list[str]:
    query = (
        select(ExperimentRow.name)
        .where(condition)
        .order_by(ExperimentRow.position)
        .limit(MOST_NAMED)
    )
    return [f"experiment {name}" for name in session.scalars(query)]


def _check(what: str, users: list[str]) -> None:
    if users:
        raise Problem(409, f"{what} is in use by {', '.join(users)}", extra={"users": users})
