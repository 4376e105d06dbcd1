"""``GradientMode``: what a run keeps for its backward pass. A new mode is a class and a table line.

The forward pass is the same in all modes, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import Field

from energy_flow.choices import BackPropagationMode
from energy_flow.config.flow_config import PositiveInt
from energy_flow.config.validation import Group

if TYPE_CHECKING:
    from energy_flow.simulation.flow_processor import FlowProcessor
    from energy_flow.simulation.pool import FlowState
    from energy_flow.simulation.step import Observer
    from energy_flow.telemetry.ledger import StepReport


class BackPropagationConfig(Group):
    """How gradients go back through the steps of a run."""

    mode: BackPropagationMode = Field(
        BackPropagationMode.FULL, description="what a run keeps for its gradients"
    )
    steps: PositiveInt | None = Field(
        None, description="steps of a run after which gradients are cut; for truncated alone"
    )


@dataclass(frozen=True, slots=True)
class FlowBytes:
    """Bytes that the graph of a step keeps of one flow.

    Attributes:
        state: its hidden state.
        rules: what the rules need.
        activations: what the networks have computed on the way.
    """

    state: int
    rules: int
    activations: int


class GradientMode(Protocol):
    """What a run keeps for its backward pass.

    Attributes:
        keeps_tapes: whether the backward pass finds what the networks have computed; else it
            is computed again, a block at a time.
        takes_steps: whether ``back_propagation.steps`` belongs to the mode.
    """

    keeps_tapes: ClassVar[bool]
    takes_steps: ClassVar[bool]

    def advance(
        self, processor: FlowProcessor, state: FlowState, steps: int, observe: Observer | None
    ) -> FlowState:
        """Return the state after at least one step; ``state`` must not be used again.

        Args:
            processor: the model, in training.
            state: flows of one batch, of which some are active.
            steps: value of ``back_propagation.steps``; 1 for modes that do not take it.
            observe: called once for every step.
        """
        ...

    def graph_bytes(self, flows: Sequence[int], kept: FlowBytes, steps: int) -> int:
        """Return what the graph of a run keeps, in bytes.

        Args:
            flows: number of flows at each step of the run.
            kept: bytes of one flow.
            steps: value of ``back_propagation.steps``; 1 for modes that do not take it.
        """
        ...


class FullMode:
    """The graph keeps everything."""

    keeps_tapes: ClassVar[bool] = True
    takes_steps: ClassVar[bool] = False

    def advance(
        self, processor: FlowProcessor, state: FlowState, steps: int, observe: Observer | None
    ) -> FlowState:
        """Do one step."""
        return processor.step(state, observe)

    def graph_bytes(self, flows: Sequence[int], kept: FlowBytes, steps: int) -> int:
        """Return what the graph keeps of all flows, in bytes."""
        return sum(flows) * (kept.state + kept.rules + kept.activations)


class CheckpointedMode(FullMode):
    """The backward pass computes the networks again, a block at a time; gradients are the same."""

    keeps_tapes: ClassVar[bool] = False

    def graph_bytes(self, flows: Sequence[int], kept: FlowBytes, steps: int) -> int:
        """Return what the graph keeps of all flows, in bytes."""
        return sum(flows) * (kept.state + kept.rules)


class TruncatedMode:
    """The graph keeps the state before every window of steps, where gradients of flows end.

    Gradients of positions, energies and hidden states go back to the beginning of a window, and
    those of the tally through all windows. The backward pass does the steps of a window again.
    """

    keeps_tapes: ClassVar[bool] = True
    takes_steps: ClassVar[bool] = True

    def advance(
        self, processor: FlowProcessor, state: FlowState, steps: int, observe: Observer | None
    ) -> FlowState:
        """Do the steps of one window."""
        # Here: a config is checked without torch.
        from torch.utils.checkpoint import checkpoint

        from energy_flow.simulation.step import advance
        from energy_flow.telemetry.memory import MemoryProbe

        (cohort,) = state.cohorts
        # Before the first step there is only the input mapper, to which gradients do go back.
        begun = _detach_flows(state) if cohort.ledger.history else state
        reports: list[StepReport] = []
        is_first_pass = True

        def window(current: FlowState) -> FlowState:
            for _ in range(steps):
                if not current.active_flows:
                    break
                watching = observe if is_first_pass else None
                current, report = advance(current, processor.lattice, watching)
                if is_first_pass:
                    reports.append(report)
            return current

        after: FlowState = checkpoint(window, begun, use_reentrant=False, preserve_rng_state=False)
        is_first_pass = False
        reading = MemoryProbe.of(processor.device).read()
        for report in reports:
            after.record_step(report, reading)
        return after

    def graph_bytes(self, flows: Sequence[int], kept: FlowBytes, steps: int) -> int:
        """Return what the graph keeps of all windows, and of the largest one, in bytes."""
        from energy_flow.simulation.footprint import FLOW_BYTES

        windows = [flows[first : first + steps] for first in range(0, len(flows), steps)]
        states = sum(window[0] for window in windows) * (kept.state + FLOW_BYTES)
        return states + max(map(sum, windows)) * (kept.state + kept.rules + kept.activations)


GRADIENT_MODES: Mapping[BackPropagationMode, GradientMode] = MappingProxyType(
    {
        BackPropagationMode.FULL: FullMode(),
        BackPropagationMode.CHECKPOINTED: CheckpointedMode(),
        BackPropagationMode.TRUNCATED: TruncatedMode(),
    }
)


def _detach_flows(state: FlowState) -> FlowState:
    """Return the state with flows that are constants; the tally keeps its gradients."""
    flows = replace(
        state.flows, position=state.flows.position.detach(), energy=state.flows.energy.detach()
    )
    rows = tuple(tensor.detach() for tensor in state.hidden.rows)
    return replace(state, flows=flows, hidden=replace(state.hidden, rows=rows, spare=()))
