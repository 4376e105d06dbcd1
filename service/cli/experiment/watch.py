"""Follows an experiment to its end, whatever happens to the connection or the server."""

from __future__ import annotations

import time

import typer

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
from energy_flow.client.experiments import ExperimentProgress, RunningTrial, TrialCounts
from service.cli.execute.remote_run import open_client
from service.cli.experiment.display import Display, Sight, display
from service.cli.experiment.view import command, describe_failure, describe_trial, format_duration
from service.cli.input.failures import EXIT_INTERRUPTED, CommandFailed
from service.cli.input.terminal import print_note

MOST_FAILURES_TOLD = 20


def follow(name: str, url: str, api_key: str | None) -> Experiment:
    """Shows an experiment until it has ended, and returns it as the server then tells it.

    Ctrl-C walks away and leaves it alone.

    Raises:
        CommandFailed: the server stayed away for too long.
        FlowClientError: there is no such experiment, or no server.
    """
    with open_client(url, api_key) as client:
        # Told at once if it is not there; only what is known to be there is waited for.
        experiment = client.experiments.get(name)
    back = command("watch", experiment.name, url)
    try:
        with open_client(url, api_key, PATIENT) as client, display() as shown:
            return Watch(client, experiment, shown).carry_out()
    except KeyboardInterrupt:
        print_note(f"experiment {experiment.name} goes on without you; come back with: {back}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (ServerUnreachable, ServerUnavailable, ResponseTimeout) as error:
        raise CommandFailed(f"{error}; watch the experiment again with: {back}") from None


class Watch:
    """One watch of one experiment.

    Args:
        client: waits patiently for a server that is away.
        experiment: as it was just now.
    """

    def __init__(self, client: FlowClient, experiment: Experiment, shown: Display) -> None:
        self._url = client.url
        self._experiments = client.experiments
        self._id = experiment.experiment_id
        self._shown = shown
        self._sight = Sight(
            experiment.name, experiment.state, experiment.trials, experiment.progress
        )
        self._told_failures: set[int] = set()
        self._told_problem: str | None = None
        self._lost_at: float | None = None
        self._tell_problem(experiment.problem)

    def carry_out(self) -> Experiment:
        """Follows the events; how it ended is read from the experiment itself, not from them."""
        self._read_failures()
        for event in self._experiments.watch(self._id, on_connection=self._on_connection):
            self._take(event)
            self._shown.show(self._sight)
        experiment = self._experiments.wait(self._id)
        self._read_failures()
        self._see(experiment.state, experiment.trials, experiment.progress)
        self._sight.running.clear()
        self._shown.show(self._sight)
        return experiment

    def _take(self, event: ExperimentEvent) -> None:
        self._see(event.state, event.trials, event.progress)
        match event.event:
            case "state":
                self._tell_problem(event.problem)
            case "progress":
                self._sight.running = {trial.trial: trial for trial in event.running}
                for number in self._sight.running:
                    if number not in self._sight.labels:
                        self._label(self._experiments.trial(self._id, number))
            case "trial" if event.trial is not None:
                self._take_trial(event.trial)
            case "gap":
                # What was missed may have been a failure.
                self._read_failures()

    def _see(
        self,
        state: str | None,
        trials: TrialCounts | None,
        progress: ExperimentProgress | None,
    ) -> None:
        sight = self._sight
        sight.state = state or sight.state
        sight.trials = trials or sight.trials
        sight.progress = progress or sight.progress

    def _take_trial(self, trial: Trial) -> None:
        self._label(trial)
        if trial.state == "running":
            self._sight.running[trial.trial] = RunningTrial(
                trial.trial, trial.samples, trial.samples_done
            )
        else:
            self._sight.running.pop(trial.trial, None)
        if trial.state == "failed":
            self._tell_failure(trial)

    def _label(self, trial: Trial) -> None:
        label = describe_trial(trial.trial, trial.parameters, trial.seed)
        self._sight.labels[trial.trial] = label

    def _read_failures(self) -> None:
        for trial in self._experiments.trials(self._id, state="failed"):
            self._tell_failure(trial)

    def _tell_failure(self, trial: Trial) -> None:
        if trial.trial in self._told_failures:
            return
        self._told_failures.add(trial.trial)
        if len(self._told_failures) <= MOST_FAILURES_TOLD:
            self._shown.say(f"failed: {describe_failure(trial)}")
        elif len(self._told_failures) == MOST_FAILURES_TOLD + 1:
            self._shown.say("failed: further trials, which are counted but not told one by one")

    def _tell_problem(self, problem: ProblemError | None) -> None:
        told = str(problem) if problem is not None and self._sight.state == "paused" else None
        if told is not None and told != self._told_problem:
            again = command("resume", self._sight.name, self._url)
            self._shown.say(f"paused by the server: {told}; go on with: {again}")
        self._told_problem = told

    def _on_connection(self, error: FlowClientError | None) -> None:
        now = time.monotonic()
        if error is None:
            if self._lost_at is not None:
                away = format_duration(now - self._lost_at)
                self._shown.say(f"connected to {self._url} again, after {away}")
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = now
            self._shown.say(f"no connection to {self._url}; waiting for the server to come back")
        self._sight.connected = error is None
        self._shown.show(self._sight)
