"""Watch an experiment to its end, across broken connections and restarts of the server."""

from __future__ import annotations

import time

import typer

from energy_flow.choices import EventName, RunState
from energy_flow.client import (
    PATIENT,
    Experiment,
    ExperimentEvent,
    FlowClient,
    FlowClientError,
    ProblemError,
    ResponseTimeout,
    ServerUnavailable,
    ServerUnreachable,
    Trial,
)
from energy_flow.client.experiment_events import RunningTrial
from energy_flow.client.experiments import ExperimentProgress, TrialCounts
from service.cli.execute.server_client import open_client, open_for_experiments
from service.cli.experiment.display import Display, WatchState, open_display
from service.cli.experiment.view import command, describe_failure, describe_trial, format_duration
from service.cli.input.failures import EXIT_INTERRUPTED, CommandFailed
from service.cli.input.terminal import print_note

MAX_FAILURES_LISTED = 20


def follow(name: str, url: str, api_key: str | None) -> Experiment:
    """Show an experiment until it has ended; Ctrl-C stops watching, and the experiment continues.

    Args:
        name: name or id of the experiment.
        url: address of the server.
        api_key: its key, if it needs one.

    Returns:
        The experiment after its end.

    Raises:
        CommandFailed: the server could not be reached for too long.
        FlowClientError: the experiment does not exist, or there is no server.
    """
    with open_for_experiments(url, api_key, name) as client:
        # Without long retries, so that a wrong name or address is reported at once.
        experiment = client.experiments.get(name)
    watch_again = command("watch", experiment.name, url)
    try:
        with open_client(url, api_key, PATIENT) as client, open_display() as shown:
            return Watch(client, experiment, shown).run()
    except KeyboardInterrupt:
        print_note(
            f"stopped watching; experiment {experiment.name} continues. "
            f"Watch it again with: {watch_again}"
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (ServerUnreachable, ServerUnavailable, ResponseTimeout) as error:
        raise CommandFailed(f"{error}; watch the experiment again with: {watch_again}") from None


class Watch:
    """One watch of one experiment.

    Args:
        client: retries for long.
        experiment: the latest state that is known.
        shown: where to show it.
    """

    def __init__(self, client: FlowClient, experiment: Experiment, shown: Display) -> None:
        self._url = client.url
        self._experiments = client.experiments
        self._id = experiment.experiment_id
        self._shown = shown
        self._watched = WatchState(
            experiment.name, experiment.state, experiment.trials, experiment.progress
        )
        self._noted_failures: set[int] = set()
        self._noted_problem: str | None = None
        self._disconnected_at: float | None = None
        self._note_problem(experiment.problem)

    def run(self) -> Experiment:
        """Follow the events to the end; return the experiment as it is then."""
        self._read_failures()
        for event in self._experiments.watch(self._id, on_connection=self._on_connection):
            self._apply(event)
            self._shown.show(self._watched)
        # The end is read from the experiment, because events may have been missed.
        experiment = self._experiments.wait(self._id)
        self._read_failures()
        self._update(experiment.state, experiment.trials, experiment.progress)
        self._watched.running.clear()
        self._shown.show(self._watched)
        return experiment

    def _apply(self, event: ExperimentEvent) -> None:
        self._update(event.state, event.trials, event.progress)
        match event.event:
            case EventName.STATE:
                self._note_problem(event.problem)
            case EventName.PROGRESS:
                self._watched.running = {trial.trial: trial for trial in event.running}
                for number in self._watched.running:
                    if number not in self._watched.labels:
                        self._label(self._experiments.trial(self._id, number))
            case EventName.TRIAL if event.trial is not None:
                self._apply_trial(event.trial)
            case EventName.GAP:
                # A missed event may have been a failure.
                self._read_failures()

    def _update(
        self,
        state: str | None,
        trials: TrialCounts | None,
        progress: ExperimentProgress | None,
    ) -> None:
        watched = self._watched
        watched.state = state or watched.state
        watched.trials = trials or watched.trials
        watched.progress = progress or watched.progress

    def _apply_trial(self, trial: Trial) -> None:
        self._label(trial)
        if trial.state == RunState.RUNNING:
            self._watched.running[trial.trial] = RunningTrial(
                trial.trial, trial.samples, trial.samples_done
            )
        else:
            self._watched.running.pop(trial.trial, None)
        if trial.state == RunState.FAILED:
            self._note_failure(trial)

    def _label(self, trial: Trial) -> None:
        label = describe_trial(trial.trial, trial.parameters, trial.seed)
        self._watched.labels[trial.trial] = label

    def _read_failures(self) -> None:
        for trial in self._experiments.trials(self._id, state=RunState.FAILED):
            self._note_failure(trial)

    def _note_failure(self, trial: Trial) -> None:
        if trial.trial in self._noted_failures:
            return
        self._noted_failures.add(trial.trial)
        if len(self._noted_failures) <= MAX_FAILURES_LISTED:
            self._shown.note(f"failed: {describe_failure(trial)}")
        elif len(self._noted_failures) == MAX_FAILURES_LISTED + 1:
            results = command("results", self._watched.name, self._url)
            self._shown.note(f"failed: more trials; see them with: {results}")

    def _note_problem(self, problem: ProblemError | None) -> None:
        is_paused = self._watched.state == RunState.PAUSED
        text = str(problem) if problem is not None and is_paused else None
        if text is not None and text != self._noted_problem:
            resume = command("resume", self._watched.name, self._url)
            self._shown.note(f"paused by the server: {text}; resume with: {resume}")
        self._noted_problem = text

    def _on_connection(self, error: FlowClientError | None) -> None:
        now = time.monotonic()
        if error is None:
            if self._disconnected_at is not None:
                duration = format_duration(now - self._disconnected_at)
                self._shown.note(f"connected to {self._url} again, after {duration}")
            self._disconnected_at = None
        elif self._disconnected_at is None:
            self._disconnected_at = now
            self._shown.note(f"no connection to {self._url}; trying to connect again")
        self._watched.is_connected = error is None
        self._shown.show(self._watched)
