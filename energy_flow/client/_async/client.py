"""``AsyncFlowClient``: the client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from numpy.typing import ArrayLike, NDArray

from energy_flow.client import calls, dialogues
from energy_flow.client._async.connection import AsyncConnection
from energy_flow.client._async.datasets import AsyncDatasets
from energy_flow.client._async.experiments import AsyncExperiments
from energy_flow.client.connection import DEFAULT_URL, client_arguments
from energy_flow.client.events import RunEvent, Subscription
from energy_flow.client.exchange import Retry, json_as, read_nothing
from energy_flow.client.replay import (
    Comparison,
    Replay,
    comparison_from_json,
    replay_from_json,
)
from energy_flow.client.results import (
    Estimate,
    Memory,
    Model,
    Run,
    Simulation,
    estimate_from_json,
    memory_from_json,
    model_from_json,
    object_from_json,
    read_simulation,
    run_from_json,
)
from energy_flow.client.trace import TraceRecords, records_from_ndjson


class AsyncFlowClient:
    """Talks to an Energy Flow server and waits for its answers.

    Use it as a context manager, or call :meth:`close`. Every method may raise
    :class:`~energy_flow.client.errors.FlowClientError`; a refusal of the server is a
    :class:`~energy_flow.client.errors.ProblemError`.

    Args:
        url: address of the server.
        api_key: sent as bearer token.
        retry: how often a busy server (429, 503) is asked again; ``NO_RETRY`` turns that off.
        timeout: seconds to wait for an answer; by default as long as it takes.
        connect_timeout: seconds to wait for a connection.
        transport: carries the requests instead of the network, for tests.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        connect_timeout: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        arguments = client_arguments(url, api_key, timeout, connect_timeout)
        self._connection = AsyncConnection(arguments, retry or Retry(), transport)
        self._datasets = AsyncDatasets(self._connection)
        self._experiments = AsyncExperiments(self._connection)

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._connection.url

    @property
    def datasets(self) -> AsyncDatasets:
        """Its datasets."""
        return self._datasets

    @property
    def experiments(self) -> AsyncExperiments:
        """Its experiments."""
        return self._experiments

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Simulations

    async def simulate(
        self,
        embeddings: ArrayLike,
        *,
        options: Mapping[str, Any] | None = None,
        seed: int | None = None,
        sample_keys: Sequence[int] | None = None,
        outputs: Sequence[str] | None = None,
        trace: Mapping[str, Any] | None = None,
        model: str | None = None,
        store: bool | None = None,
        timeout_ms: int | None = None,
    ) -> Simulation:
        """Simulates a batch now and returns everything.

        Args:
            embeddings: rows of numbers, [rows, dimension].
            options: run-time fields of the config, for example ``{"noise_std": 0.1}``.
            seed: of the noise.
            sample_keys: one a row; a row with its key gives the same result in any batch. By
                default the index of the row.
            outputs: any of ``surface``, ``planes``, ``hits``, ``embedding``.
            trace: ``capacity``, ``keep``, ``kinds``, and ``inline``, the records that come along.
            model: name of a model on the server.
            store: whether the server keeps the run; it does by default.
            timeout_ms: after which the server gives the run up.

        Raises:
            ValueError: the embeddings are not rows of numbers.
            ProblemError: the server refuses.
        """
        request = calls.simulate(
            embeddings,
            options=options,
            seed=seed,
            sample_keys=sample_keys,
            outputs=outputs,
            trace=trace,
            model=model,
            store=store,
            timeout_ms=timeout_ms,
        )
        return await self._connection.ask(request, read_simulation)

    async def dry_run(
        self,
        embeddings: ArrayLike,
        *,
        options: Mapping[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        trace: Mapping[str, Any] | None = None,
        model: str | None = None,
    ) -> Estimate:
        """What :meth:`simulate` would cost, after the same checks; runs nothing."""
        request = calls.simulate(
            embeddings,
            options=options,
            outputs=outputs,
            trace=trace,
            model=model,
            dry_run=True,
        )
        return await self._connection.ask(request, json_as(estimate_from_json))

    async def submit_run(
        self,
        embeddings: ArrayLike | None = None,
        *,
        dataset: str | None = None,
        rows: Sequence[int] | None = None,
        options: Mapping[str, Any] | None = None,
        seed: int | None = None,
        sample_keys: Sequence[int] | None = None,
        outputs: Sequence[str] | None = None,
        trace: Mapping[str, Any] | None = None,
        model: str | None = None,
        timeout_ms: int | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Queues a run and returns at once; other arguments are those of :meth:`simulate`.

        Args:
            dataset: name of a dataset on the server, in place of embeddings.
            rows: of the dataset, from the first to before the second; all by default. A row's
                sample key is its index in the dataset.
            idempotency_key: the same key never makes a second run. By default a new one, so that
                this call may be repeated for you when the connection breaks.
        """
        request = calls.submit_run(
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
            idempotency_key=idempotency_key,
        )
        return await self._connection.ask(request, json_as(run_from_json))

    async def wait(
        self,
        run_id: str,
        on_progress: Callable[[Run], object] | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> Run:
        """Waits until a run has ended, well or not, and returns it.

        Args:
            on_progress: called with the run whenever it has changed.
            timeout_seconds: how long; by default as long as it takes.

        Raises:
            ResponseTimeout: the run has not ended in time.
        """
        return await self._connection.carry_out(
            dialogues.wait_until_ended(
                f"run {run_id}",
                calls.at("runs", run_id),
                run_from_json,
                self._connection.retry,
                replace(self._connection.retry, unreachable=True),
                on_progress,
                timeout_seconds,
            )
        )

    def events(self, run_id: str, *, last_event_id: str | None = None) -> AsyncIterator[RunEvent]:
        """What happens in a run, until it ends; goes on where it was after a broken connection.

        Args:
            last_event_id: begin after this event.
        """
        subscription = Subscription(
            calls.at("runs", run_id, "events"), self._connection.retry, last_event_id
        )
        return self._connection.follow(subscription)

    # Runs

    def runs(self, *, page_size: int | None = None) -> AsyncIterator[Run]:
        """Every run that the server keeps, newest first, read page by page."""
        return self._connection.items(calls.at("runs"), run_from_json, page_size)

    async def run(self, run_id: str) -> Run:
        """One run."""
        return await self._connection.ask(
            calls.get(calls.at("runs", run_id)), json_as(run_from_json)
        )

    async def cancel(self, run_id: str) -> Run:
        """Cancels a run, which takes effect within one step."""
        return await self._connection.ask(
            calls.post(calls.at("runs", run_id, "cancel")), json_as(run_from_json)
        )

    async def delete_run(self, run_id: str) -> None:
        """Removes a run and everything the server keeps of it."""
        await self._connection.ask(calls.delete(calls.at("runs", run_id)), read_nothing)

    async def outputs(self, run_id: str, name: str = "surface") -> NDArray[Any]:
        """An output of a run: ``surface``, ``planes``, ``hits`` or ``embedding``."""
        return await self._connection.ask(calls.output(run_id, name), calls.read_npy)

    async def download_heat_map(self, run_id: str, path: str | Path, *, sample: int = 0) -> Path:
        """Writes a picture (PNG) of one sample's surface to a file."""
        return await self._connection.download(calls.heat_map(run_id, sample, Path(path)))

    async def trace(
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
        """Records of a run's trace, sorted by (sample, seq); without a filter, all of them.

        Args:
            kind: ``spawn``, ``reflect``, ``terminate``, or several of them.
            sample: one of them or several; so with ``flow``.
            step_from: first step; ``step_to``: last step.
            limit: at most so many records.
        """
        request = calls.trace(
            run_id,
            kind=kind,
            sample=sample,
            flow=flow,
            step_from=step_from,
            step_to=step_to,
            limit=limit,
        )
        return await self._connection.ask(request, records_from_ndjson)

    async def download_trace(
        self,
        run_id: str,
        path: str | Path,
        *,
        format: str = "parquet",
        kind: str | Sequence[str] | None = None,
        sample: int | Sequence[int] | None = None,
        flow: int | Sequence[int] | None = None,
        step_from: int | None = None,
        step_to: int | None = None,
        limit: int | None = None,
    ) -> Path:
        """Writes a run's trace, or the part that the filters of :meth:`trace` leave, to a file.

        Args:
            format: ``parquet``, ``arrow``, ``ndjson``, ``csv`` or ``perfetto``.
        """
        request = calls.trace_file(
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
        return await self._connection.download(request)

    async def replay(self, run_id: str, sample: int, *, flow: int | None = None) -> Replay:
        """Simulates one sample of a run again: where its flows were, step by step.

        Args:
            flow: tell of this flow, its ancestors and descendants alone.

        Raises:
            Conflict: the run has not ended, or its model is gone or not the same any more.
        """
        return await self._connection.ask(
            calls.replay(run_id, sample, flow), json_as(replay_from_json)
        )

    async def compare(self, run_id: str, other: str) -> Comparison:
        """Two runs side by side: metrics, surfaces, and where the traces of each sample part.

        Raises:
            Conflict: one has not ended, or their surfaces have different shapes.
        """
        return await self._connection.ask(
            calls.compare(run_id, other), json_as(comparison_from_json)
        )

    async def memory(self, run_id: str) -> Memory:
        """A run's memory telemetry."""
        return await self._connection.ask(
            calls.get(calls.at("runs", run_id, "memory")), json_as(memory_from_json)
        )

    def samples(
        self, run_id: str, *, page_size: int | None = None
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The counts of each sample that has ended, in the order of the rows."""
        return self._connection.items(
            calls.at("runs", run_id, "samples"), object_from_json, page_size
        )

    async def profile(self, run_id: str) -> Mapping[str, Any]:
        """A run's profile, step by step."""
        return await self._connection.ask(
            calls.get(calls.at("runs", run_id, "profile")), json_as(object_from_json)
        )

    # Models

    def models(self, *, page_size: int | None = None) -> AsyncIterator[Model]:
        """Every model on the server, read page by page."""
        return self._connection.items(calls.at("models"), model_from_json, page_size)

    async def model(self, name: str) -> Model:
        """One model."""
        return await self._connection.ask(
            calls.get(calls.at("models", name)), json_as(model_from_json)
        )

    async def create_model(
        self,
        name: str,
        *,
        preset: str | None = None,
        config: Mapping[str, Any] | None = None,
        model_seed: int | None = None,
    ) -> Model:
        """Makes an untrained model.

        Args:
            preset: what it starts from: ``debug``, ``experiment`` or ``optimized``.
            config: fields that differ from the preset's.
            model_seed: what its weights are drawn from.
        """
        request = calls.create_model(name, preset, config, model_seed)
        return await self._connection.ask(request, json_as(model_from_json))

    async def put_model(
        self,
        name: str,
        path: str | Path,
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Model:
        """Keeps a checkpoint (``.safetensors``) under a name; the same again changes nothing.

        Args:
            on_progress: called with the bytes that have been sent, and all of them.

        Raises:
            OSError: the file cannot be read.
            Conflict: the name is taken by another model.
            Unprocessable: the server says what is wrong with the checkpoint.
        """
        request = calls.put_model(name, Path(path), on_progress)
        return await self._connection.ask(request, json_as(model_from_json))

    async def load_model(self, name: str) -> Model:
        """Loads a model now, which its next run would do."""
        request = calls.post(calls.at("models", name, "load"))
        return await self._connection.ask(request, json_as(model_from_json))

    async def unload_model(self, name: str) -> Model:
        """Frees what a model takes; runs that use it go on.

        Raises:
            Conflict: it is the default model.
        """
        request = calls.post(calls.at("models", name, "unload"))
        return await self._connection.ask(request, json_as(model_from_json))

    async def delete_model(self, name: str) -> None:
        """Removes a model.

        Raises:
            Conflict: it is the default model, or an unfinished run uses it.
        """
        await self._connection.ask(calls.delete(calls.at("models", name)), read_nothing)

    async def download_model(self, name: str, path: str | Path) -> Path:
        """Writes a model's checkpoint (``.safetensors``) to a file."""
        return await self._connection.download(calls.checkpoint(name, Path(path)))

    # The server

    async def system(self) -> Mapping[str, Any]:
        """The server's versions, device, memory, queue and engine."""
        return await self._connection.ask(calls.get(calls.at("system")), json_as(object_from_json))

    async def ready(self) -> bool:
        """Whether the server takes work; not, if nobody answers."""
        return await self._connection.carry_out(dialogues.probe("/readyz"))

    async def live(self) -> bool:
        """Whether the server's process answers."""
        return await self._connection.carry_out(dialogues.probe("/livez"))

    async def wait_until_ready(self, timeout_seconds: float | None = None) -> None:
        """Waits until the server takes work.

        Raises:
            ResponseTimeout: it does not within ``timeout_seconds``.
        """
        await self._connection.carry_out(dialogues.wait_until_ready(timeout_seconds))
