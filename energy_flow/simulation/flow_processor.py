"""``FlowProcessor``: a model, and the simulation of batches with it: start, step, finish.

What one step computes is in ``step.py``, in the order of docs/simulation.md §3.

Shape legend: B samples, E embedding width.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from energy_flow.choices import Precision
from energy_flow.config.flow_config import FlowConfig
from energy_flow.model.block_plan import BlockPlan
from energy_flow.model.carrier import EnergyCarrier
from energy_flow.model.embedding_mapper import Mapper, build_mappers
from energy_flow.model.networks import Networks
from energy_flow.model.neuron import SimpleNeuron
from energy_flow.runtime.device import product_flags, sum_products_in_float32
from energy_flow.runtime.packed_copy import copy_together
from energy_flow.simulation.cohort import Cohort, CohortRequest
from energy_flow.simulation.cohort_outputs import CohortOutputs, cohort_outputs
from energy_flow.simulation.inputs import (
    check_embeddings,
    check_keys,
    check_outputs,
    check_seed,
)
from energy_flow.simulation.lattice import EnergyLattice
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step import Observer, advance
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.counters import Counters, EventCounts, RunMetrics, SampleMetrics
from energy_flow.telemetry.ledger import StepMetrics
from energy_flow.telemetry.logs import log_end, log_step
from energy_flow.telemetry.memory import MemoryProbe
from energy_flow.telemetry.profile import mean

_PLANS: dict[tuple[Any, ...], tuple[BlockPlan, BlockPlan]] = {}
"""Block heights of the step and of the mappers, by everything that they depend on.

How a library computes a shape does not depend on the weights, so models of one shape share them,
and a shape is tried once in a process.
"""


def digest_weights(weights: Iterable[tuple[str, Tensor]]) -> str:
    """Return the SHA-256 of names, shapes, dtypes and bytes of weights, in hexadecimal.

    Args:
        weights: all tensors of a model with their names, sorted by name.
    """
    digest = hashlib.sha256()
    for name, tensor in weights:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        # Flat, because only a buffer of one axis is read without a copy.
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().data)
    return digest.hexdigest()


class FlowProcessor(nn.Module):
    """The networks of a model and the simulation that uses them.

    A new processor is in evaluation mode and simulates without gradients. After ``train()``, and
    with gradients enabled, energies, weights and tally carry gradients to all parameters.

    Args:
        config: frozen; its model fields fix the shapes, the others are defaults of a run.
        device: for example ``cpu`` or ``cuda:0``; see ``runtime.device.resolve_device``.
        weights: all tensors by name, float32, as in a checkpoint; drawn from ``model_seed`` if
            not given.

    Weights are packed for use once, and again when they change. PyTorch does not notice writes
    through ``parameter.data``; change weights under ``torch.no_grad()`` instead.

    Attributes:
        config: the model's.
        trained: whether the weights come from training; kept in checkpoints.
        keeps_tapes: whether a step that carries gradients keeps what its backward pass needs; if
            not, that is computed again, block by block, which takes less memory and another
            forward pass.
        lattice: the model's.
        input_mapper: from embeddings to energies.
        neuron: reads position and energy.
        carrier: GRU and heads.
        output_mapper: from surfaces to embeddings.
    """

    input_mapper: Mapper
    neuron: SimpleNeuron
    carrier: EnergyCarrier
    output_mapper: Mapper

    def __init__(
        self,
        config: FlowConfig,
        *,
        device: str | torch.device = "cpu",
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.trained = False
        self.keeps_tapes = True
        self.lattice = EnergyLattice(
            config.lattice_width, config.lattice_height, config.lattice_depth
        )
        self._packed: tuple[tuple[Any, ...], Networks] | None = None
        # In a caller's inference mode, PyTorch would not count changes of the weights.
        with torch.inference_mode(False):
            for name, part in _build_parts(config).items():
                self.add_module(name, part)
            if weights is None:
                self._load(self._empty_weights())
                generator = torch.Generator().manual_seed(config.model_seed)
                for part in (self.input_mapper, self.neuron, self.carrier, self.output_mapper):
                    part.init_weights(generator)
            else:
                # One after the other: each may be read from a file now.
                self._load({name: weights[name].detach().clone() for name in weights})
            self.to(device)
        self.eval()

    def __getstate__(self) -> dict[str, Any]:
        # The packed networks have functions. They are packed again when they are needed.
        return {**self.__dict__, "_packed": None}

    @classmethod
    def shapes(cls, config: FlowConfig) -> dict[str, list[int]]:
        """Return names and shapes of all weights of a model; nothing is allocated.

        Raises:
            RuntimeError: a tensor of the model would be too large to exist.
        """
        return {
            f"{part}.{name}": list(tensor.shape)
            for part, module in _build_parts(config).items()
            for name, tensor in module.state_dict().items()
        }

    def train(self, mode: bool = True) -> Self:
        """Switch to training, or back to evaluation.

        Weights are packed again afterwards, because PyTorch does not count the changes that some
        optimisers make, a fused AdamW among them.
        """
        if mode:
            self._packed = None
        return super().train(mode)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.neuron.parameters()).device

    def digest(self) -> str:
        """Return the SHA-256 of names, shapes, dtypes and bytes of all weights, in hexadecimal."""
        return digest_weights(sorted(self.state_dict().items()))

    def mode(self) -> AbstractContextManager[Any]:
        """Return the context to simulate in: inference mode, unless gradients are wanted."""
        if self.training and torch.is_grad_enabled():
            return contextlib.nullcontext()
        return torch.inference_mode()

    def prepare(self) -> None:
        """Pack the weights and try the block heights, so that the first run need not."""
        for _ in self.prepare_in_parts():
            pass

    def prepare_in_parts(self) -> Iterator[None]:
        """Do what ``prepare`` does, in parts of about a tenth of it, and yield in between."""
        with self.mode():
            networks = self._pack(self.config)
        yield from self._try_heights(networks)

    def empty(self, config: FlowConfig | None = None) -> FlowState:
        """Return a pool without samples, in the config's precision."""
        config = config or self.config
        with self.mode():
            networks = self._pack(config)
            step_plan, _ = self._block_plans(networks)
            if not config.batch_invariant:
                step_plan = replace(step_plan, padded=False)
            return FlowState.empty(config, networks, step_plan)

    def add_cohort(
        self,
        state: FlowState,
        embeddings: NDArray[np.float32],
        config: FlowConfig,
        seed: int,
        sample_keys: Sequence[int],
        first_sample: int = 0,
    ) -> FlowState:
        """Return the pool with one more cohort, the last of ``state.cohorts``.

        Args:
            state: the pool; it must not be used again.
            embeddings: float32 [B, E], checked.
            config: of the run; its model and precision are the pool's.
            seed: of the noise.
            sample_keys: of the noise, B numbers.
            first_sample: row of the first sample in the caller's request.
        """
        return self.add_cohorts(
            state, [CohortRequest(embeddings, config, seed, sample_keys, first_sample)]
        )

    def add_cohorts(self, state: FlowState, requests: Sequence[CohortRequest]) -> FlowState:
        """Return the pool with a cohort for each request, in order; faster than one by one."""
        with self.mode():
            rows = [request.embeddings for request in requests]
            (inputs,) = copy_together([torch.tensor(np.concatenate(rows))], self.device)
            _, mapper_plan = self._block_plans(state.networks)
            energy = state.networks.map_embeddings(inputs, mapper_plan)
            return state.with_cohorts(self.lattice, energy, requests)

    def start(
        self,
        embeddings: Any,
        *,
        options: Mapping[str, Any] | None = None,
        seed: int | None = None,
        sample_keys: Sequence[int] | None = None,
    ) -> FlowState:
        """Return a pool with the samples of one batch, before their first step.

        Args:
            embeddings: [B, E] array, tensor or nested list.
            options: run-time config fields, nested or dotted.
            seed: of the noise; by default, and for a deterministic run, the config's.
            sample_keys: one for each sample; by default its row.

        Raises:
            EmbeddingError: embeddings, seed or sample keys are invalid.
            ConfigError: the options are invalid.
        """
        config = self.config.with_options(options or {})
        batch = check_embeddings(embeddings, config.embedding_dim)
        keys = check_keys(sample_keys, len(batch))
        chosen = config.seed if seed is None or config.deterministic else check_seed(seed)
        return self.add_cohort(self.empty(config), batch, config, chosen, keys)

    def step(self, state: FlowState, observe: Observer | None = None) -> FlowState:
        """Return the pool after every active flow has moved once.

        Args:
            state: the pool; it must not be used again.
            observe: is called with the flows and what was decided about them.

        Raises:
            LedgerError: the counters do not balance.
        """
        with self.mode():
            after, report = advance(state, self.lattice, observe)
        after.record_step(report, MemoryProbe.of(self.device).read())
        return after

    def cohort_outputs(
        self, state: FlowState, asked: Mapping[Cohort, Sequence[str]]
    ) -> dict[Cohort, CohortOutputs]:
        """Read the outputs and traces of some cohorts; faster than one by one.

        Args:
            state: the pool that they are in.
            asked: for each cohort, names of ``choices.Output``.
        """
        with self.mode():
            _, mapper_plan = self._block_plans(state.networks)
            return cohort_outputs(state, asked, mapper_plan)

    def finish(
        self, state: FlowState, cohort: Cohort, outputs: Sequence[str] = ("surface",)
    ) -> SimulationResult:
        """Return the result of a cohort, whether or not all its flows have ended.

        Args:
            state: the pool that it is in.
            cohort: one of the pool's.
            outputs: names of ``choices.Output``.

        Raises:
            LedgerError: hits and completed flows differ.
        """
        return self.build_result(
            state, cohort, self.cohort_outputs(state, {cohort: outputs})[cohort]
        )

    def build_result(
        self, state: FlowState, cohort: Cohort, read: CohortOutputs
    ) -> SimulationResult:
        """Return the result of a cohort.

        Args:
            state: the pool that it is in.
            cohort: one of the pool's.
            read: its outputs and trace.

        Raises:
            LedgerError: hits and completed flows differ.
        """
        began = time.perf_counter()
        ledger, profile, trace = cohort.ledger, cohort.profile, read.trace
        if cohort.failure is None:
            ledger.check_hits(read.hits)
        lost = trace.counters.dropped.sum(1) > 0
        samples = tuple(
            SampleMetrics(cohort.first_sample + row, key, ledger.sample(row, bool(lost[row])))
            for row, key in enumerate(cohort.sample_keys)
        )
        run = Counters.of(EventCounts.total([sample.events for sample in samples]))
        log_end(run, cohort.samples)
        summing_ms = 1e3 * (time.perf_counter() - began)
        return SimulationResult(
            outputs=read.outputs,
            trace=trace,
            metrics=RunMetrics(run, mean(profile.step_ms), max(profile.step_ms, default=None)),
            samples=samples,
            steps=tuple(ledger.history),
            memory=cohort.memory.copy(),
            profile=profile.copy(),
            warnings=self._warnings(state, cohort),
            seed=cohort.seed,
            sample_keys=cohort.sample_keys,
            compute_ms=sum(profile.step_ms) + read.read_ms + summing_ms,
        )

    def simulate(
        self,
        embeddings: Any,
        *,
        options: Mapping[str, Any] | None = None,
        seed: int | None = None,
        sample_keys: Sequence[int] | None = None,
        outputs: Sequence[str] = ("surface",),
        on_step: Callable[[StepMetrics], None] | None = None,
    ) -> SimulationResult:
        """Run a batch to its end.

        Args:
            embeddings: [B, E] array, tensor or nested list.
            options: run-time config fields, nested or dotted.
            seed: of the noise; by default, and for a deterministic run, the config's.
            sample_keys: one for each sample; by default its row.
            outputs: names of ``choices.Output``.
            on_step: is called after every step.

        Raises:
            EmbeddingError: embeddings, seed, sample keys or names of outputs are invalid.
            ConfigError: the options are invalid.
            NonFiniteError: the networks gave a flow a number that is not finite.
        """
        names = check_outputs(outputs)
        state = self.start(embeddings, options=options, seed=seed, sample_keys=sample_keys)
        (cohort,) = state.cohorts
        while state.active_flows:
            state = self.step(state)
            if cohort.failure is not None:
                raise cohort.failure
            log_step(cohort.ledger.history[-1])
            if on_step is not None:
                on_step(cohort.ledger.history[-1])
        return self.finish(state, cohort, names)

    def _load(self, weights: Mapping[str, torch.Tensor]) -> None:
        self.load_state_dict(weights, assign=True)
        self.requires_grad_(True)

    def _empty_weights(self) -> dict[str, torch.Tensor]:
        """Return uninitialised weights; ``to_empty`` would import 60 MiB of decompositions."""
        return {
            name: torch.empty(tensor.shape, dtype=tensor.dtype)
            for name, tensor in self.state_dict().items()
        }

    def _warnings(self, state: FlowState, cohort: Cohort) -> tuple[str, ...]:
        warnings = list(cohort.config.warnings())
        if cohort.config.batch_invariant and not state.plan.invariant:
            warnings.append(
                "batch_invariant cannot be kept on this machine: matrix products give a row "
                "different bits at different places of a block"
            )
        return tuple(warnings)

    def _pack(self, config: FlowConfig) -> Networks:
        """Return the packed networks, packed again if a weight has changed or for gradients."""
        sum_products_in_float32(self.device)
        state_dtype = next(self.neuron.parameters()).dtype
        dtype = torch.bfloat16 if config.precision is Precision.BFLOAT16 else state_dtype
        parts = (self.input_mapper, self.neuron, self.carrier, self.output_mapper)
        if not torch.is_inference_mode_enabled():
            return Networks(*parts, dtype, self.keeps_tapes)
        versions = (
            dtype,
            *((weight.data_ptr(), weight.device, weight._version) for weight in self.parameters()),
        )
        if self._packed is None or self._packed[0] != versions:
            # Earlier ones are let go first, so that memory holds one copy at a time.
            self._packed = None
            self._packed = (versions, Networks(*parts, dtype))
        return self._packed[1]

    def _block_plans(self, networks: Networks) -> tuple[BlockPlan, BlockPlan]:
        """Return the block heights of the step and of the mappers."""
        key = _plan_key(networks)
        if key not in _PLANS:
            for _ in self._try_heights(networks):
                pass
        return _PLANS[key]

    def _try_heights(self, networks: Networks) -> Iterator[None]:
        key = _plan_key(networks)
        if key not in _PLANS:
            step = yield from networks.try_step_heights()
            mapper = yield from networks.try_mapper_heights()
            _PLANS[key] = (step, mapper)


def _plan_key(networks: Networks) -> tuple[Any, ...]:
    dtypes = (networks.dtype, networks.state_dtype)
    return (networks.shape, *dtypes, networks.device, *product_flags())


def _build_parts(config: FlowConfig) -> dict[str, nn.Module]:
    """Return the networks without storage, so that no random numbers are drawn."""
    with torch.device("meta"):
        input_mapper, output_mapper = build_mappers(config)
        return {
            "input_mapper": input_mapper.float(),
            "neuron": SimpleNeuron(config).float(),
            "carrier": EnergyCarrier(config).float(),
            "output_mapper": output_mapper.float(),
        }
