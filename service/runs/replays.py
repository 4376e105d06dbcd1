"""Replays: one sample of a kept run simulated again, between the steps of the runs under way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import Engine, ReplayOutcome, ReplayRequest
from energy_flow.errors import Fault, ModelNotLoaded
from energy_flow.simulation.replay import (
    Difference,
    Replay,
    first_difference,
    reason_name,
)
from energy_flow.trace.formats import TraceFilter, columns_of, read_batches
from service.json_encoding import large_to_json
from service.models.registry import Model, ModelRegistry
from service.problems import Problem, invalid, not_found
from service.store.archive import RunArchive
from service.store.tables import RunRow

_COUNTS = (
    *("created", "initial", "spawned", "completed", "stalled", "terminated", "exits"),
    *("reflected", "spawns_suppressed", "steps", "flow_steps"),
)


@dataclass(frozen=True, slots=True)
class _Columns:
    columns: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a run has kept of one sample.

    Attributes:
        inputs: its embedding. key: its sample key.
        columns: its trace records.
        counts: its counters; none where the run ended before it did.
    """

    inputs: NDArray[np.float32]
    key: int
    columns: Mapping[str, NDArray[Any]]
    counts: Mapping[str, Any] | None


class Replays:
    """Simulates samples of kept runs again, one replay at a time. Belongs to the event loop."""

    def __init__(self, engine: Engine, archive: RunArchive, models: ModelRegistry) -> None:
        self._engine = engine
        self._archive = archive
        self._models = models
        self._turn = asyncio.Semaphore(1)

    async def replay(self, row: RunRow, sample: int, flow: int | None) -> bytes:
        """The answer to a request for a replay, serialised.

        Args:
            row: of a run that has ended.
            flow: whose kin alone is told; all flows, if none.

        Raises:
            Problem: 404, the run is gone; 409, its model is gone, or not the same; 422, it has no
                such sample or flow.
            EnergyFlowError: as the run.
        """
        if not 0 <= sample < row.samples:
            said = f"must be a sample of the run, 0 to {row.samples - 1}"
            raise invalid([Fault(("sample",), said, sample)])
        model = await self._model(row)
        async with self._turn:
            try:
                stored = await asyncio.to_thread(self._stored, row, sample)
            except FileNotFoundError:
                raise not_found(f"run {row.run_id!r}") from None
            outcome = await self._simulated(row, model, stored, sample)
            return await asyncio.to_thread(_answer, row, sample, flow, stored, outcome)

    async def _model(self, row: RunRow) -> Model:
        try:
            model = await self._models.ready(row.model)
        except Problem as problem:
            if problem.status != 404:
                raise
            said = f"the model {row.model!r} that the run used is not there any more"
            raise Problem(409, said, extra={"model": row.model}) from None
        if model.digest != row.model_digest:
            raise Problem(
                409,
                f"the model {row.model!r} has other weights than when the run used it; a replay "
                "needs the same",
                extra={"digest": model.digest, "run_digest": row.model_digest},
            )
        return model

    async def _simulated(
        self, row: RunRow, model: Model, stored: Stored, sample: int
    ) -> ReplayOutcome:
        config = FlowConfig.from_dict(row.config)
        if row.state != "succeeded":
            # The sample may have been broken off, and its ring have lost less than at its end.
            config = config.replace({"trace.keep": "lossless"})
        request = ReplayRequest(model.digest, config, stored.inputs, row.seed, stored.key, sample)
        while True:
            try:
                return await asyncio.wrap_future(self._engine.replay(request))
            except ModelNotLoaded:
                # Unloaded since the request was checked.
                await self._models.ready(model.name, model.digest)

    def _stored(self, row: RunRow, sample: int) -> Stored:
        folder = self._archive.folder(row.run_id)
        keep = TraceFilter(samples=frozenset({sample}))
        counts = folder.samples(sample, 1)
        return Stored(
            inputs=self._archive.inputs(row).read(sample, sample + 1)[0],
            key=self._archive.sample_keys(row)[sample],
            columns=columns_of(read_batches(folder.trace_parts(sample), keep)),
            counts=counts[0] if counts else None,
        )


def _answer(
    row: RunRow, sample: int, flow: int | None, stored: Stored, outcome: ReplayOutcome
) -> bytes:
    result = outcome.result
    difference = _difference(row, stored, result)
    counts = result.samples[0].to_dict()
    known = stored.counts if row.state == "succeeded" else None
    agrees = difference is None and (
        known is None or all(known[name] == counts[name] for name in _COUNTS)
    )
    whole = outcome.paths()
    told = whole if flow is None else whole.lineage(flow)
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
            "flows": _lives(told),
            "path": dict(told.path),
        }
    )


def _lives(told: Replay) -> dict[str, Any]:

    lives: dict[str, Any] = dict(told.lives)
    lives["reason"] = [reason_name(code) for code in told.lives["reason"].tolist()]
    names = ("flow", "parent", "born_step", "end_step", "reason", "plane", "generation")
    return {name: lives[name] for name in names}


def _difference(row: RunRow, stored: Stored, result: Any) -> Difference | None:

    replayed: Mapping[str, NDArray[Any]] = result.trace.columns
    if row.state != "succeeded":
        # Of a run that was broken off, what it has kept is a part of what it would have done.
        held = stored.columns["seq"]
        within = np.isin(replayed["seq"], held)
        replayed = {name: column[within] for name, column in replayed.items()}
    return first_difference(_Columns(stored.columns), _Columns(replayed))
