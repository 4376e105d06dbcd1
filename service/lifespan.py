"""``Service``: everything behind the routes, from its start to its end."""

from __future__ import annotations

import asyncio
import importlib
import logging
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from energy_flow.choices import EngineState, ServerState
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import Engine, EngineStatus, Executor, LocalExecutor, WorkerStatus
from energy_flow.runtime.device import resolve_device
from energy_flow.runtime.limits import memory_limit
from service.ablations.ablations import Ablations
from service.datasets.parsing.parsers import Parsers
from service.datasets.parsing.process import ParserLimits
from service.experiments.runner import ExperimentRunner
from service.experiments.service import ExperimentService
from service.experiments.store import ExperimentStore
from service.experiments.trainings import Trainings
from service.experiments.trial_runner import TrialRunner
from service.experiments.trial_storage import TrialStorage
from service.models.registry import ModelRegistry
from service.monitoring.instruments import Instruments
from service.problems import Problem, problem_of
from service.runs.active_runs import ActiveRuns
from service.runs.recorder import RunObserver, RunRecorder
from service.runs.replays import Replays
from service.runs.request_shares import RequestShares
from service.settings import Settings, default_config
from service.store.archive import RunArchive
from service.store.catalog import RunCatalog
from service.store.database import SUPERSEDED, Database, NewerIndexError
from service.store.datasets import DatasetRegistry
from service.store.disk_reserve import RESERVE, DiskReserve
from service.store.fsync_thread import FsyncThread
from service.store.keys.access import check_access
from service.store.keys.key_ring import KeyRing
from service.store.keys.stored_keys import StoredKeys
from service.store.names import DEFAULT
from service.store.recovery.errors import (
    DataDirMismatchError,
    describe_full_disk,
)
from service.store.recovery.identity import open_index, read_default_model
from service.store.recovery.leftovers import sort_out_leftovers
from service.store.recovery.server_locks import ServerLocks
from service.store.run_ends import RunEnds
from service.store.tables import RunRow
from service.store.writer import Writer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Limits of a server that are not settings of its operator.

    Attributes:
        max_heartbeat_seconds: The engine is stuck if it has had no heartbeat for longer.
        max_wait_seconds: Most seconds that a request waits for runs to be cancelled, or for chunks
            to end; usually that takes a step.
        max_pool_flows: Active flows up to which the pools admit samples; by default, as many as
            suit the device.
        max_header_bytes: Most bytes of the request line and the headers of a request.
        body_seconds: Seconds after which it is checked how many bytes of a body have arrived.
        unread_seconds: Most seconds in which a reader takes nothing of an answer.
        arrival_seconds: Seconds after which memory is held only for those bytes of a body that have
            arrived.
        max_index_wait_seconds: Most seconds that a request waits for a locked index.
    """

    max_heartbeat_seconds: float = 5.0
    max_wait_seconds: float = 5.0
    max_pool_flows: int | None = None
    max_header_bytes: int = 65_536
    body_seconds: float = 20.0
    unread_seconds: float = 60.0
    arrival_seconds: float = 5.0
    max_index_wait_seconds: float = 4.0


DEFAULT_LIMITS = ServiceLimits()

# Name of the worker in the server's own process.
LOCAL = "local"


class Service:
    """The engine, the stores, the models, the runs and the experiments of one server.

    Attributes:
        settings: The server's settings.
        limits: The server's other limits.
        state: The server's state.
        instruments: Counts what happens.
        tracer_provider: Makes spans of requests and runs, and exports them, if that is set.
        keys: API keys that requests may carry.
        failure: Why the server could not start.
        is_superseded: Whether another server has become active on its index, so that it ends.
        executor: Carries out work; like the following attributes, it exists once the server is
            ready.
        archive: Stored runs.
        ends: Ends of runs that could not be stored at once.
        models: Models.
        datasets: Datasets.
        runs: Active runs.
        replays: Replays of stored runs.
        ablations: Ablations of models.
        experiments: Experiments.
        request_shares: Requests that wait for their simulations, by client.
        parsers: Processes that parse uploaded files; they exist from the first file on.

    Args:
        settings: The server's settings.
        limits: The server's other limits.
        executor: Carries out work, and has not been started; by default an engine in this process.
    """

    executor: Executor
    archive: RunArchive
    ends: RunEnds
    models: ModelRegistry
    datasets: DatasetRegistry
    runs: ActiveRuns
    replays: Replays
    ablations: Ablations
    experiments: ExperimentService

    def __init__(
        self,
        settings: Settings,
        limits: ServiceLimits = DEFAULT_LIMITS,
        executor: Executor | None = None,
    ) -> None:
        self.settings = settings
        self.limits = limits
        self._given_executor = executor
        self.instruments = Instruments()
        self.tracer_provider: TracerProvider | None = None
        self._observer: RunObserver = self.instruments
        if settings.otel:
            from service.monitoring.spans import RunSpans, make_provider

            self.tracer_provider = make_provider(version("energy-flow"))
            self._observer = RunSpans(self.instruments, self.tracer_provider.get_tracer(__name__))
        self.request_shares = RequestShares(settings.max_active_requests)
        self.keys = KeyRing(settings.api_key, is_required=settings.needs_key)
        self.state = ServerState.STARTING
        self.failure: BaseException | None = None
        self.parsers = Parsers(
            ParserLimits(
                settings.parser_seconds, settings.parser_memory_bytes, settings.max_upload_bytes
            )
        )
        self.is_superseded = False
        self._locks = ServerLocks(settings.data_dir, settings.index_url)
        self._database: Database | None = None
        self._writer = Writer()
        self._fsync_thread: FsyncThread | None = None
        self._executor_started = False
        self._starting: asyncio.Task[None] | None = None
        self._resuming: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None

    def lock_data_dir(self) -> None:
        """Create the data directory, and lock it and its index until the service stops.

        With an index in PostgreSQL, the server takes the locks when it starts, or waits for them.

        Raises:
            DataDirInUseError: Another server uses the data directory or the index.
            OSError: The data directory cannot be used.
        """
        self._locks.open()

    def begin(self) -> None:
        """Check the settings, and start everything else in the background.

        The data directory is locked first, unless :meth:`lock_data_dir` has locked it already.

        Raises:
            OpenAddressError: Other machines can reach the server, and there is no API key.
            RecoveryError: The index cannot be read.
            ConfigError: The config of the default model or the device is refused.
            DataDirInUseError: Another server uses the data directory.
            OSError: The data directory cannot be used.
        """
        try:
            config = default_config(self.settings)
            device = resolve_device(self.settings.device)
            check_access(self.settings)
            if not self._locks.is_open:
                self.lock_data_dir()
        except Exception as error:
            self.failure = error
            self.state = ServerState.FAILED
            raise
        self._starting = asyncio.create_task(self._start(config, device))

    async def wait_until_started(self) -> None:
        """Wait until the server is ready, or could not start."""
        if self._starting is not None:
            # Unlike the task itself, this wait can be cancelled.
            await asyncio.wait({self._starting})

    def rejection_reason(self) -> str | None:
        """Return why new work is rejected; ``None`` if it is accepted."""
        if self.is_superseded:
            return SUPERSEDED
        if self.state is ServerState.FAILED:
            return f"the server could not start: {self.failure}"
        if self.state is ServerState.STANDBY:
            return f"the server is standby: {self._locks.standby_reason}"
        if self.state is not ServerState.READY:
            return f"the server is {self.state}"
        workers = self.executor.status()
        failure = _find_failure(workers)
        if failure is not None:
            return failure
        lost = None if self._database is None else self._database.places.find_lost()
        if lost is not None:
            return lost.detail
        full = None if self._database is None else self._database.find_full_disk()
        if full is not None:
            return full
        faults = [self._find_fault(worker.engine) for worker in workers]
        return faults[0] if all(faults) else None

    def restart_reason(self) -> str | None:
        """Return why only a restart of the process helps; ``None`` if it is not needed."""
        return _find_failure(self.executor.status()) if self._executor_started else None

    def _find_fault(self, status: EngineStatus) -> str | None:
        """Return why a worker accepts no work now."""
        if status.state != EngineState.RUNNING:
            return f"the engine is {status.state}"
        if status.heartbeat_age_seconds > self.limits.max_heartbeat_seconds:
            return f"the engine has had no heartbeat for {status.heartbeat_age_seconds:.0f} s"
        return None

    @property
    def device_type(self) -> str:
        """Type of the workers' devices, such as ``cpu``, once the server is ready."""
        return self.executor.status()[0].device.partition(":")[0]

    @property
    def default_model_config(self) -> FlowConfig | None:
        """Config of the default model, once the server is ready."""
        return self.models.find(DEFAULT).config if self.state is ServerState.READY else None

    @property
    def is_open(self) -> bool:
        """Whether the engine, the archive and the models exist."""
        return self.state in (ServerState.READY, ServerState.DRAINING) and hasattr(self, "runs")

    async def drain(self) -> None:
        """Accept no new work, wait ``drain_seconds`` for running work, and stop everything."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._stop())
        await asyncio.shield(self._draining)

    async def end_running_work(self) -> None:
        """End what runs now, while the server drains."""
        if self._executor_started:
            await asyncio.to_thread(self.executor.stop)

    async def _start(self, config: FlowConfig, device: str) -> None:
        try:
            if not await self._become_active():
                return
            queued, fsync_thread = await asyncio.to_thread(self._open, config, device)
            loop = asyncio.get_running_loop()
            self.runs = ActiveRuns(
                self.executor,
                self.archive,
                self.ends,
                self.models,
                self._writer,
                fsync_thread,
                loop,
                self._observer,
            )
            self.replays = Replays(self.executor, self.archive, self.models)
            self.ablations = Ablations(self.executor, self.models, self.datasets)
            self.experiments = self._make_experiments(loop)
            await self.experiments.runner.open()
            if self.state is ServerState.STARTING:
                self.state = ServerState.READY
                self._resuming = asyncio.create_task(self.runs.resume(queued))
                log.info("ready")
        except (DataDirMismatchError, NewerIndexError) as error:
            # Whoever runs the server reports it.
            self.failure = error
            self.state = ServerState.FAILED
        except Exception as error:
            problem = problem_of(error)
            self.state = ServerState.FAILED
            if problem.status == 507:
                full = describe_full_disk(self.settings.data_dir, self.settings.index_url)
                problem = Problem(507, full)
            if problem.status == 500:
                self.failure = error
                log.exception("the server could not start")
            else:
                self.failure = problem

    async def _become_active(self) -> bool:
        """Wait until no other server has the locks; return false if the server stops before."""

        def note_standby() -> None:
            if self.state is ServerState.STARTING:
                self.state = ServerState.STANDBY

        is_active = await self._locks.wait_until_active(note_standby)
        if self.state is ServerState.STANDBY:
            self.state = ServerState.STARTING
        return is_active

    def _end_superseded(self) -> None:
        """Let whoever runs the server end it: another one has become active."""
        self.is_superseded = True
        self.state = ServerState.FAILED

    def _make_experiments(self, loop: asyncio.AbstractEventLoop) -> ExperimentService:
        assert self._database is not None
        store = ExperimentStore(self._database)
        recorder = RunRecorder(
            TrialStorage(self.archive, self.ends, self.instruments),
            self._writer,
            self.executor.cancel,
            self.runs.forget,
            self._observer,
        )
        trainings = Trainings(self.executor, self.models, self.runs)
        trials = TrialRunner(self.archive, self.runs, self.models, trainings, recorder, loop)
        runner = ExperimentRunner(store, self.archive, trials, loop)
        return ExperimentService(
            store, runner, self.archive, self.datasets, self.models, self.limits.max_wait_seconds
        )

    def _open(self, config: FlowConfig, device: str) -> tuple[list[RunRow], FsyncThread]:
        settings = self.settings
        # Imported here because it takes long, and the first run needs it.
        importlib.import_module("energy_flow.trace.formats.parquet")
        reserve = DiskReserve(settings.data_dir / RESERVE)
        self._database = open_index(
            settings.data_dir, settings.index_url, reserve, self.limits.max_index_wait_seconds
        )
        if self.state is not ServerState.STARTING:
            # It stops already, and must not wait for a database.
            self._database.limit_waits(0)
        self._locks.guard(self._database, self._end_superseded)
        self.keys.start(StoredKeys(self._database))
        sort_out_leftovers(settings.data_dir, self._database)
        self.datasets = DatasetRegistry(
            self._database,
            settings.data_dir / "datasets",
            settings.max_upload_bytes,
            settings.max_datasets_bytes,
        )
        self.archive = RunArchive(
            RunCatalog(self._database),
            self.datasets,
            settings.data_dir / "runs",
            settings.keep_runs_bytes,
        )
        reserve.restore()
        self.ends = RunEnds(self.archive)
        queued = self.ends.recover(
            lambda: Problem(503, "interrupted by a restart of the server; send it again")
        )
        self.datasets.recover()
        self._writer.start()
        self._fsync_thread = fsync_thread = FsyncThread(self.archive)
        fsync_thread.start()
        self.ends.start()
        self.executor = self._given_executor or self._make_local_executor(device)
        self.executor.start()
        self._executor_started = True
        self.models = ModelRegistry(
            self._database, settings.data_dir / "models", self.executor, settings.max_models_bytes
        )
        packaged = None if settings.choose_model else read_default_model(settings.data_dir)
        self.models.open(config, settings.model, packaged, warm_up=settings.warm_up)
        return queued, fsync_thread

    def _make_local_executor(self, device: str) -> LocalExecutor:
        settings = self.settings
        host_limit = memory_limit("cpu", settings.memory_limit)
        engine = Engine(
            device=device,
            memory_limit_bytes=memory_limit(device, settings.memory_limit),
            host_limit_bytes=None if device == "cpu" else host_limit,
            max_queued_flow_steps=settings.max_queued_flow_steps,
            max_pool_flows=self.limits.max_pool_flows,
            on_step=self.instruments.watch_steps(LOCAL),
            name=LOCAL,
        )
        return LocalExecutor(engine, host_limit)

    async def _stop(self) -> None:
        was_ready = self.state is ServerState.READY
        # The one that has become active waits for the data directory.
        seconds = 0.0 if self.is_superseded else self.settings.drain_seconds
        if self.state is not ServerState.FAILED:
            self.state = ServerState.DRAINING
        self._locks.stop()
        if self._database is not None:
            self._database.limit_waits(seconds)
        # Pieces of uploads are refused from now on as well.
        await asyncio.to_thread(self.parsers.close)
        if self._starting is not None:
            await self._starting
        was_ready |= self.is_superseded and hasattr(self, "experiments")
        if was_ready:
            self.experiments.runner.stop()
            self.runs.stop()
        if self._resuming is not None:
            self._resuming.cancel()
        if self._executor_started:
            log.info("running work has up to %g s; a second SIGINT ends it", seconds)
            await asyncio.to_thread(self.executor.drain, seconds)
        await asyncio.to_thread(self._writer.stop)
        if self._fsync_thread is not None:
            await asyncio.to_thread(self._fsync_thread.stop)
            await asyncio.to_thread(self.ends.stop)
        if was_ready:
            self.runs.close()
            await self.ablations.close()
            await self.experiments.runner.close()
        await asyncio.to_thread(self.keys.stop)
        if self._database is not None:
            self._database.close()
        self._locks.close()
        if self.tracer_provider is not None:
            await asyncio.to_thread(self.tracer_provider.shutdown)
        if self.state is not ServerState.FAILED:
            self.state = ServerState.STOPPED
            log.info("stopped")


def _find_failure(workers: list[WorkerStatus]) -> str | None:
    """Return why no worker can do any work until the process starts again."""
    failures = [worker.engine.failure for worker in workers]
    return f"the engine has failed: {failures[0]}" if all(failures) else None
