"""Replay: one sample simulated again, with the whole path of its flows.

A sample's result depends on its config, weights, seed, key and embedding alone, so it can be
simulated again at any time and does, bit for bit, what it did in its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import EmbeddingError, Fault
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules.termination import ACTIVE, Reason, is_tallied
from energy_flow.simulation.step_types import Decisions
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.trace import Trace
from energy_flow.trace.difference import Difference, first_difference

__all__ = ["Difference", "Replay", "Replaying", "first_difference", "reason_name", "replay"]

PATH_DTYPES: Final[Mapping[str, Any]] = {
    "step": np.int32,
    "flow": np.int64,
    "x": np.float32,
    "y": np.float32,
    "z": np.float32,
    "energy": np.float32,
    "length": np.float32,
    "age": np.int32,
}
LIFE_DTYPES: Final[Mapping[str, Any]] = {
    "flow": np.int64,
    "parent": np.int64,
    "born_step": np.int32,
    "end_step": np.int32,
    "reason": np.int8,
    "plane": np.int8,
    "generation": np.int32,
}

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Replay:
    """The paths of a sample's flows.

    Attributes:
        path: a row a flow and step, sorted by (step, flow): where the flow is after the step (at
            its plane, if it ended there), e', the step's length and its age. A flow's first row
            is where it starts: step -1 for an initial flow, the step of its birth for a child,
            with length 0 and age 0.
        lives: a row a flow, sorted by flow id: ``parent`` (-1 for an initial flow),
            ``born_step`` (-1 likewise), ``end_step`` and ``reason`` (its code), ``plane`` (-1 if
            not tallied), ``generation`` (0 for an initial flow).
        trace: the records of the sample's ring.
    """

    path: Columns
    lives: Columns
    trace: Trace

    def lineage(self, flow: int) -> Replay:
        """The flow with its ancestors and descendants alone.

        Raises:
            EmbeddingError: when the sample has no such flow.
        """
        parents: NDArray[np.int64] = self.lives["parent"]
        if not 0 <= flow < len(parents):
            raise EmbeddingError(
                Fault(("flow",), f"the sample's flows are 0 to {len(parents) - 1}", flow)
            )
        kin = np.zeros(len(parents), dtype=bool)
        above = flow
        while above >= 0:
            kin[above] = True
            above = int(parents[above])
        below = np.zeros(len(parents), dtype=bool)
        below[flow] = True
        # A parent's id is smaller than its children's, so one pass by generation settles all.
        for generation in range(1, int(self.lives["generation"].max(initial=0)) + 1):
            rows = np.flatnonzero(self.lives["generation"] == generation)
            below[rows] |= below[parents[rows]]
        kin |= below
        return Replay(
            {name: column[kin[self.path["flow"]]] for name, column in self.path.items()},
            {name: column[kin] for name, column in self.lives.items()},
            self.trace,
        )


@dataclass(slots=True)
class _Recorder:
    """Collects the rows of every step; what it is shown is still on the device."""

    path: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    ended: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    def started(self, state: FlowState) -> None:
        flows = state.flows
        self._add(-1, flows.flow_id, flows.position, flows.energy, 0.0, 0)

    def observe(self, state: FlowState, decided: Decisions) -> None:
        step = int(state.progress.step[0])
        outcome = decided.outcome
        tallied = is_tallied(outcome)
        position = decided.walls.position.clone()
        position[:, 2] = (2 * decided.plane - 1).to(position.dtype).where(tallied, position[:, 2])
        flow = state.flows.flow_id
        energy = decided.proposals.energy
        self._add(step, flow, position, energy, decided.motion.length, decided.age)
        over = outcome != ACTIVE
        self.ended.append(
            {
                "flow": flow[over].cpu().numpy(),
                "end_step": np.full(int(over.sum()), step),
                "reason": outcome[over].cpu().numpy(),
                "plane": decided.plane.where(tallied, -1)[over].cpu().numpy(),
            }
        )
        parents = decided.granted.nonzero().squeeze(1)
        parents = parents.repeat_interleave(decided.granted[parents])
        first = int(state.progress.created[0])
        children = np.arange(first, first + len(parents))
        born = state.flows.position[parents]
        self._add(step, children, born, energy[parents], 0.0, 0, state.flows.flow_id[parents])

    def _add(
        self,
        step: int,
        flow: Any,
        position: Any,
        energy: Any,
        length: Any,
        age: Any,
        parent: Any = None,
    ) -> None:
        count = len(flow)
        xyz = position.cpu().numpy()
        values = {
            "step": step,
            "flow": flow,
            "x": xyz[:, 0],
            "y": xyz[:, 1],
            "z": xyz[:, 2],
            "energy": energy,
            "length": length,
            "age": age,
            "parent": -1 if parent is None else parent,
        }
        self.path.append(
            {name: np.broadcast_to(_host(value), count) for name, value in values.items()}
        )


class Replaying:
    """A replay under way, a step at a time, so that others can have their turns between.

    Args:
        embedding: float32 [E]. config: of the run. seed, sample_key: of its noise.
        sample: its row in the run, for the trace.
    """

    def __init__(
        self,
        processor: FlowProcessor,
        embedding: NDArray[np.float32],
        config: FlowConfig,
        seed: int,
        sample_key: int,
        sample: int = 0,
    ) -> None:
        self._processor = processor
        self._recorder = _Recorder()
        self._state = processor.enter(
            processor.empty(config), embedding[None], config, seed, (sample_key,), sample
        )
        (self._cohort,) = self._state.cohorts
        self._recorder.started(self._state)

    def step(self) -> bool:
        """Moves the flows that are active; false when there are none left.

        Raises:
            NonFiniteError: as the run did.
        """
        if self._state.active_flows:
            self._state = self._processor.step(self._state, self._recorder.observe)
            if self._cohort.failure is not None:
                raise self._cohort.failure
        return self._state.active_flows > 0

    def result(self) -> SimulationResult:
        """Trace and counters of the sample so far."""
        return self._processor.finish(self._state, self._cohort, ())

    def assembled(self, trace: Trace) -> Replay:
        """The paths so far, with the trace of :meth:`result`; nothing here touches the device."""
        return _assembled(self._recorder, trace)


def replay(
    processor: FlowProcessor,
    embedding: NDArray[np.float32],
    config: FlowConfig,
    seed: int,
    sample_key: int,
    sample: int = 0,
) -> Replay:
    """Simulates one sample again, to its end; arguments and errors are those of Replaying."""
    replaying = Replaying(processor, embedding, config, seed, sample_key, sample)
    while replaying.step():
        pass
    return replaying.assembled(replaying.result().trace)


def _assembled(recorder: _Recorder, trace: Trace) -> Replay:
    rows = {
        name: np.concatenate([part[name] for part in recorder.path]) for name in recorder.path[0]
    }
    order = np.lexsort((rows["flow"], rows["step"]))
    path = {name: rows[name][order].astype(dtype) for name, dtype in PATH_DTYPES.items()}
    starts = order[rows["age"][order] == 0]
    starts = starts[np.argsort(rows["flow"][starts], kind="stable")]
    parent = rows["parent"][starts].astype(np.int64)
    generation = np.zeros(len(parent), dtype=np.int32)
    above = parent
    while (above >= 0).any():
        generation += above >= 0
        above = np.where(above >= 0, parent[above], -1)
    lives: dict[str, NDArray[Any]] = {
        "flow": rows["flow"][starts],
        "parent": parent,
        "born_step": rows["step"][starts],
        "generation": generation,
    }
    for name in ("end_step", "reason", "plane"):
        column = np.full(len(parent), -1, dtype=np.int64)
        for part in recorder.ended:
            column[part["flow"]] = part[name]
        lives[name] = column
    return Replay(
        path, {name: lives[name].astype(dtype) for name, dtype in LIFE_DTYPES.items()}, trace
    )


def reason_name(code: int) -> str | None:
    """Name of a reason, or nothing for a flow that has not ended."""
    return Reason(code).name.lower() if code >= 0 else None


def _host(value: Any) -> Any:
    return value.cpu().numpy() if hasattr(value, "cpu") else value
