"""``Service``: everything that runs behind the routes, from its start to its end."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import logging
import os
from enum import StrEnum
from pathlib import Path
from typing import IO

from energy_flow.config.flow_config import FlowConfig, parse_assignments
from energy_flow.config.presets import preset
from energy_flow.engine import Engine
from energy_flow.errors import ConfigError, Fault
from energy_flow.runtime.device import resolve_device
from energy_flow.telemetry.memory import memory_limit
from service.experiments.recording import TrialRecorder
from service.experiments.runner import ExperimentRunner
from service.experiments.service import ExperimentDesk
from service.experiments.store import ExperimentStore
from service.experiments.trainings import Trainings
from service.models.registry import DEFAULT, ModelRegistry
from service.monitoring.instruments import Instruments
from service.problems import Problem
from service.runs.active_runs import Runs
from service.runs.replays import Replays
from service.settings import Settings
from service.store.archive import RunArchive
from service.store.catalog import RunCatalog
from service.store.database import Database
from service.store.datasets import DatasetRegistry
from service.store.safety import SafetyThread
from service.store.tables import RunRow
from service.store.writer import Writer

log = logging.getLogger(__name__)

# An engine that has not come round for this long is stuck.
HEARTBEAT_SECONDS = 5.0


class State(StrEnum):
    """Where the server is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class DataDirInUseError(RuntimeError):
    """Another server works in the data directory."""


class Service:
    """The engine, the archive, the models and the datasets of one server.

    ``models``, ``datasets``, ``runs``, ``replays``, ``archive`` and ``engine`` are there once it is
    ready.

    Attributes:
        state: where it is in its life.
        instruments: what is counted.
        failure: why it could not start.
    """

    engine: Engine
    archive: RunArchive
    models: ModelRegistry
    datasets: DatasetRegistry
    runs: Runs
    replays: Replays
    experiments: ExperimentDesk

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.instruments = Instruments()
        self.state = State.STARTING
        self.failure: BaseException | None = None
        self._lock_file: IO[bytes] | None = None
        self._database: Database | None = None
        self._writer = Writer()
        self._safety: SafetyThread | None = None
        self._engine_started = False
        self._starting: asyncio.Task[None] | None = None
        self._resuming: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Checks what can be checked at once, and starts the rest in the background.

        Raises:
            ConfigError: the default model's config, or the device.
            DataDirInUseError: another server works in the data directory.
            OSError: the data directory cannot be used.
        """
        try:
            config = default_config(self.settings)
            device = resolve_device(self.settings.device)
            self.settings.data_dir.mkdir(parents=True, exist_ok=True)
            self._lock_file = _lock(self.settings.data_dir / "lock")
        except Exception as error:
            self.failure = error
            self.state = State.FAILED
            raise
        self._starting = asyncio.create_task(self._start(config, device))

    def accepting(self) -> str | None:
        """Why new work would not be taken; ``None`` when it would."""
        if self.state is State.FAILED:
            return f"the server could not start: {self.failure}"
        if self.state is not State.READY:
            return f"the server is {self.state}"
        status = self.engine.status()
        if status.state != "running":
            return f"the engine is {status.state}"
        if status.heartbeat_age_seconds > HEARTBEAT_SECONDS:
            return f"the engine has not come round for {status.heartbeat_age_seconds:.0f} s"
        return None

    @property
    def default_model_config(self) -> FlowConfig | None:
        """Of the default model, once it is loaded."""
        return self.models.find(DEFAULT).config if self.state is State.READY else None

    @property
    def opened(self) -> bool:
        """Whether engine, archive and models are there."""
        return self.state in (State.READY, State.DRAINING) and hasattr(self, "runs")

    async def drain(self) -> None:
        """Takes no new work, gives running work its time, and stops everything; once."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._stop())
        await asyncio.shield(self._draining)

    async def _start(self, config: FlowConfig, device: str) -> None:
        try:
            waiting, safety = await asyncio.to_thread(self._open, config, device)
            loop = asyncio.get_running_loop()
            self.runs = Runs(
                self.engine,
                self.archive,
                self.models,
                self._writer,
                safety,
                loop,
                self.instruments,
            )
            self.replays = Replays(self.engine, self.archive, self.models)
            self.experiments = self._desk(loop)
            await self.experiments.runner.open()
            if self.state is State.STARTING:
                self.state = State.READY
                self._resuming = asyncio.create_task(self.runs.resume(waiting))
                log.info("ready")
        except Exception as error:
            self.failure = error
            self.state = State.FAILED
            log.exception("the server could not start")

    def _desk(self, loop: asyncio.AbstractEventLoop) -> ExperimentDesk:
        assert self._database is not None
        store = ExperimentStore(self._database)
        recorder = TrialRecorder(
            self.archive, self._writer, self.engine.cancel, self.runs.forget, self.instruments
        )
        trainings = Trainings(self.engine, self.models, self.runs)
        runner = ExperimentRunner(
            store, self.archive, self.runs, self.models, trainings, recorder, loop
        )
        return ExperimentDesk(store, runner, self.archive, self.datasets, self.models)

    def _open(self, config: FlowConfig, device: str) -> tuple[list[RunRow], SafetyThread]:
        settings = self.settings
        # Takes long enough that the first run should not have to wait for it.
        importlib.import_module("energy_flow.trace.formats")
        self._database = Database(settings.index_url)
        self.datasets = DatasetRegistry(
            self._database, settings.data_dir / "datasets", settings.max_upload_bytes
        )
        self.archive = RunArchive(
            RunCatalog(self._database),
            self.datasets,
            settings.data_dir / "runs",
            settings.keep_runs_bytes,
        )
        waiting = self.archive.recover(
            lambda: Problem(503, "interrupted by a restart of the server")
        )
        self.datasets.recover()
        self._writer.start()
        self._safety = safety = SafetyThread(self.archive)
        safety.start()
        self.engine = Engine(
            device=device,
            memory_limit_bytes=memory_limit(device, settings.memory_limit),
            max_queued_flow_steps=settings.max_queued_flow_steps,
            on_step=self.instruments.stepped,
        )
        self.engine.start()
        self._engine_started = True
        self.models = ModelRegistry(self._database, settings.data_dir / "models", self.engine)
        self.models.open(config, settings.model, warm_up=settings.warm_up)
        return waiting, safety

    async def _stop(self) -> None:
        ready = self.state is State.READY
        if self.state is not State.FAILED:
            self.state = State.DRAINING
        if self._starting is not None:
            await self._starting
        if ready:
            self.experiments.runner.stop()
            self.runs.stop()
        if self._resuming is not None:
            self._resuming.cancel()
        if self._engine_started:
            await asyncio.to_thread(self.engine.drain, self.settings.drain_seconds)
        await asyncio.to_thread(self._writer.stop)
        if self._safety is not None:
            await asyncio.to_thread(self._safety.stop)
        if ready:
            self.runs.close()
            await self.experiments.runner.close()
        if self._database is not None:
            self._database.close()
        if self._lock_file is not None:
            self._lock_file.close()
        if self.state is not State.FAILED:
            self.state = State.STOPPED
        log.info("stopped")


def default_config(settings: Settings) -> FlowConfig:
    """The config of the default model, where it is not a checkpoint's.

    Raises:
        ConfigError: with every fault.
    """
    if settings.model is not None and settings.set:
        said = "changes a preset, and the default model comes from a checkpoint"
        raise ConfigError(Fault(("set",), said, list(settings.set)))
    return preset(settings.preset).replace(parse_assignments(settings.set))


def _lock(path: Path) -> IO[bytes]:
    """Holds the data directory for this process, as long as the file is open."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise DataDirInUseError(
            f"another server works in {path.parent}; give this one another --data-dir"
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n".encode())
    file.flush()
    return file
