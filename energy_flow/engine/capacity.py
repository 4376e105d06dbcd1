"""``Capacity``: which chunks may enter the pools of a device next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

import torch

from energy_flow.choices import Precision
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine.schedule import Chunk
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.model_footprint import CPU

POOL_FLOWS = {"cpu": 32_768, "cuda": 1_048_576}
"""Active flows up to which the pools of a device admit chunks."""
CHUNKS_OF_POOL = 4
"""Number of chunks into which a run that would fill the pool is split."""

PackedKey = tuple[int, Precision]
"""Id of a model, and the precision that its weights are packed for."""


def pool_flows(device: str) -> int:
    """Return the number of active flows up to which the pools of a device admit chunks.

    Args:
        device: type of the device, such as ``cpu``.
    """
    return POOL_FLOWS.get(device, POOL_FLOWS["cpu"])


def chunk_samples(
    config: FlowConfig,
    max_flows: int,
    limit_bytes: int | None,
    device: torch.device = CPU,
    host_limit_bytes: int | None = None,
) -> int:
    """Return how many samples a chunk of a large run has: at least one, at most what fits.

    Args:
        config: config of the run.
        max_flows: active flows up to which the pools admit chunks.
        limit_bytes: largest predicted memory of the pools, without the models; no limit if none.
        device: where the pools are.
        host_limit_bytes: as of :class:`Capacity`.
    """
    samples = max_flows // CHUNKS_OF_POOL // config.surface_cells
    one = footprint(config, 1, device=device)
    if limit_bytes is not None:
        samples = min(samples, (limit_bytes - one.workspace) // one.samples)
    if host_limit_bytes is not None and one.host:
        samples = min(samples, host_limit_bytes // one.host)
    return max(1, samples)


class Admission(Enum):
    """What happens to the next chunk of a run, and to the runs behind it."""

    ENTERS = auto()
    """The chunk enters."""
    WAITS = auto()
    """The chunk waits; runs behind it may enter."""
    BLOCKS = auto()
    """The chunk waits, and so do all runs behind it."""


@dataclass(slots=True)
class Capacity:
    """What the pools of a device hold, and what else may enter.

    The last quarter of ``max_flows`` is reserved for complete runs: the chunks of a run that is
    split do not use it, so that small runs can enter while large ones are simulated. When a part of
    a run waits for no other reason, complete runs still enter, and only into the reserve. They then
    never occupy the room that the waiting part needs.

    Attributes:
        max_flows: active flows up to which chunks are admitted.
        limit_bytes: largest predicted memory, without the models; no limit if none.
        host_limit_bytes: largest predicted memory of the host, where that is another one than the
            device's; no limit if none.
        may_exceed: whether a chunk enters empty pools also where it does not fit, because nothing
            will let memory go.
        flows: active flows, and initial flows of the chunks that enter now.
        complete_flows: those of them that belong to complete runs.
        bytes: predicted bytes of the samples.
        host_bytes: predicted bytes of the samples on the host.
        workspace: predicted bytes of the temporary blocks of one pool.
        packed: predicted bytes of weights that are packed for other precisions than the model's.
        is_exclusive: whether the pools hold a chunk that needs them for itself.
        part_is_waiting: whether a part of a run waits because the reserve is not for it.
    """

    max_flows: int
    limit_bytes: int | None
    host_limit_bytes: int | None = None
    may_exceed: bool = True
    flows: int = 0
    complete_flows: int = 0
    bytes: int = 0
    host_bytes: int = 0
    workspace: int = 0
    packed: dict[PackedKey, int] = field(default_factory=dict)
    is_exclusive: bool = False
    part_is_waiting: bool = False

    @classmethod
    def beside(
        cls,
        active_flows: Mapping[Chunk, int],
        max_flows: int,
        limit_bytes: int | None,
        host_limit_bytes: int | None = None,
    ) -> Capacity:
        """Return the capacity of pools that hold some chunks.

        Args:
            active_flows: number of active flows of each chunk in the pools.
            max_flows: active flows up to which the pools admit chunks.
            limit_bytes: largest predicted memory, without the models; no limit if none.
            host_limit_bytes: as of the class.
        """
        capacity = cls(max_flows, limit_bytes, host_limit_bytes)
        for chunk, flows in active_flows.items():
            capacity.reserve(chunk, flows)
        return capacity

    def admit(self, chunk: Chunk) -> Admission:
        """Return whether a chunk may enter now; call it for the runs in their order.

        Args:
            chunk: next chunk of the run whose turn it is.
        """
        if self._has_room_for(chunk):
            return Admission.ENTERS
        if chunk.run.in_flight:
            # The run has had its turn.
            return Admission.WAITS
        if self._only_lacks_reserve(chunk):
            self.part_is_waiting = True
            return Admission.WAITS
        return Admission.BLOCKS

    def reserve(self, chunk: Chunk, flows: int) -> None:
        """Count a chunk as one of those in the pools.

        Args:
            chunk: samples that enter, or have entered.
            flows: number of their flows.
        """
        self.flows += flows
        if not chunk.is_partial:
            self.complete_flows += flows
        self.bytes += chunk.bytes
        self.host_bytes += chunk.host_bytes
        self.workspace = max(self.workspace, chunk.run.workspace_bytes)
        self.packed[_packed_key(chunk)] = chunk.run.packed_bytes
        self.is_exclusive = self.is_exclusive or chunk.exclusive

    @property
    def total(self) -> int:
        """Predicted bytes of all, without the models."""
        return self.bytes + self.workspace + sum(self.packed.values())

    def total_with(self, chunk: Chunk) -> int:
        """Return what :attr:`total` will be with one more chunk.

        Args:
            chunk: samples that may enter.
        """
        run = chunk.run
        workspace = max(self.workspace, run.workspace_bytes)
        packed = self.packed | {_packed_key(chunk): run.packed_bytes}
        return self.bytes + chunk.bytes + workspace + sum(packed.values())

    @property
    def _reserved_flows(self) -> int:
        return self.max_flows // CHUNKS_OF_POOL

    @property
    def _max_flows_of_parts(self) -> int:
        return self.max_flows - self._reserved_flows

    def _has_room_for(self, chunk: Chunk) -> bool:
        if self.is_exclusive:
            return False
        if not self.flows:
            return self.may_exceed or self._has_memory_for(chunk)
        if chunk.exclusive or not self._has_memory_for(chunk):
            return False
        if chunk.is_partial:
            # In the order of submission: no part passes another one that waits.
            is_next = not self.part_is_waiting
            return is_next and self.flows + chunk.flows <= self._max_flows_of_parts
        if self.part_is_waiting and self.complete_flows + chunk.flows > self._reserved_flows:
            return False
        return self.flows + chunk.flows <= self.max_flows

    def _has_memory_for(self, chunk: Chunk) -> bool:
        on_host = self.host_bytes + chunk.host_bytes
        if self.host_limit_bytes is not None and on_host > self.host_limit_bytes:
            return False
        if self.limit_bytes is None:
            return True
        return self.total_with(chunk) <= self.limit_bytes

    def _only_lacks_reserve(self, chunk: Chunk) -> bool:
        """Whether a part of a run waits for other parts to end, whatever is in the reserve."""
        fits_beside_reserve = self._reserved_flows + chunk.flows <= self._max_flows_of_parts
        may_share = chunk.is_partial and not chunk.exclusive and not self.is_exclusive
        return may_share and fits_beside_reserve and self._has_memory_for(chunk)


def _packed_key(chunk: Chunk) -> PackedKey:
    run = chunk.run
    return id(run.processor), run.request.config.precision
