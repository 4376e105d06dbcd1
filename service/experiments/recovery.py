"""Unfinished experiments after a start of the server."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from energy_flow.choices import RunKind, RunState
from service.experiments.arithmetic import find_arithmetic_problem, find_trials_arithmetic
from service.experiments.store import ExperimentStore
from service.problems import Problem
from service.states import transition
from service.store.archive import RunArchive
from service.store.run_summary import RunSummary
from service.store.tables import ExperimentRow, RunRow

log = logging.getLogger(__name__)


def recover_trials(
    store: ExperimentStore, archive: RunArchive, experiment: ExperimentRow
) -> list[RunRow]:
    """Bring the rows of an experiment's trials up to date with their chunks on the disk.

    An experiment of another arithmetic is paused before.

    Args:
        store: Store of the experiments.
        archive: Archive of the trials.
        experiment: An experiment that has not ended.

    Returns:
        The rows of all its trials, by number.
    """
    trials = store.trials(experiment.experiment_id)
    _pause_other_arithmetic(store, experiment, trials)
    for row in trials:
        # One with an error has failed, which is stored when it is continued.
        if row.state == RunState.RUNNING and row.error is None:
            _recover_trial(archive, experiment, row)
    return trials


def _pause_other_arithmetic(
    store: ExperimentStore, experiment: ExperimentRow, trials: Sequence[RunRow]
) -> None:
    fails_fast = experiment.request["fail_fast"] and any(
        trial.state == RunState.FAILED for trial in trials
    )
    if experiment.cancelling or fails_fast:
        # It ends without further results.
        return
    problem = find_arithmetic_problem(experiment, find_trials_arithmetic(trials))
    if problem is None:
        return
    if experiment.state != RunState.PAUSED:
        experiment.state = transition(experiment.state, RunState.PAUSED)
    experiment.error = problem.to_dict()
    columns = {"state": experiment.state, "error": experiment.error}
    store.change_on_full_disk(experiment.experiment_id, **columns)


def _recover_trial(archive: RunArchive, experiment: ExperimentRow, row: RunRow) -> None:
    if experiment.state == RunState.PAUSED:
        row.state = transition(row.state, RunState.PAUSED)
    if row.kind == RunKind.TRIAL:
        summary = RunSummary()
        try:
            for chunk in archive.unfinished(row).read_intact_chunks():
                summary.add(chunk)
        except (OSError, Problem) as error:
            # The server starts; the trial meets the problem again when it continues.
            log.warning("the chunks of run %s cannot be read: %s", row.run_id, error)
        else:
            row.samples_done, row.metrics = summary.samples_done, summary.metrics
    columns = {"state": row.state, "samples_done": row.samples_done, "metrics": row.metrics}
    archive.catalog.change_on_full_disk(row.run_id, **columns)
