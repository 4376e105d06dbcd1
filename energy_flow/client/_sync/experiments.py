# Generated from energy_flow/client/_async/experiments.py by scripts/unasync.py; edit that file.
"""``FlowClient.experiments``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from energy_flow.choices import EventName
from energy_flow.client import calls, experiments
from energy_flow.client._sync.connection import Connection
from energy_flow.client.answers import json_as, read_nothing
from energy_flow.client.errors import FlowClientError
from energy_flow.client.experiment_events import ExperimentEvent, current_state, read_event
from energy_flow.client.experiment_results import (
    ExperimentResults,
    ResultsPage,
    join_pages,
    results,
    results_file,
)
from energy_flow.client.experiments import Experiment, Trial, experiment_path
from energy_flow.client.listing import (
    Deletion,
    change_labels,
    deletions,
    join_deletions,
    list_filters,
)
from energy_flow.client.retry import PATIENT, Retry
from energy_flow.client.subscription import Subscription


class Experiments:
    """The experiments of a server; each is named by its id or its name.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: Connection) -> None:
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
        tags: Sequence[str] | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Experiment:
        """Create an experiment and return at once; the server chooses what is left out.

        Args:
            name: not yet used by another experiment.
            dataset: name of a dataset on the server.
            kind: ``simulate``, the default, or ``train``.
            model: name of a model on the server.
            rows: of the dataset: the first row, and the row after the last.
            options: run-time fields of the config, for all trials.
            outputs: a name of :class:`energy_flow.choices.Output`, such as ``surface``, or several.
            sweep: ``{"grid": {field: [values]}}``, or ``{"random": {field: {"low": …, "high": …}},
                "count": n, "seed": 0}``.
            seeds: a trial for each, at each point of the sweep.
            trace: ``capacity``, ``keep`` and ``kinds`` of the records that trials keep.
            max_parallel: trials that run at the same time.
            fail_fast: cancel the other trials once one has failed.
            chunk_samples: number of samples after which a trial can be paused, or resumed after a
                crash.
            train: config of a training.
            tags: by which :meth:`list` finds it.
            note: text about it.
            idempotency_key: two requests with the same key make one experiment. By default a new
                key, so that the client can repeat this request when the connection breaks.

        Raises:
            Conflict: the name is used.
            Unprocessable: the experiment is not valid; the server reports every fault.
        """
        document = {
            "name": name,
            "dataset": dataset,
            "kind": kind,
            "model": model,
            "rows": rows,
            "options": options,
            "outputs": calls.as_names(outputs),
            "sweep": sweep,
            "seeds": seeds,
            "trace": trace,
            "max_parallel": max_parallel,
            "fail_fast": fail_fast,
            "chunk_samples": chunk_samples,
            "train": train,
            "tags": tags,
            "note": note,
        }
        return self.create_from(document, idempotency_key=idempotency_key)

    def create_from(
        self, document: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Experiment:
        """Create the experiment that a document describes, for example a parsed TOML file.

        Args:
            document: the members of ``POST /v1/experiments``. ``None`` counts as left out, and
                groups of fields in a sweep as their dotted names.
            idempotency_key: as for :meth:`create`.

        Raises:
            Conflict: the name is used.
            Unprocessable: the experiment is not valid; the server reports every fault.
        """
        request = experiments.create(document, idempotency_key)
        return self._connection.ask(request, json_as(Experiment))

    def list(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        search: str | None = None,
        tag: str | Sequence[str] | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        sort: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Experiment]:
        """List the experiments on the server.

        Args:
            state: those in this state alone.
            kind: those of this kind alone.
            search: those whose name, note, a tag or model contains this text, or whose id begins
                with it.
            tag: those that have this tag, or all of several.
            model: those of the model of this name.
            options: those whose request gave these options.
            created_after: those created after this time (ISO 8601).
            created_before: those created before this time.
            sort: ``created``, ``name``, ``state`` or ``duration``; with a dash before it, it
                descends. By default the newest are first.
            page_size: experiments per request; by default the server's choice.
        """
        chosen = list_filters(
            state=state,
            kind=kind,
            search=search,
            tag=tag,
            model=model,
            options=options,
            created_after=created_after,
            created_before=created_before,
            sort=sort,
        )
        return self._connection.items(
            calls.api_path("experiments"), Experiment, page_size, **chosen
        )

    def get(self, experiment: str) -> Experiment:
        """Return an experiment.

        Raises:
            NotFound: there is none of this id or name.
        """
        request = calls.get(experiment_path(experiment))
        return self._connection.ask(request, json_as(Experiment))

    def trials(
        self, experiment: str, *, state: str | None = None, page_size: int | None = None
    ) -> Iterator[Trial]:
        """List the trials of an experiment by number.

        Args:
            experiment: id or name.
            state: those in this state alone.
            page_size: trials per request; by default the server's choice.
        """
        path = experiment_path(experiment, "trials")
        return self._connection.items(path, Trial, page_size, state=state)

    def trial(self, experiment: str, number: int) -> Trial:
        """Return a trial; its ``run_id`` names the run with its outputs and its trace.

        Args:
            experiment: id or name.
            number: of the trial, from 0.

        Raises:
            NotFound: there is no such trial.
        """
        request = calls.get(experiment_path(experiment, "trials", str(number)))
        return self._connection.ask(request, json_as(Trial))

    def pause(self, experiment: str) -> Experiment:
        """Finish the running chunks and start no others until :meth:`resume`.

        Raises:
            Conflict: its state does not allow this.
        """
        return self._change(experiment, "pause")

    def resume(self, experiment: str) -> Experiment:
        """Resume a paused experiment.

        Raises:
            Conflict: its state does not allow this.
        """
        return self._change(experiment, "resume")

    def retry(self, experiment: str) -> Experiment:
        """Start the trials of a failed experiment again that did not succeed, as new runs.

        Raises:
            Conflict: it has not failed.
        """
        return self._change(experiment, "retry")

    def cancel(self, experiment: str) -> Experiment:
        """Cancel an experiment within a step; its results so far are kept.

        Raises:
            Conflict: it has ended.
        """
        return self._change(experiment, "cancel")

    def delete(self, experiment: str) -> None:
        """Remove an experiment that has ended, and the runs of its trials.

        Raises:
            Conflict: it has not ended.
        """
        self._connection.ask(calls.delete(experiment_path(experiment)), read_nothing)

    def change(
        self,
        experiment: str,
        *,
        tags: Sequence[str] | None = None,
        note: str | None = None,
    ) -> Experiment:
        """Change tags or note of an experiment.

        Args:
            experiment: id or name.
            tags: in place of all its tags.
            note: its new note; the empty text removes it.

        Raises:
            NotFound: there is none of this id or name.
        """
        request = change_labels(experiment_path(experiment), tags=tags, note=note)
        return self._connection.ask(request, json_as(Experiment))

    def delete_several(self, names: Sequence[str]) -> Deletion:
        """Remove several experiments that have ended, and the runs of their trials.

        Args:
            names: their ids or names.

        Returns:
            Which were removed, and which not and why.
        """
        parts = [
            self._connection.ask(request, json_as(Deletion))
            for request in deletions(calls.api_path("experiments"), names)
        ]
        return join_deletions(parts)

    def results(self, experiment: str, *, of: str = "trials") -> ExperimentResults:
        """Return parameters and metrics as a table.

        Args:
            experiment: id or name.
            of: ``trials``, a row per trial, or ``points``, a row per point of the sweep, with mean
                and standard deviation over its seeds.
        """
        pages: list[ResultsPage] = []
        cursor: str | None = None
        while not pages or cursor is not None:
            request = results(experiment, of, cursor)
            page = self._connection.ask(request, json_as(ResultsPage))
            pages.append(page)
            cursor = page.next_cursor
        return join_pages(of, pages)

    def download_results(
        self, experiment: str, path: str | Path, *, format: str | None = None, of: str = "trials"
    ) -> Path:
        """Write the table of :meth:`results` to a file.

        Args:
            experiment: id or name.
            path: of the file.
            format: ``parquet``, ``csv`` or ``json``; by default that of the suffix of the file.
            of: as for :meth:`results`.

        Returns:
            The path of the file.

        Raises:
            ValueError: no format is given, and the suffix belongs to none.
        """
        return self._connection.download(results_file(experiment, Path(path), format, of))

    def watch(
        self,
        experiment: str,
        *,
        last_event_id: str | None = None,
        retry: Retry = PATIENT,
        on_connection: Callable[[FlowClientError | None], object] | None = None,
    ) -> Iterator[ExperimentEvent]:
        """Iterate over the state of an experiment and then its events until it ends.

        Continues after a restart of the server. Where events were missed there is a ``gap`` event,
        followed by a ``state`` event with the current state of the experiment.

        Args:
            experiment: id or name.
            last_event_id: begin after this event instead of with the current state; ``"0"`` is the
                first event that the server still holds.
            retry: how long to wait for a server that is away.
            on_connection: called with the reason before each attempt to connect again, and with
                ``None`` once there is a connection again.

        Yields:
            The events.

        Raises:
            NotFound: there is no such experiment, or it was removed.
            ServerUnreachable: there is no server, or it was away for too long.
        """
        # Raises at once if there is no such experiment, or no server.
        current = self.get(experiment)
        if last_event_id is None:
            yield current_state(current)
            if current.ended:
                return
            last_event_id = str(current.last_event_id)
        subscription = Subscription(
            experiment_path(experiment, "events"), retry, last_event_id, on_connection
        )
        patient = replace(retry, unreachable=True)
        for event in self._connection.follow(subscription):
            yield read_event(event)
            if event.event == EventName.GAP:
                request = calls.get(experiment_path(experiment))
                current = self._connection.ask(request, json_as(Experiment), patient)
                yield current_state(current)
                if current.ended:
                    return

    def wait(
        self,
        experiment: str,
        on_progress: Callable[[Experiment], object] | None = None,
        *,
        timeout_seconds: float | None = None,
        retry: Retry = PATIENT,
    ) -> Experiment:
        """Wait until an experiment has ended, in whatever state, and return it.

        Args:
            experiment: id or name.
            on_progress: called with the experiment whenever it has changed.
            timeout_seconds: time limit; by default none.
            retry: how long to wait for a server that is away.

        Raises:
            ResponseTimeout: the experiment has not ended in time.
        """
        return self._connection.wait_until_ended(
            f"experiment {experiment}",
            experiment_path(experiment),
            Experiment,
            replace(retry, unreachable=True),
            on_progress,
            timeout_seconds,
        )

    def _change(self, experiment: str, action: str) -> Experiment:
        request = calls.post(experiment_path(experiment, action))
        return self._connection.ask(request, json_as(Experiment))
