"""Replays: one sample of a stored run is simulated again, between the steps of active runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import RunState
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import Executor, ReplayOutcome, ReplayRequest
from energy_flow.errors import Fault, ModelNotLoaded
from energy_flow.simulation.replay import Replay, reason_name
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.trace.batches import columns_of
from energy_flow.trace.difference import Difference, first_difference
from energy_flow.trace.reader import TraceFilter
from service.json_encoding import large_to_json
from service.models.model import Model
from service.models.registry import ModelRegistry
from service.problems import invalid
from service.runs.arithmetic import note_on_replay
from service.runs.worker_kinds import note_on_replay_kind
from service.store.archive import RunArchive
from service.store.tables import RunRow
from service.threads import Threads, in_thread

_COUNTS = (
    *("created", "initial", "spawned", "completed", "stalled", "terminated", "exits"),
    *("reflected", "spawns_suppressed", "steps", "flow_steps"),
)


@dataclass(frozen=True, slots=True)
class _Columns:
    columns: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class StoredSample:
    """What is stored of one sample of a run.

    Attributes:
        inputs: Its embedding [dim].
        key: Its sample key.
        columns: Its trace records as columns by name.
        counts: Its counters; ``None`` if the run ended before the sample.
    """

    inputs: NDArray[np.float32]
    key: int
    columns: Mapping[str, NDArray[Any]]
    counts: Mapping[str, Any] | None


class Replays:
    """Simulates samples of stored runs again, one replay at a time. Belongs to the event loop.

    Args:
        executor: Simulates them.
        archive: Archive of the runs.
        models: Models of the runs.
    """

    def __init__(self, executor: Executor, archive: RunArchive, models: ModelRegistry) -> None:
        self._executor = executor
        self._archive = archive
        self._models = models
        self._turn = asyncio.Semaphore(1)

    async def replay(self, row: RunRow, sample: int, flow: int | None) -> bytes:
        """Replay a sample, and return the answer as JSON.

        Args:
            row: Row of a run that has ended.
            sample: Row of the sample in the run.
            flow: Flow whose lineage is returned; ``None`` for all flows.

        Raises:
            Problem: 404, the run was removed; 409, its model was removed or is another one now;
                422, it has no such sample or flow.
            EnergyFlowError: The simulation failed.
        """
        if not 0 <= sample < row.samples:
            message = f"must be a sample of the run, 0 to {row.samples - 1}"
            raise invalid([Fault(("sample",), message, sample)])
        config = FlowConfig.from_dict(row.config)
        model = await self._models.ready_for_run(row.model, row.model_digest, config)
        async with self._turn:
            stored = await in_thread(Threads.READS, self._read, row, sample)
            outcome = await self._simulate(row, model, config, stored, sample)
            return await in_thread(Threads.READS, _render, row, sample, flow, stored, outcome)

    async def _simulate(
        self, row: RunRow, model: Model, config: FlowConfig, stored: StoredSample, sample: int
    ) -> ReplayOutcome:
        if row.state != RunState.SUCCEEDED:
            # The sample may have ended early, when its ring had lost fewer records.
            config = config.replace({"trace.keep": "lossless"})
        request = ReplayRequest(model.digest, config, stored.inputs, row.seed, stored.key, sample)
        while True:
            try:
                return await asyncio.wrap_future(self._executor.replay(request))
            except ModelNotLoaded:
                # Unloaded since the request was checked.
                await self._models.reload(model)

    def _read(self, row: RunRow, sample: int) -> StoredSample:
        keep = TraceFilter(samples=frozenset({sample}))
        with self._archive.noticing_removal(row.run_id):
            files = self._archive.open(row)
            trace, counts = files.trace, files.read_samples(sample, 1)
            return StoredSample(
                inputs=self._archive.inputs(row).read(sample, sample + 1)[0],
                key=self._archive.sample_keys(row)[sample],
                columns=columns_of(trace.read(trace.files(sample, sample + 1), keep)),
                counts=counts[0] if counts else None,
            )


def _render(
    row: RunRow, sample: int, flow: int | None, stored: StoredSample, outcome: ReplayOutcome
) -> bytes:
    result = outcome.result
    difference = _find_difference(row, stored, result)
    counts = result.samples[0].to_dict()
    known = stored.counts if row.state == RunState.SUCCEEDED else None
    agrees = difference is None and (
        known is None or all(known[name] == counts[name] for name in _COUNTS)
    )
    note = note_on_replay(row) or note_on_replay_kind(row, outcome.kind)
    if note is not None:
        # It can come from rounding alone.
        difference = None
    whole = outcome.paths()
    shown = whole if flow is None else whole.lineage(flow)
    return large_to_json(
        {
            "run_id": row.run_id,
            "sample": sample,
            "flow": flow,
            "agrees": agrees,
            "difference": None
            if difference is None
            else {
                "seq": difference.seq,
                "stored": difference.first,
                "replayed": difference.second,
            },
            "note": note,
            "flows": _render_lives(shown),
            "path": dict(shown.path),
        }
    )


def _render_lives(replay: Replay) -> dict[str, Any]:
    lives: dict[str, Any] = dict(replay.lives)
    lives["reason"] = [reason_name(code) for code in replay.lives["reason"].tolist()]
    names = ("flow", "parent", "born_step", "end_step", "reason", "plane", "generation")
    return {name: lives[name] for name in names}


def _find_difference(
    row: RunRow, stored: StoredSample, result: SimulationResult
) -> Difference | None:
    replayed: Mapping[str, NDArray[Any]] = result.trace.columns
    if row.state != RunState.SUCCEEDED:
        # An interrupted run has a part of the records that the replay makes.
        held = stored.columns["seq"]
        within = np.isin(replayed["seq"], held)
        replayed = {name: column[within] for name, column in replayed.items()}
    return first_difference(_Columns(stored.columns), _Columns(replayed))
