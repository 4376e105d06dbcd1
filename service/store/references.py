"""Rows that refer to a dataset or a model and so prevent its removal.

The rows are read in the transaction that removes. A row that refers to a dataset or a model is
added within ``prevent_removal`` of its registry.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, exists, or_, select
from sqlalchemy.orm import Session

from service.problems import Problem
from service.store.catalog import UNFINISHED
from service.store.tables import DatasetContentRow, DatasetRow, ExperimentRow, RunRow

# Users that a refusal names.
MAX_NAMED = 5


def check_dataset_unused(session: Session, name: str) -> None:
    """Refuse to remove a dataset that an unfinished run or an experiment uses.

    Args:
        session: Transaction that removes it.
        name: Name of the dataset.

    Raises:
        Problem: 409, naming the users.
    """
    users = _unfinished_runs(session, RunRow.dataset == name)
    users += _experiments(session, ExperimentRow.dataset == name)
    _refuse_if_used(f"dataset {name!r}", users)


def check_model_unused(session: Session, name: str) -> None:
    """Refuse to remove a model that an unfinished run or an experiment uses.

    Args:
        session: Transaction that removes it.
        name: Name of the model.

    Raises:
        Problem: 409, naming the users.
    """
    users = _unfinished_runs(session, RunRow.model == name)
    users += _experiments(session, ExperimentRow.model == name)
    _refuse_if_used(f"model {name!r}", users)


def is_unreferenced() -> ColumnElement[bool]:
    """Return the condition that no dataset and no run refers to a row of ``dataset_contents``."""
    digest = DatasetContentRow.digest
    return ~or_(
        exists().where(DatasetRow.digest == digest),
        exists().where(RunRow.dataset_digest == digest),
    )


def has_other_references(name: str, digest: str) -> Select[bool]:
    """Return the query whether anything but a name refers to the content of a dataset.

    Args:
        name: Name of the dataset.
        digest: Digest of its content.
    """
    return select(
        or_(
            exists().where(DatasetRow.digest == digest, DatasetRow.name != name),
            exists().where(RunRow.dataset_digest == digest),
        )
    )


def _unfinished_runs(session: Session, condition: ColumnElement[bool]) -> list[str]:
    query = (
        select(RunRow.run_id)
        .where(condition, RunRow.state.in_(UNFINISHED), RunRow.experiment_id.is_(None))
        .order_by(RunRow.position)
        .limit(MAX_NAMED)
    )
    return [f"run {run_id}" for run_id in session.scalars(query)]


def _experiments(session: Session, condition: ColumnElement[bool]) -> list[str]:
    query = (
        select(ExperimentRow.name)
        .where(condition)
        .order_by(ExperimentRow.position)
        .limit(MAX_NAMED)
    )
    return [f"experiment {name}" for name in session.scalars(query)]


def _refuse_if_used(what: str, users: list[str]) -> None:
    if users:
        raise Problem(
            409,
            f"{what} is in use by {', '.join(users)}; delete these first",
            extra={"users": users},
        )
