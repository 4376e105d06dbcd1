"""``NewModelNames``: names that models have, and those that unfinished trainings will give to some.

A training can last for days. Its model gets its name at the end, so nothing else may take the name
before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from energy_flow.choices import UNFINISHED_STATES, RunKind
from service.models.model import Model, check_name
from service.problems import Problem
from service.store.database import Database
from service.store.names import check_new_name
from service.store.tables import ExperimentRow, ModelRow, RunRow

MAX_NAME = 64
"""Most characters of a name."""


class NewModelNames:
    """Checks the names of new models. Methods block.

    Args:
        database: The index.
        models: All models by name, as they are at each call.
    """

    def __init__(self, database: Database, models: Mapping[str, Model]) -> None:
        self._database = database
        self._models = models

    def check(self, name: str) -> None:
        """Refuse a name that a new model cannot have, before work on the model begins.

        Args:
            name: Name that no model has.

        Raises:
            Problem: 409, an unfinished training will make a model of that name, or a name differs
                only in case; 422, the name is reserved.
        """
        with self._database.session() as session:
            self.check_added(session, name)

    def check_added(self, session: Session, name: str) -> None:
        """Refuse a name in the transaction that adds the model, as :meth:`check`.

        Args:
            session: The transaction, which has written already.
            name: Name of the model.
        """
        check_name(name)
        promised = _find_promised(session)
        if name in promised:
            message = f"experiment {promised[name]!r} will make a model {name!r}"
            raise _refuse(message, promised[name])
        check_new_name(name, [*self._models, *promised])

    def check_promised(self, session: Session, names: Iterable[str]) -> None:
        """Refuse trainings whose models cannot have their names, in the transaction that adds them.

        Args:
            session: The transaction, which has written already, but not the trainings.
            names: Names of their models.

        Raises:
            Problem: 409, a model has such a name, an unfinished training will make one, or a name
                differs only in case; 422, a name is reserved.
        """
        names = list(names)
        promised = _find_promised(session) if names else {}
        # A model that is being added may have a row only.
        taken = {*self._models, *session.scalars(select(ModelRow.name))} if names else set()
        for name in names:
            check_name(name)
            if name in taken:
                raise _refuse(
                    f"model {name!r} already exists, and models are named after experiments"
                )
            if name in promised:
                message = f"experiment {promised[name]!r} will make a model {name!r}, too"
                raise _refuse(message, promised[name])
            check_new_name(name, [*taken, *promised])

    def is_distinct(self, name: str) -> bool:
        """Return whether no model has a name that differs only in case.

        Args:
            name: Name that a training was promised.
        """
        return all(other == name or other.lower() != name.lower() for other in self._models)

    def is_free(self, name: str) -> bool:
        """Return whether a new model can have a name that nobody was promised.

        Args:
            name: The name.
        """
        if name in self._models:
            return False
        try:
            self.check(name)
        except Problem:
            return False
        return True


def number_name(name: str, number: int) -> str:
    """Return a name with a number, cut so that it is not too long.

    Args:
        name: The name.
        number: The number; the name itself is the first one.
    """
    if number == 1:
        return name
    end = f"-{number}"
    return name[: MAX_NAME - len(end)] + end


def _find_promised(session: Session) -> dict[str, str]:
    """Return the experiments of unfinished trainings, by the names of the models they will make."""
    name = RunRow.request["makes_model"].as_string()
    query = (
        select(name, ExperimentRow.name)
        .join(ExperimentRow, RunRow.experiment_id == ExperimentRow.experiment_id)
        .where(RunRow.kind == RunKind.TRAINING, RunRow.state.in_(UNFINISHED_STATES))
    )
    return {made: experiment for made, experiment in session.execute(query) if made is not None}


def _refuse(what: str, experiment: str | None = None) -> Problem:
    extra = {} if experiment is None else {"experiment": experiment}
    return Problem(409, f"{what}; choose another name", extra=extra)
