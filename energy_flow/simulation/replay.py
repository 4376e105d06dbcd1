"""``Replay``: one sample simulated again, with the complete paths of its flows.

A sample's result depends only on its config, weights, seed, key and embedding. So it can be
simulated again at any time, with the same bits as in its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import ACTIVE
from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import EmbeddingError, Fault
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules.termination import is_tallied
from energy_flow.simulation.step_types import Decisions
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.trace import Trace
from energy_flow.trace.records import REASONS

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
        path: columns with a row for each flow and step, sorted by (step, flow): where the flow is
            after the step (at its plane, if it ended there), e', the step's length and its age. A
            flow's first row is where it starts: step -1 for an initial flow, the step of its birth
            for a child, with length 0 and age 0.
        lives: columns with a row for each flow, sorted by flow id: ``parent`` (-1 for an initial
            flow), ``born_step`` (-1 likewise), ``end_step`` and ``reason`` (its code), ``plane``
            (-1 if not tallied), ``generation`` (0 for an initial flow).
        trace: the records of the sample's ring.
    """

    path: Columns
    lives: Columns
    trace: Trace

    def lineage(self, flow: int) -> Replay:
        """Return the paths of a flow, its ancestors and its descendants alone.

        Args:
            flow: its id.

        Raises:
            EmbeddingError: the sample has no such flow.
        """
        parents: NDArray[np.int64] = self.lives["parent"]
        if not 0 <= flow < len(parents):
            raise EmbeddingError(
                Fault(("flow",), f"the sample's flows are 0 to {len(parents) - 1}", flow)
            )
        related = np.zeros(len(parents), dtype=bool)
        ancestor = flow
        while ancestor >= 0:
            related[ancestor] = True
            ancestor = int(parents[ancestor])
        below = np.zeros(len(parents), dtype=bool)
        below[flow] = True
        # Generation by generation, so that a parent is marked before its children.
        for generation in range(1, int(self.lives["generation"].max(initial=0)) + 1):
            rows = np.flatnonzero(self.lives["generation"] == generation)
            below[rows] |= below[parents[rows]]
        related |= below
        return Replay(
            {name: column[related[self.path["flow"]]] for name, column in self.path.items()},
            {name: column[related] for name, column in self.lives.items()},
            self.trace,
        )


@dataclass(slots=True)
class PathRecorder:
    """Rows of every step, copied to the host; it can be pickled."""

    path: list[dict[str, NDArray[Any]]] = field(default_factory=list)
    ended: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    def record_start(self, state: FlowState) -> None:
        """Record where the initial flows start."""
        flows = state.flows
        self._add(-1, flows.flow_id, flows.position, flows.energy, 0.0, 0)

    def observe(self, state: FlowState, decided: Decisions) -> None:
        """Record a step.

        Args:
            state: before the step.
            decided: what the step decides.
        """
        step = int(state.progress.step[0])
        endings, spawns = decided.endings, decided.spawns
        outcome = endings.outcome
        tallied = is_tallied(outcome)
        position = decided.walls.position.clone()
        position[:, 2] = (2 * endings.plane - 1).to(position.dtype).where(tallied, position[:, 2])
        flow = state.flows.flow_id
        energy = decided.proposals.energy
        self._add(step, flow, position, energy, decided.motion.length, decided.paths.age)
        has_ended = outcome != ACTIVE
        self.ended.append(
            {
                "flow": flow[has_ended].cpu().numpy(),
                "end_step": np.full(int(has_ended.sum()), step),
                "reason": outcome[has_ended].cpu().numpy(),
                "plane": endings.plane.where(tallied, -1)[has_ended].cpu().numpy(),
            }
        )
        parents = spawns.granted.nonzero().squeeze(1)
        parents = parents.repeat_interleave(spawns.granted[parents])
        first = int(state.progress.created[0])
        children = np.arange(first, first + len(parents))
        born = state.flows.position[parents]
        self._add(step, children, born, energy[parents], 0.0, 0, state.flows.flow_id[parents])

    def assemble(self, trace: Trace) -> Replay:
        """Return the paths so far; takes long for many flows.

        Args:
            trace: records of the sample's ring.
        """
        return _assemble(self, trace)

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


class ReplayRun:
    """A replay in progress. It advances one step a call, so that other work can run in between.

    Args:
        processor: the model.
        embedding: float32 [E].
        config: of the run.
        seed: of the run's noise.
        sample_key: of the sample's noise.
        sample: its row in the run, for the trace.

    Attributes:
        recorder: the paths so far.
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
        self.recorder = PathRecorder()
        self._state = processor.add_cohort(
            processor.empty(config), embedding[None], config, seed, (sample_key,), sample
        )
        (self._cohort,) = self._state.cohorts
        self.recorder.record_start(self._state)

    def step(self) -> bool:
        """Move the active flows once, and return whether any are left.

        Raises:
            NonFiniteError: the networks gave a flow a number that is not finite, as in the run.
        """
        if self._state.active_flows:
            self._state = self._processor.step(self._state, self.recorder.observe)
            if self._cohort.failure is not None:
                raise self._cohort.failure
        return self._state.active_flows > 0

    def result(self) -> SimulationResult:
        """Return trace and counters of the sample so far."""
        return self._processor.finish(self._state, self._cohort, ())


def replay(
    processor: FlowProcessor,
    embedding: NDArray[np.float32],
    config: FlowConfig,
    seed: int,
    sample_key: int,
    sample: int = 0,
) -> Replay:
    """Simulate one sample again, to its end.

    Args:
        processor: the model.
        embedding: float32 [E].
        config: of the run.
        seed: of the run's noise.
        sample_key: of the sample's noise.
        sample: its row in the run, for the trace.

    Raises:
        NonFiniteError: the networks gave a flow a number that is not finite, as in the run.
    """
    run = ReplayRun(processor, embedding, config, seed, sample_key, sample)
    while run.step():
        pass
    return run.recorder.assemble(run.result().trace)


def _assemble(recorder: PathRecorder, trace: Trace) -> Replay:
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
    """Return the name of a reason, or None for a flow that has not ended."""
    return REASONS[code] if code >= 0 else None


def _host(value: Any) -> Any:
    return value.cpu().numpy() if hasattr(value, "cpu") else value
