"""``Ablations``: the ablations of a server, which it keeps until it stops."""

from __future__ import annotations

import asyncio
import logging
import uuid
from concurrent.futures import Future
from typing import Final

from energy_flow.ablation import AblationMeasurements
from energy_flow.engine import AblationWork, Executor
from energy_flow.engine.loaded_models import ModelKey, model_key
from energy_flow.errors import EnergyFlowError, EngineUnavailable, MemoryInUse, ModelNotLoaded
from energy_flow.training.data import Pairs
from service.ablations.active_ablation import ActiveAblation
from service.ablations.plan import AblationPlan
from service.models.model import Model
from service.models.registry import ModelRegistry
from service.problems import Problem, not_found, problem_of, unavailable
from service.store.datasets import DatasetRegistry
from service.store.id_prefix import choose_id, is_prefix

log = logging.getLogger(__name__)

MAX_RUNNING: Final = 2
"""Ablations that run at the same time; others are queued."""
MAX_KEPT: Final = 100
"""Ablations that are kept, the newest ones."""
RETRY_SECONDS: Final = 10
"""When a request may be sent again after too many ablations that have not ended."""


class Ablations:
    """Ablations by id. Its methods belong to the event loop.

    They are kept in memory: the same request gives the same result again.

    Args:
        executor: Carries them out.
        models: Models that are measured.
        datasets: Datasets with the rows.
    """

    def __init__(
        self, executor: Executor, models: ModelRegistry, datasets: DatasetRegistry
    ) -> None:
        self._executor = executor
        self._models = models
        self._datasets = datasets
        self._kept: dict[str, ActiveAblation] = {}
        self._count = 0
        self._turns = asyncio.Semaphore(MAX_RUNNING)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, plan: AblationPlan) -> ActiveAblation:
        """Queue an ablation.

        Args:
            plan: The checked request.

        Raises:
            CapacityError: The model does not fit in memory.
            ConfigError: One row does not fit in memory.
            Problem: 429, too many ablations have not ended.
        """
        model = plan.model
        self._executor.check(plan.config, 1, model=model.digest, base=model.config)
        self._make_room()
        self._count += 1
        ablation = ActiveAblation(uuid.uuid4().hex, self._count, plan)
        self._kept[ablation.ablation_id] = ablation
        ablation.task = asyncio.create_task(self._carry_out(ablation))
        self._tasks.add(ablation.task)
        ablation.task.add_done_callback(self._tasks.discard)
        return ablation

    def find(self, model: str, ablation_id: str) -> ActiveAblation:
        """Return an ablation, also if its model was deleted.

        Args:
            model: Name of its model.
            ablation_id: Its id, or the beginning of it.

        Raises:
            Problem: 404; 409, several ids begin with it.
        """
        own = {one.ablation_id: one for one in self._kept.values() if one.plan.model.name == model}
        found: str | None = ablation_id
        if is_prefix(ablation_id):
            ids = sorted(one for one in own if one.startswith(ablation_id))
            found = choose_id("ablation", ablation_id, ids)
        ablation = None if found is None else own.get(found)
        if ablation is None:
            raise not_found(f"ablation {ablation_id!r} of the model {model!r}")
        return ablation

    def newest_first(self, model: Model) -> list[ActiveAblation]:
        """Return the ablations of a model, newest first.

        Those of an earlier model of the same name, with other weights, are left out.

        Args:
            model: The model.
        """
        own = _identify(model)
        return [one for one in reversed(self._kept.values()) if _identify(one.plan.model) == own]

    def remove(self, ablation: ActiveAblation) -> None:
        """Forget an ablation that has ended.

        Args:
            ablation: The ablation.
        """
        self._kept.pop(ablation.ablation_id, None)

    async def close(self) -> None:
        """End all ablations that have not ended, once the executor has stopped."""
        for ablation in self._kept.values():
            if not ablation.is_ended:
                ablation.abandon(_server_stopped())
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_room(self) -> None:
        """Forget the oldest ablation that has ended if too many are kept."""
        if len(self._kept) < MAX_KEPT:
            return
        oldest = next((one for one in self._kept.values() if one.is_ended), None)
        if oldest is None:
            raise Problem(
                429,
                f"{MAX_KEPT} ablations have not ended; cancel one, or try again later",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        self.remove(oldest)

    async def _carry_out(self, ablation: ActiveAblation) -> None:
        try:
            async with self._turns:
                ablation.start()
                measured = await self._measure(ablation)
                # The device is not used any more, but this takes long for many rows.
                result = await asyncio.to_thread(measured.result, ablation.stopping.is_set)
            ablation.succeed(result.to_dict())
        except EngineUnavailable:
            ablation.fail(_server_stopped())
        except (EnergyFlowError, Problem) as error:
            ablation.fail(problem_of(error))
        except Exception as error:
            log.exception("ablation %s failed", ablation.ablation_id)
            ablation.fail(problem_of(error))

    async def _measure(self, ablation: ActiveAblation) -> AblationMeasurements:
        plan = ablation.plan
        pairs = await asyncio.to_thread(self._read_pairs, plan)
        work = AblationWork(plan.model.digest, plan.config, pairs, plan.fields.resamples)
        return await asyncio.wrap_future(await self._submit(work, ablation))

    def _read_pairs(self, plan: AblationPlan) -> Pairs:
        try:
            rows = self._datasets.rows(plan.dataset.content.digest)
            with rows.files.file(rows.digest).open() as file:
                return Pairs.read(file, plan.rows)
        except (Problem, FileNotFoundError):
            if not self._datasets.has(plan.dataset.content.digest):
                raise not_found(f"dataset {plan.dataset.name!r} any more; it was deleted") from None
            raise

    async def _submit(
        self, work: AblationWork, ablation: ActiveAblation
    ) -> Future[AblationMeasurements]:
        while True:
            try:
                try:
                    return self._executor.ablate(work, ablation)
                except ModelNotLoaded:
                    # Unloaded since the request was checked.
                    await self._models.reload(ablation.plan.model)
            except MemoryInUse as error:
                await asyncio.sleep(error.retry_after_seconds)


def _identify(model: Model) -> tuple[str, ModelKey]:
    """Return what no other model has: a name, and the key of its networks."""
    return model.name, model_key(model.digest, model.config)


def _server_stopped() -> Problem:
    return unavailable("the server stopped before the ablation ended; start it again")
