"""``LocalExecutor``: one engine in this process as an :class:`Executor`."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from energy_flow.ablation import AblationMeasurements, AblationRun
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine.engine import Engine
from energy_flow.engine.estimate import Estimate
from energy_flow.engine.executor import AblationListener, WorkListener
from energy_flow.engine.jobs import ReplayOutcome
from energy_flow.engine.loaded_models import LoadedModel, model_key
from energy_flow.engine.model_memory import ModelMemory
from energy_flow.engine.request import (
    AblationRequest,
    ReplayRequest,
    RunRequest,
    TrainingListener,
    TrainingWork,
)
from energy_flow.engine.status import WorkerStatus
from energy_flow.engine.work import AblationWork, Work


class LocalExecutor:
    """Carries out work on an engine in this process.

    Its methods are those of :class:`Executor`.

    Attributes:
        engine: as given.
        host_memory: that of the engine on a CPU, which it shares with requests; on an accelerator
            one of its own.

    Args:
        engine: the only worker; the executor starts and stops it.
        host_limit_bytes: largest memory of requests while the engine is on an accelerator.
    """

    def __init__(self, engine: Engine, host_limit_bytes: int) -> None:
        self.engine = engine
        self.host_memory: ModelMemory = (
            engine.memory
            if engine.device.type == "cpu"
            else ModelMemory.without_models(host_limit_bytes)
        )

    def start(self) -> None:
        """As :meth:`Executor.start`."""
        self.engine.start()

    def drain(self, seconds: float) -> None:
        """As :meth:`Executor.drain`."""
        self.engine.drain(seconds)

    def stop(self) -> None:
        """As :meth:`Executor.stop`."""
        self.engine.stop()

    def status(self) -> list[WorkerStatus]:
        """As :meth:`Executor.status`."""
        return [self.engine.worker_status()]

    def submit(self, work: Work, listener: WorkListener) -> None:
        """As :meth:`Executor.submit`."""
        rows = work.embeddings
        deadline = work.seconds_left
        self.engine.submit(
            RunRequest(
                run_id=work.run_id,
                model=work.model,
                config=work.config,
                embeddings=rows
                if isinstance(rows, np.ndarray)
                else _ListenerRows(listener, work.first_sample, rows.rows),
                seed=work.seed,
                sample_keys=work.sample_keys,
                outputs=work.outputs,
                deadline=None if deadline is None else time.monotonic() + deadline,
                streams=work.streams,
                first_sample=work.first_sample,
                chunk_samples=work.chunk_samples,
                client=work.client,
                first_row=work.first_sample,
            ),
            listener,
        )

    def cancel(self, run_id: str, *, discard: bool = False) -> bool:
        """As :meth:`Executor.cancel`."""
        return self.engine.cancel(run_id, discard=discard)

    def pause(self, run_id: str) -> bool:
        """As :meth:`Executor.pause`."""
        return self.engine.pause(run_id) or self.engine.stop_training(run_id)

    def require_room(self, client: str) -> None:
        """As :meth:`Executor.require_room`."""
        self.engine.require_room(client)

    def check(
        self,
        config: FlowConfig,
        samples: int,
        *,
        streams: bool = False,
        model: str = "",
        base: FlowConfig | None = None,
    ) -> None:
        """As :meth:`Executor.check`."""
        self.engine.check(config, samples, streams=streams, model=model, base=base)

    def estimate(self, config: FlowConfig, samples: int, model: str = "") -> Estimate:
        """As :meth:`Executor.estimate`."""
        return self.engine.estimate(config, samples, model)

    def replay(self, request: ReplayRequest) -> Future[ReplayOutcome]:
        """As :meth:`Executor.replay`."""
        return self.engine.replay(request)

    def ablate(
        self, work: AblationWork, listener: AblationListener
    ) -> Future[AblationMeasurements]:
        """As :meth:`Executor.ablate`."""

        def report(run: AblationRun) -> None:
            listener.progressed(run.done, run.current)

        return self.engine.ablate(
            AblationRequest(work.model, work.config, work.pairs, work.resamples, report)
        )

    def train(self, work: TrainingWork, listener: TrainingListener) -> None:
        """As :meth:`Executor.train`."""
        self.engine.train(work, listener)

    def check_model(self, config: FlowConfig) -> None:
        """As :meth:`Executor.check_model`."""
        self.engine.check_model(config)

    def load_model(
        self, source: FlowConfig | Path, *, prepare: bool = True, is_permanent: bool = True
    ) -> LoadedModel:
        """As :meth:`Executor.load_model`."""
        return self.engine.load_model(source, prepare=prepare, is_permanent=is_permanent)

    def has_model(self, digest: str, config: FlowConfig) -> bool:
        """As :meth:`Executor.has_model`."""
        return self.engine.has_model(model_key(digest, config))

    def unload_model(self, digest: str, config: FlowConfig) -> None:
        """As :meth:`Executor.unload_model`."""
        self.engine.unload_model(digest, config)

    def create_checkpoint(self, config: FlowConfig, path: Path) -> LoadedModel:
        """As :meth:`Executor.create_checkpoint`."""
        return self.engine.create_checkpoint(config, path)

    def save_model(self, digest: str, config: FlowConfig, path: Path) -> None:
        """As :meth:`Executor.save_model`."""
        self.engine.save_model(digest, config, path)


class _ListenerRows:
    """The embeddings of a run, read by its listener."""

    def __init__(self, listener: WorkListener, first_sample: int, rows: int) -> None:
        self.rows = rows
        self._listener = listener
        self._first_sample = first_sample

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return embeddings, as ``EmbeddingSource.read``."""
        return self._listener.read(self._first_sample + start, self._first_sample + stop)
