"""``ModelMemory``: one limit for the memory of models, of runs and of requests.

Four kinds of things share it: models that are loaded, what pools and jobs have admitted,
reservations for work that has still to take its memory, such as the loading of a model, and what
the program around the engine holds of requests. Where something does not fit, the models are
forgotten that no run uses and that were not used for the longest time. They are loaded again when a
run needs them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import psutil
import torch

from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine.loaded_models import LoadedModels, ModelKey
from energy_flow.errors import CapacityError, MemoryInUse
from energy_flow.runtime.malloc import trim_heap
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.footprint import require_fit
from energy_flow.simulation.model_footprint import CPU, load_bytes, loaded_bytes

WAIT_SECONDS = 1.5
"""Longest wait for memory: for a model that was loaded for a run which has still to use it."""
LOOK_SECONDS = 0.05
"""Longest time between two looks for memory."""
TRIMMED_BYTES = 16 * 2**20
"""Work that takes less memory than this leaves the heap as it is."""

FEWER = "lower max_active_flows, trace.capacity or the lattice, or use the model's own precision"
SMALLER = "lower the width of embeddings, mapper_hidden_dim, the hidden size or the lattice"


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What uses models now.

    Attributes:
        models: ids of the models of runs and jobs that have not ended.
        job_bytes: predicted memory of the jobs.
        waiting_bytes: most memory of one sample of a run that has not ended, without its model.
    """

    models: frozenset[int]
    job_bytes: int
    waiting_bytes: int


@dataclass(eq=False, slots=True)
class Reservation:
    """Memory of work that has still to take it.

    Attributes:
        most_bytes: most memory while the work lasts.
        kept_bytes: memory that is still in use afterwards.
    """

    most_bytes: int
    kept_bytes: int


class ModelMemory:
    """The memory of models and runs; any thread may call the methods.

    Args:
        limit_bytes: largest predicted memory of all of them; no limit if none.
        models: the models.
        lock: held while something enters or is forgotten; the engine's own.
        find_work: returns what uses models now; called with the lock.
        device: whose memory it is.

    Attributes:
        limit_bytes: as given.
        lock: as given.
        pool_bytes: predicted memory of what is in the pools, without the models; set by the pools.
        request_bytes: memory of requests outside of the engine; set by :meth:`hold_requests`.
    """

    def __init__(
        self,
        limit_bytes: int | None,
        models: LoadedModels,
        lock: threading.Condition,
        find_work: Callable[[], ModelUse],
        device: torch.device = CPU,
    ) -> None:
        self._device = device
        self.limit_bytes = limit_bytes
        self.lock = lock
        self.pool_bytes = 0
        self.request_bytes = 0
        self._models = models
        self._find_work = find_work
        self._reservations: list[Reservation] = []
        self._has_untrimmed = False

    @classmethod
    def without_models(cls, limit_bytes: int) -> Self:
        """Return the memory of a host whose models and runs are on an accelerator.

        Args:
            limit_bytes: largest memory of requests.
        """
        use = ModelUse(frozenset(), 0, 0)
        return cls(limit_bytes, LoadedModels(), threading.Condition(), lambda: use)

    @property
    def used_bytes(self) -> int:
        """Memory of the models, and of what is reserved."""
        return self._models.bytes + sum(one.most_bytes for one in self._reservations)

    def find_room(self) -> tuple[int | None, bool]:
        """Return what models and work leave for the pools, and whether some of it will end.

        Returns:
            The bytes, none without a limit; and whether jobs, reservations or requests use any
            memory.
        """
        if self.limit_bytes is None:
            return None, False
        with self.lock:
            job_bytes = self._find_work().job_bytes
            free = max(0, self.limit_bytes - self.used_bytes - self.request_bytes - job_bytes)
            return free, bool(self._reservations or self.request_bytes or job_bytes)

    def available_bytes(self, model: ModelKey | None = None) -> int | None:
        """Return the most that can ever be free for a model and its runs; none without a limit.

        Args:
            model: key of the model; none for a new one.
        """
        if self.limit_bytes is None:
            return None
        return max(0, self.limit_bytes - self._models.permanent_bytes(model))

    def check(self, config: FlowConfig, model: ModelKey | None = None) -> None:
        """Refuse a config of which not even one sample fits beside the models that always stay.

        Args:
            config: config of a model or of a run.
            model: key of the model; none for a new one.

        Raises:
            ConfigError: one sample and its model cannot fit.
        """
        available = self.available_bytes(model)
        if available is not None:
            require_fit(config, available, self._device)

    def check_load(self, config: FlowConfig) -> None:
        """Refuse a model that can never be loaded beside the models that always stay.

        Args:
            config: config of the model.

        Raises:
            CapacityError: it can never fit.
        """
        self._check_available("loading the model", load_bytes(config, device=self._device))

    def check_room(
        self, what: str, processor: FlowProcessor, needed_bytes: int, *, may_wait: bool
    ) -> None:
        """Forget idle models until there is room for work on a model, or refuse the work.

        The caller has the lock, and adds the work before it releases it.

        Args:
            what: the work, for messages.
            processor: model of the work.
            needed_bytes: memory that the work needs, without the model.
            may_wait: whether it waits for what is in the pools now.

        Raises:
            CapacityError: it can never fit.
            MemoryInUse: other work has the memory.
        """
        if self.limit_bytes is None:
            return
        others = self._models.permanent_bytes(processor)
        available = self.limit_bytes - others - loaded_bytes(processor.config)
        if needed_bytes > available:
            raise CapacityError(needed_bytes, max(0, available), what, FEWER)
        missing = self._make_room(
            most_bytes=0 if may_wait else needed_bytes,
            sample_bytes=needed_bytes,
            busy=frozenset({id(processor)}),
        )
        if missing:
            raise MemoryInUse(needed_bytes, max(0, needed_bytes - missing), what)

    def make_room_in_pools(self, pool_bytes: int) -> None:
        """Forget idle models until the pools can have some memory, if that is possible.

        Args:
            pool_bytes: memory that the pools are to have together.
        """
        if self.limit_bytes is None:
            return
        with self.lock:
            while self.used_bytes + self.request_bytes + pool_bytes > self.limit_bytes:
                if not self._models.remove_oldest(self._find_work().models):
                    break
                self._has_untrimmed = True
            was_untrimmed, self._has_untrimmed = self._has_untrimmed, False
        if was_untrimmed:
            trim_heap()

    @contextmanager
    def reserved(self, what: str, most_bytes: int, kept_bytes: int) -> Iterator[None]:
        """Reserve memory for the time of a block, and forget idle models until there is room.

        Args:
            what: what needs it, for messages.
            most_bytes: most memory while the block lasts.
            kept_bytes: memory that is still in use afterwards.

        Raises:
            CapacityError: it can never fit.
            MemoryInUse: runs and their models have the memory.
        """
        reservation = self._wait_for_room(what, most_bytes, kept_bytes)
        is_large = most_bytes >= TRIMMED_BYTES
        if is_large:
            # What runs and forgotten models have let go is still with the process.
            trim_heap()
        try:
            yield
        finally:
            self.release(reservation)
            if is_large:
                trim_heap()

    def reserve(self, needed_bytes: int) -> Reservation | None:
        """Reserve memory until :meth:`release`, or return none if there is no room now.

        Args:
            needed_bytes: memory to reserve.
        """
        with self.lock:
            if self._make_room(most_bytes=needed_bytes, kept_bytes=needed_bytes):
                return None
            reservation = Reservation(needed_bytes, needed_bytes)
            self._reservations.append(reservation)
            return reservation

    def hold_requests(self, total_bytes: int) -> int:
        """Let requests have some memory in place of what they had, if there is room.

        Args:
            total_bytes: memory of all requests that are read, carried out and answered.

        Returns:
            The bytes that are missing; 0 if the requests have the memory now.
        """
        with self.lock:
            more = total_bytes - self.request_bytes
            if more > 0:
                missing = self._make_room(most_bytes=more, kept_bytes=more)
                if missing:
                    return missing
            self.request_bytes = total_bytes
            if more < 0:
                self.lock.notify_all()
            return 0

    def trim(self) -> None:
        """Return free memory to the system if this process has more than half of the limit.

        What ended is still with the process, and in pieces that new work may not be able to use.
        """
        if (
            self.limit_bytes is not None
            and psutil.Process().memory_info().rss > self.limit_bytes // 2
        ):
            trim_heap()

    def release(self, reservation: Reservation) -> None:
        """End a reservation.

        Args:
            reservation: of :meth:`reserve`.
        """
        with self.lock:
            self._reservations.remove(reservation)
            self.lock.notify_all()

    def _wait_for_room(self, what: str, most_bytes: int, kept_bytes: int) -> Reservation:
        self._check_available(what, most_bytes)
        until = time.monotonic() + WAIT_SECONDS
        with self.lock:
            while missing := self._make_room(most_bytes=most_bytes, kept_bytes=kept_bytes):
                seconds = until - time.monotonic()
                if seconds <= 0:
                    raise MemoryInUse(most_bytes, max(0, most_bytes - missing), what)
                self.lock.wait(min(seconds, LOOK_SECONDS))
            reservation = Reservation(most_bytes, kept_bytes)
            self._reservations.append(reservation)
            return reservation

    def _check_available(self, what: str, needed_bytes: int) -> None:
        available = self.available_bytes()
        if available is not None and needed_bytes > available:
            raise CapacityError(needed_bytes, available, what, SMALLER)

    def _make_room(
        self,
        *,
        most_bytes: int = 0,
        kept_bytes: int = 0,
        sample_bytes: int = 0,
        busy: frozenset[int] = frozenset(),
    ) -> int:
        """Forget idle models until there is room, and return the bytes that are still missing.

        Args:
            most_bytes: most memory that new work needs now.
            kept_bytes: what of it is still in use afterwards.
            sample_bytes: memory of one sample of a new run.
            busy: ids of models that stay, besides those that work uses.
        """
        if self.limit_bytes is None:
            return 0
        while True:
            work = self._find_work()
            now = self.used_bytes + self.request_bytes + self.pool_bytes
            now += work.job_bytes + most_bytes
            # Runs that wait enter one sample at a time, if need be, but that must be possible.
            used = work.models | busy
            kept = self._models.lasting_bytes(used)
            kept += self.request_bytes + sum(one.kept_bytes for one in self._reservations)
            later = kept + kept_bytes + max(work.waiting_bytes, sample_bytes)
            missing = later - self.limit_bytes
            # Else it waits for what has memory now.
            if most_bytes:
                missing = max(missing, now - self.limit_bytes)
            if missing <= 0:
                return 0
            if not self._models.remove_oldest(used):
                return missing
            self._has_untrimmed = True
