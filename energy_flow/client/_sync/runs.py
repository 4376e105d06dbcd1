# Generated from energy_flow/client/_async/runs.py by scripts/unasync.py; edit that file.
"""Methods of ``FlowClient`` about runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from energy_flow.client import calls, runs
from energy_flow.client._sync.connection import Connection
from energy_flow.client._sync.texts import Texts
from energy_flow.client.answers import json_as, read_nothing, read_npy, read_object
from energy_flow.client.events import RunEvent
from energy_flow.client.listing import (
    Deletion,
    change_labels,
    deletions,
    join_deletions,
    list_filters,
)
from energy_flow.client.measurements import Memory
from energy_flow.client.replay import Comparison, Replay, read_comparison, read_replay
from energy_flow.client.runs import Run, run_path
from energy_flow.client.simulation import check_sources
from energy_flow.client.subscription import Subscription
from energy_flow.client.text_encoder import EncoderChoice
from energy_flow.client.trace import TraceCounts, TraceRecords, read_ndjson


class RunMethods:
    """The methods of :class:`FlowClient` about runs."""

    _connection: Connection
    _texts: Texts

    def submit_run(
        self,
        embeddings: ArrayLike | None = None,
        *,
        texts: Sequence[str] | None = None,
        encoder: EncoderChoice | None = None,
        dataset: str | None = None,
        rows: Sequence[int] | None = None,
        options: Mapping[str, Any] | None = None,
        seed: int | None = None,
        sample_keys: Sequence[int] | None = None,
        outputs: Sequence[str] | None = None,
        trace: Mapping[str, Any] | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Queue a run and return at once.

        Args:
            embeddings: as for :meth:`simulate`.
            texts: as for :meth:`simulate`.
            encoder: as for :meth:`simulate`.
            dataset: name of a dataset on the server, in place of embeddings or texts.
            rows: of the dataset: the first row, and the row after the last; by default all. The
                sample key of a row is its index in the dataset.
            options: as for :meth:`simulate`.
            seed: as for :meth:`simulate`.
            sample_keys: as for :meth:`simulate`.
            outputs: as for :meth:`simulate`.
            trace: as for :meth:`simulate`.
            model: as for :meth:`simulate`.
            timeout_ms: as for :meth:`simulate`.
            name: as for :meth:`simulate`.
            tags: as for :meth:`simulate`.
            note: as for :meth:`simulate`.
            idempotency_key: two requests with the same key make one run. By default a new key, so
                that the client can repeat this request when the connection breaks.

        Raises:
            ValueError: not exactly one of embeddings, texts and dataset is given; otherwise as
                :meth:`simulate`.
            ModuleNotFoundError: as :meth:`simulate`.
            EncoderUnavailable: as :meth:`simulate`.
            ProblemError: the server refuses.
        """
        check_sources(encoder, embeddings=embeddings, texts=texts, dataset=dataset)
        if texts is not None:
            embeddings = self._texts.encode(texts, encoder, model)
        request = runs.submit(
            embeddings,
            dataset=dataset,
            rows=rows,
            options=options,
            seed=seed,
            sample_keys=sample_keys,
            outputs=outputs,
            trace=trace,
            model=model,
            timeout_ms=timeout_ms,
            name=name,
            tags=tags,
            note=note,
            key=idempotency_key,
        )
        return self._connection.ask(request, json_as(Run))

    def wait(
        self,
        run_id: str,
        on_progress: Callable[[Run], object] | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> Run:
        """Wait until a run has ended, in whatever state, and return it.

        Args:
            run_id: of the run.
            on_progress: called with the run whenever it has changed.
            timeout_seconds: time limit; by default none.

        Raises:
            ResponseTimeout: the run has not ended in time.
        """
        return self._connection.wait_until_ended(
            f"run {run_id}",
            run_path(run_id),
            Run,
            replace(self._connection.retry, unreachable=True),
            on_progress,
            timeout_seconds,
        )

    def events(self, run_id: str, *, last_event_id: str | None = None) -> Iterator[RunEvent]:
        """Iterate over the events of a run until it ends; continue after a broken connection.

        Args:
            run_id: of the run.
            last_event_id: begin after this event.
        """
        subscription = Subscription(
            run_path(run_id, "events"), self._connection.retry, last_event_id
        )
        return self._connection.follow(subscription)

    def runs(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        experiment: str | None = None,
        search: str | None = None,
        tag: str | Sequence[str] | None = None,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        sort: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Run]:
        """List the runs that the server keeps.

        Args:
            state: those in this state alone.
            kind: those of this kind alone.
            experiment: those of this experiment alone, by its name or id.
            search: those whose name, note, a tag or model contains this text, or whose id begins
                with it.
            tag: those that have this tag, or all of several.
            model: those of the model of this name.
            options: those whose request gave these options.
            created_after: those created after this time (ISO 8601).
            created_before: those created before this time.
            sort: ``created``, ``name``, ``state`` or ``duration``; with a dash before it, it
                descends. By default the newest are first.
            page_size: runs per request; by default the server's choice.
        """
        chosen = list_filters(
            state=state,
            kind=kind,
            experiment=experiment,
            search=search,
            tag=tag,
            model=model,
            options=options,
            created_after=created_after,
            created_before=created_before,
            sort=sort,
        )
        return self._connection.items(calls.api_path("runs"), Run, page_size, **chosen)

    def run(self, run_id: str) -> Run:
        """Return a run.

        Raises:
            NotFound: there is none of this id.
        """
        return self._connection.ask(calls.get(run_path(run_id)), json_as(Run))

    def cancel(self, run_id: str) -> Run:
        """Cancel a run, which takes effect within one step.

        Raises:
            Conflict: the run has ended.
        """
        return self._connection.ask(calls.post(run_path(run_id, "cancel")), json_as(Run))

    def delete_run(self, run_id: str) -> None:
        """Remove a run and everything that the server keeps of it.

        Raises:
            Conflict: the run has not ended.
        """
        self._connection.ask(calls.delete(run_path(run_id)), read_nothing)

    def change_run(
        self,
        run_id: str,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        note: str | None = None,
    ) -> Run:
        """Change name, tags or note of a run.

        Args:
            run_id: of the run.
            name: its new name; the empty text removes it.
            tags: in place of all its tags.
            note: its new note; the empty text removes it.

        Raises:
            NotFound: there is none of this id.
        """
        request = change_labels(run_path(run_id), name=name, tags=tags, note=note)
        return self._connection.ask(request, json_as(Run))

    def delete_runs(self, run_ids: Sequence[str]) -> Deletion:
        """Remove several runs that have ended; one that cannot be removed does not keep others.

        Args:
            run_ids: their ids.

        Returns:
            Which were removed, and which not and why.
        """
        parts = [
            self._connection.ask(request, json_as(Deletion))
            for request in deletions(calls.api_path("runs"), run_ids)
        ]
        return join_deletions(parts)

    def inputs(self, run_id: str) -> NDArray[np.float32]:
        """Return the embeddings of a run that has ended, [samples, dimension].

        Args:
            run_id: of the run.

        Raises:
            Conflict: the run has not ended.
        """
        return self._connection.ask(runs.inputs(run_id), read_npy)

    def outputs(self, run_id: str, name: str = "surface") -> NDArray[Any]:
        """Return an output of a run.

        Args:
            run_id: of the run.
            name: of :class:`energy_flow.choices.Output`, such as ``hits``.
        """
        return self._connection.ask(runs.output(run_id, name), read_npy)

    def download_heat_map(
        self, run_id: str, path: str | Path, *, sample: int = 0, format: str | None = None
    ) -> Path:
        """Write a picture of the surface of one sample to a file.

        Args:
            run_id: of the run.
            path: of the file.
            sample: row in the run.
            format: ``png``; by default that of the suffix of the file.

        Returns:
            The path of the file.

        Raises:
            ValueError: no format is given, and the suffix belongs to none.
        """
        return self._connection.download(runs.heat_map(run_id, sample, Path(path), format))

    def trace(
        self,
        run_id: str,
        *,
        kind: str | Sequence[str] | None = None,
        sample: int | Sequence[int] | None = None,
        flow: int | Sequence[int] | None = None,
        step_from: int | None = None,
        step_to: int | None = None,
        limit: int | None = None,
    ) -> TraceRecords:
        """Return records of the trace of a run, sorted by (sample, seq).

        Args:
            run_id: of the run.
            kind: ``spawn``, ``reflect``, ``terminate``, or several of them; by default all.
            sample: one or several; by default all.
            flow: one or several; by default all.
            step_from: first step.
            step_to: last step.
            limit: maximum number of records.
        """
        request = runs.trace(
            run_id,
            kind=kind,
            sample=sample,
            flow=flow,
            step_from=step_from,
            step_to=step_to,
            limit=limit,
        )
        return self._connection.ask(request, read_ndjson)

    def trace_counts(
        self,
        run_id: str,
        *,
        kind: str | Sequence[str] | None = None,
        sample: int | Sequence[int] | None = None,
        flow: int | Sequence[int] | None = None,
        step_from: int | None = None,
        step_to: int | None = None,
    ) -> TraceCounts:
        """Return how many records the trace of a run has, in all and by step and kind.

        Args:
            run_id: of the run.
            kind: as for :meth:`trace`.
            sample: as for :meth:`trace`.
            flow: as for :meth:`trace`.
            step_from: as for :meth:`trace`.
            step_to: as for :meth:`trace`.
        """
        request = runs.trace_counts(
            run_id, kind=kind, sample=sample, flow=flow, step_from=step_from, step_to=step_to
        )
        return self._connection.ask(request, json_as(TraceCounts))

    def download_trace(
        self,
        run_id: str,
        path: str | Path,
        *,
        format: str | None = None,
        kind: str | Sequence[str] | None = None,
        sample: int | Sequence[int] | None = None,
        flow: int | Sequence[int] | None = None,
        step_from: int | None = None,
        step_to: int | None = None,
        limit: int | None = None,
    ) -> Path:
        """Write the trace of a run, or a part of it, to a file.

        Args:
            run_id: of the run.
            path: of the file.
            format: a name of ``choices.TraceFormat``; by default that of the suffix of the file.
            kind: as for :meth:`trace`.
            sample: as for :meth:`trace`.
            flow: as for :meth:`trace`.
            step_from: as for :meth:`trace`.
            step_to: as for :meth:`trace`.
            limit: as for :meth:`trace`.

        Returns:
            The path of the file.

        Raises:
            ValueError: no format is given, and the suffix belongs to none.
        """
        request = runs.trace_file(
            run_id,
            Path(path),
            format,
            kind=kind,
            sample=sample,
            flow=flow,
            step_from=step_from,
            step_to=step_to,
            limit=limit,
        )
        return self._connection.download(request)

    def replay(self, run_id: str, sample: int, *, flow: int | None = None) -> Replay:
        """Simulate one sample of a run again and return where its flows were, step by step.

        Args:
            run_id: of the run.
            sample: row in the run.
            flow: return this flow, its ancestors and its descendants alone.

        Raises:
            Conflict: the run has not ended, or its model was removed or replaced.
        """
        return self._connection.ask(runs.replay(run_id, sample, flow), read_replay)

    def compare(self, run_id: str, other: str) -> Comparison:
        """Compare two runs: metrics, surfaces, and the first difference of each sample's trace.

        Args:
            run_id: of the first run.
            other: id of the second run.

        Raises:
            Conflict: one has not ended, or their surfaces have different shapes.
        """
        return self._connection.ask(runs.compare(run_id, other), read_comparison)

    def memory(self, run_id: str) -> Memory:
        """Return the memory of a run."""
        return self._connection.ask(calls.get(run_path(run_id, "memory")), json_as(Memory))

    def samples(self, run_id: str, *, page_size: int | None = None) -> Iterator[Mapping[str, Any]]:
        """List the counts of each sample that has ended, in the order of the rows.

        Args:
            run_id: of the run.
            page_size: samples per request; by default the server's choice.
        """
        return self._connection.items(run_path(run_id, "samples"), dict[str, Any], page_size)

    def profile(self, run_id: str) -> Mapping[str, Any]:
        """Return the profile of a run, step by step."""
        return self._connection.ask(calls.get(run_path(run_id, "profile")), read_object)
