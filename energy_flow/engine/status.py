"""``EngineStatus`` and ``WorkerStatus``: what engines are, and what they are doing."""

from __future__ import annotations

from dataclasses import dataclass

from energy_flow.choices import EngineState


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the engine is doing.

    Attributes:
        state: state of the thread.
        heartbeat_age_seconds: time since the thread last started a round of its loop.
        queued_runs: number of runs that have not started.
        queued_flow_steps: upper bound of their flow-steps.
        active_runs: number of runs in the pools.
        active_samples: number of samples in the pools.
        active_flows: number of flows in the pools.
        pool_flows: active flows up to which pools admit samples.
        admitted_bytes: predicted memory of what is in the pools, with the rings, without the
            weights.
        admitted_flow_steps: upper bound of the flow-steps of the runs that have started.
        flow_steps: number of flow-steps done since the start.
        flow_steps_per_second: running mean; none before the first step.
        out_of_memory_splits: how many times the device ran out of memory and the work was split.
        failure: why the engine can do no work until the process starts again; none if it can.
    """

    state: EngineState
    heartbeat_age_seconds: float
    queued_runs: int
    queued_flow_steps: int
    active_runs: int
    active_samples: int
    active_flows: int
    pool_flows: int
    admitted_bytes: int
    admitted_flow_steps: int
    flow_steps: int
    flow_steps_per_second: float | None
    out_of_memory_splits: int
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """The memory of a worker.

    Attributes:
        limit_bytes: largest predicted memory of models, runs and other work; none without a limit.
        models_bytes: predicted memory of its models, and of work that loads or trains others.
    """

    limit_bytes: int | None
    models_bytes: int


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker: an engine on one device.

    Attributes:
        name: its name, unique among the workers of an executor.
        host: name of its machine.
        pid: id of its process.
        device: its device, such as ``cpu`` or ``cuda:0``.
        kind: what decides the bits of its results; results of equal kinds have equal bits.
        threads: threads that compute at once.
        models: digests of the models that it has loaded.
        memory: its memory.
        engine: what it is doing.
    """

    name: str
    host: str
    pid: int
    device: str
    kind: str
    threads: int
    models: tuple[str, ...]
    memory: WorkerMemory
    engine: EngineStatus
