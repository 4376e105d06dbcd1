"""``FlowClient.experiments``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from energy_flow.client import calls, dialogues
from energy_flow.client._sync.connection import BlockingConnection
from energy_flow.client.errors import FlowClientError
from energy_flow.client.events import Subscription
from energy_flow.client.exchange import PATIENT, Retry, ask, json_as, read_nothing
from energy_flow.client.experiments import (
    Experiment,
    ExperimentEvent,
    ExperimentResults,
    Trial,
    event_from_wire,
    event_of,
    experiment_from_json,
    trial_from_json,
)


class Experiments:
    """The experiments of a server; everywhere an experiment is named by its id or its name."""

    def __init__(self, connection: BlockingConnection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        dataset: str,
        *,
        kind: str | None = None,
        model: str | None = None,
        rows: Sequence[int] | None = None,
        options: Mapping[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        sweep: Mapping[str, Any] | None = None,
        seeds: Sequence[int] | None = None,
        trace: Mapping[str, Any] | None = None,
        max_parallel: int | None = None,
        fail_fast: bool | None = None,
        chunk_samples: int | None = None,
        train: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Experiment:
        """Begins an experiment and returns at once; what is left out, the server chooses.

        Args:
            name: not yet used by another experiment.
            dataset: name of a dataset on the server.
            kind: ``simulate``, which is the usual, or ``train``.
            model: name of a model on the server.
            rows: of the dataset, from the first to before the second.
            options: run-time fields of the config, for all trials.
            outputs: any of ``surface``, ``planes``, ``hits``, ``embedding``.
            sweep: ``{"grid": {field: [values]}}``, or ``{"random": {field: {"low": …, "high": …}},
                "count": n, "seed": 0}``.
            seeds: a trial for each, at each point of the sweep.
            trace: ``capacity``, ``keep`` and ``kinds`` of the records that trials keep.
            max_parallel: trials at once.
            fail_fast: cancel the others once a trial has failed.
            chunk_samples: after how many samples a trial can be paused, or goes on after a crash.
            train: what a training is told.
            idempotency_key: the same key never makes a second experiment. By default a new one, so
                that this call may be repeated for you when the connection breaks.

        Raises:
            Conflict: the name is in use.
            Unprocessable: whatever is wrong, all of it at once.
        """
        document = {
            "name": name,
            "dataset": dataset,
            "kind": kind,
            "model": model,
            "rows": rows,
            "options": options,
            "outputs": outputs,
            "sweep": sweep,
            "seeds": seeds,
            "trace": trace,
            "max_parallel": max_parallel,
            "fail_fast": fail_fast,
            "chunk_samples": chunk_samples,
            "train": train,
        }
        return self.create_from(document, idempotency_key=idempotency_key)

    def create_from(
        self, document: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Experiment:
        """Begins the experiment that a document describes, such as a TOML file that was read.

        Args:
            document: members are those that ``POST /v1/experiments`` takes; ``None`` counts as
                left out, and groups of fields in a sweep as their dotted names.
        """
        request = calls.create_experiment(document, idempotency_key)
        return self._connection.ask(request, json_as(experiment_from_json))

    def list(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Experiment]:
        """Every experiment on the server, newest first, read page by page."""
        return self._connection.items(
            calls.at("experiments"), experiment_from_json, page_size, state=state, kind=kind
        )

    def get(self, experiment: str) -> Experiment:
        """One experiment."""
        request = calls.get(calls.at("experiments", experiment))
        return self._connection.ask(request, json_as(experiment_from_json))

    def trials(
        self, experiment: str, *, state: str | None = None, page_size: int | None = None
    ) -> Iterator[Trial]:
        """An experiment's trials by number, read page by page."""
        path = calls.at("experiments", experiment, "trials")
        return self._connection.items(path, trial_from_json, page_size, state=state)

    def trial(self, experiment: str, number: int) -> Trial:
        """One trial; its ``run_id`` leads to its outputs and its trace."""
        request = calls.get(calls.at("experiments", experiment, "trials", str(number)))
        return self._connection.ask(request, json_as(trial_from_json))

    def pause(self, experiment: str) -> Experiment:
        """Ends the chunks in work and starts no others until :meth:`resume`.

        Raises:
            Conflict: its state does not allow this.
        """
        return self._change(experiment, "pause")

    def resume(self, experiment: str) -> Experiment:
        """Goes on with a paused experiment.

        Raises:
            Conflict: its state does not allow this.
        """
        return self._change(experiment, "resume")

    def cancel(self, experiment: str) -> Experiment:
        """Cancels an experiment within a step; it keeps what it had.

        Raises:
            Conflict: it has ended.
        """
        return self._change(experiment, "cancel")

    def delete(self, experiment: str) -> None:
        """Removes an experiment that has ended, and the runs of its trials.

        Raises:
            Conflict: it has not ended.
        """
        request = calls.delete(calls.at("experiments", experiment))
        self._connection.ask(request, read_nothing)

    def results(self, experiment: str, *, of: str = "trials") -> ExperimentResults:
        """Parameters and metrics as a table.

        Args:
            of: ``trials``, a row a trial, or ``points``, a row a point of the sweep, with mean and
                standard deviation over its seeds.
        """
        return self._connection.carry_out(
            dialogues.experiment_results(experiment, of, self._connection.retry)
        )

    def download_results(
        self, experiment: str, path: str | Path, *, format: str = "parquet", of: str = "trials"
    ) -> Path:
        """Writes the table of :meth:`results` to a file.

        Args:
            format: ``parquet``, ``csv`` or ``json``.
        """
        return self._connection.download(calls.results_file(experiment, Path(path), format, of))

    def watch(
        self,
        experiment: str,
        *,
        last_event_id: str | None = None,
        retry: Retry = PATIENT,
        on_connection: Callable[[FlowClientError | None], object] | None = None,
    ) -> Iterator[ExperimentEvent]:
        """Where an experiment is, and then what happens in it until it ends.

        Goes on over a restart of the server. Where events were missed, a ``gap`` says so, and a
        ``state`` event follows that tells where the experiment is now.

        Args:
            last_event_id: begin after this event instead of now; ``"0"`` is the beginning, as far
                as the server still holds it.
            retry: how long a server that goes away is waited for.
            on_connection: told why there is no connection, before every try to connect, and
                ``None`` once there is one again.

        Raises:
            NotFound: there is no such experiment, or not any more.
            ServerUnreachable: the server stays away.
        """
        # Told at once if there is none, or no server.
        now = self.get(experiment)
        if last_event_id is None:
            yield event_of(now)
            if now.ended:
                return
            last_event_id = str(now.last_event_id)
        path = calls.at("experiments", experiment)
        subscription = Subscription(f"{path}/events", retry, last_event_id, on_connection)
        patient = replace(retry, unreachable=True)
        for event in self._connection.follow(subscription):
            yield event_from_wire(event)
            if event.event == "gap":
                look = ask(calls.get(path), json_as(experiment_from_json), patient)
                now = self._connection.carry_out(look)
                yield event_of(now)
                if now.ended:
                    return

    def wait(
        self,
        experiment: str,
        on_progress: Callable[[Experiment], object] | None = None,
        *,
        timeout_seconds: float | None = None,
        retry: Retry = PATIENT,
    ) -> Experiment:
        """Waits until an experiment has ended, well or not, and returns it.

        Args:
            on_progress: called with the experiment whenever it has changed.
            timeout_seconds: how long; by default as long as it takes.
            retry: how long a server that goes away is waited for.

        Raises:
            ResponseTimeout: the experiment has not ended in time.
        """
        return self._connection.carry_out(
            dialogues.wait_until_ended(
                f"experiment {experiment}",
                calls.at("experiments", experiment),
                experiment_from_json,
                self._connection.retry,
                replace(retry, unreachable=True),
                on_progress,
                timeout_seconds,
            )
        )

    def _change(self, experiment: str, action: str) -> Experiment:
        request = calls.post(calls.at("experiments", experiment, action))
        return self._connection.ask(request, json_as(experiment_from_json))
