"""Unfinished experiments after a start of the server."""

from __future__ import annotations

from energy_flow.choices import RunKind, RunState
from service.experiments.store import ExperimentStore
from service.states import transition
from service.store.archive import RunArchive
from service.store.run_summary import RunSummary
from service.store.tables import ExperimentRow, RunRow


def recover_trials(
    store: ExperimentStore, archive: RunArchive, experiment: ExperimentRow
) -> list[RunRow]:
    """Bring the rows of an experiment's trials up to date with their chunks on the disk.

    Args:
        store: Store of the experiments.
        archive: Archive of the trials.
        experiment: An experiment that has not ended.

    Returns:
        The rows of all its trials, by number.
    """
    trials = store.trials(experiment.experiment_id)
    for row in trials:
        # One with an error has failed, which is stored when it is continued.
        if row.state == RunState.RUNNING and row.error is None:
            _recover_trial(archive, experiment, row)
    return trials


def _recover_trial(archive: RunArchive, experiment: ExperimentRow, row: RunRow) -> None:
    if experiment.state == RunState.PAUSED:
        row.state = transition(row.state, RunState.PAUSED)
    if row.kind == RunKind.TRIAL:
        summary = RunSummary()
        for chunk in archive.folder(row.run_id).read_intact_chunks():
            summary.add(chunk)
        row.samples_done, row.metrics = summary.samples_done, summary.metrics
    archive.catalog.change(
        row.run_id, state=row.state, samples_done=row.samples_done, metrics=row.metrics
    )
