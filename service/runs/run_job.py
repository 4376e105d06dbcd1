"""From a validated request to what the engine and the index need of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import RunKind, RunState, arithmetic_of
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import EmbeddingSource, RowReference, Work
from service.models.model import Model
from service.requests.simulation_request import SimulationRequest
from service.runs.active_run import ActiveRun, Persistence
from service.runs.arithmetic import installed_version
from service.store.dataset_files import DatasetRows
from service.store.tables import RunRow


@dataclass(frozen=True, slots=True)
class RunJob:
    """What the engine needs of a run, besides its id.

    Attributes:
        model: Its model.
        config: Config of the model with the options of the run.
        embeddings: Embeddings [samples, dim], or a source of them.
        seed: Seed of the noise.
        sample_keys: Keys [samples] of the noise.
        outputs: Names of the outputs to compute.
        deadline: Deadline on the clock of ``time.monotonic()``, if there is one.
        chunk_samples: Most samples of a chunk; by default, as many as suit the device.
        client: Who sends the run; runs of several clients take turns.
    """

    model: Model
    config: FlowConfig
    embeddings: NDArray[np.float32] | EmbeddingSource
    seed: int
    sample_keys: Sequence[int]
    outputs: tuple[str, ...]
    deadline: float | None
    chunk_samples: int | None = None
    client: str = ""

    def make_work(self, run: ActiveRun) -> Work:
        """Return the work of a run, from the first sample that is not done.

        Args:
            run: The run, which reads embeddings that are not in memory.
        """
        first, rows = run.samples_done, self.embeddings
        if not isinstance(rows, np.ndarray):
            run.embeddings = rows
        return Work(
            run_id=run.run_id,
            model=self.model.digest,
            config=self.config,
            embeddings=rows[first:]
            if isinstance(rows, np.ndarray)
            else self._refer_to(rows, run.run_id, first),
            seed=self.seed,
            sample_keys=self.sample_keys[first:] if first else self.sample_keys,
            outputs=self.outputs,
            first_sample=first,
            seconds_left=None if self.deadline is None else self.deadline - time.monotonic(),
            streams=run.persistence is Persistence.STORE,
            chunk_samples=self.chunk_samples,
            client=self.client,
        )

    @staticmethod
    def _refer_to(rows: EmbeddingSource, run_id: str, first: int) -> RowReference:
        if isinstance(rows, DatasetRows):
            return RowReference(rows.digest, rows.first + first, rows.rows - first)
        return RowReference(run_id, first, rows.rows - first)


def make_job(
    request: SimulationRequest,
    model: Model,
    embeddings: NDArray[np.float32] | EmbeddingSource,
    client: str,
) -> RunJob:
    """Return the job of a new run.

    Args:
        request: The request.
        model: Its model.
        embeddings: Embeddings [samples, dim], or a source of them.
        client: Who sends it.
    """
    timeout_ms = request.fields.timeout_ms
    return RunJob(
        model=model,
        config=request.config,
        embeddings=embeddings,
        seed=request.seed,
        sample_keys=request.keys,
        outputs=request.outputs,
        deadline=None if timeout_ms is None else time.monotonic() + timeout_ms / 1e3,
        client=client,
    )


def make_row(run_id: str, kind: RunKind, request: SimulationRequest, model: Model) -> RunRow:
    """Return the row of a new run.

    Args:
        run_id: Its id.
        kind: Its kind.
        request: The request.
        model: Its model.
    """
    return RunRow(
        run_id=run_id,
        name=request.fields.name,
        tags=request.fields.tags,
        note=request.fields.note,
        kind=kind,
        state=RunState.QUEUED,
        created_at=time.time(),
        model=model.name,
        model_digest=model.digest,
        trained=model.trained,
        seed=request.seed,
        samples=request.samples,
        dataset=request.dataset_name,
        dataset_digest=None if request.dataset is None else request.dataset.digest,
        dataset_from=None if request.dataset is None else request.dataset.first,
        samples_done=0,
        config=request.config.to_dict(),
        request={
            "options": request.options,
            "outputs": list(request.outputs),
            "timeout_ms": request.fields.timeout_ms,
        },
        warnings=[],
        bytes=0,
        safe=kind is RunKind.RUN,
        last_event_id=0,
        arithmetic=arithmetic_of(request.config.precision),
        version=installed_version(),
        worker_kinds=[],
        attempts=0,
    )
