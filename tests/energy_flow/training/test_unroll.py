"""Gradient modes: memory of the graph, and gradients that differ only where they are cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow import FlowProcessor
from energy_flow.choices import BackPropagationMode
from energy_flow.training.gradient_modes import BackPropagationConfig
from energy_flow.training.unroll import Unrolled, unroll
from tests.reference.cases import random_weights
from tests.support.small_model import LIVELY, embeddings, small_config, with_weights

SAMPLES = 3
FULL = BackPropagationConfig()
CHECKPOINTED = BackPropagationConfig(mode=BackPropagationMode.CHECKPOINTED)


def truncated(steps: int) -> BackPropagationConfig:
    return BackPropagationConfig(mode=BackPropagationMode.TRUNCATED, steps=steps)


def model() -> FlowProcessor:
    config = small_config()
    return with_weights(config, random_weights(config.to_dict(), seed=5)).train()


def run(processor: FlowProcessor, config: BackPropagationConfig) -> Unrolled:
    return run_on(processor, embeddings(SAMPLES), config, LIVELY)


def run_on(
    processor: FlowProcessor,
    inputs: NDArray[np.float32],
    config: BackPropagationConfig,
    options: Mapping[str, Any],
) -> Unrolled:
    return unroll(
        processor,
        inputs,
        config,
        options=options,
        seed=1,
        sample_keys=list(range(SAMPLES)),
    )


def gradients(config: BackPropagationConfig) -> Mapping[str, Tensor]:
    processor = model()
    unrolled = run(processor, config)
    torch.autograd.backward((unrolled.embedding_BO**3).sum() + (unrolled.surface_BS**2).sum())
    named = processor.named_parameters()
    return {name: p.grad for name, p in named if p.grad is not None}


def saved_bytes(config: BackPropagationConfig) -> int:
    """Return the bytes that the graph of a run keeps, each storage once."""
    return saved_bytes_of(model(), embeddings(SAMPLES), config, LIVELY)


def saved_bytes_of(
    processor: FlowProcessor,
    inputs: NDArray[np.float32],
    config: BackPropagationConfig,
    options: Mapping[str, Any] = {},
) -> int:
    """Return the bytes that the graph of a run keeps, each storage once.

    Args:
        processor: the model.
        inputs: of the run.
        config: what to keep.
        options: of the run.
    """
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        unrolled = run_on(processor.train(), inputs, config, options)
    # The graph keeps its storages alive until here, so that no address is used twice.
    assert unrolled.embedding_BO.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize(
    "config", [CHECKPOINTED, truncated(100)], ids=["checkpointed", "one window"]
)
def test_gradients_are_the_same_bit_by_bit(config: BackPropagationConfig) -> None:
    full, other = gradients(FULL), gradients(config)
    assert full.keys() == other.keys()
    for name, gradient in full.items():
        assert torch.equal(gradient, other[name]), name


def test_the_forward_pass_is_the_same_bit_by_bit() -> None:
    processor = model()
    full = run(processor, FULL)
    for config in (CHECKPOINTED, truncated(2)):
        other = run(processor, config)
        assert torch.equal(full.surface_BS, other.surface_BS)
        assert torch.equal(full.embedding_BO, other.embedding_BO)
        assert full.counters.to_dict() == other.counters.to_dict()


def cut_by_hand(steps: int) -> Mapping[str, Tensor]:
    """Return gradients of a run whose states are constants at every ``steps``-th step."""
    processor = model()
    state = processor.start(
        embeddings(SAMPLES),
        options={**LIVELY, "trace.capacity": 0},
        seed=1,
        sample_keys=list(range(SAMPLES)),
    )
    (cohort,) = state.cohorts
    done = 0
    while state.active_flows:
        if done % steps == 0 and done:
            flows = replace(
                state.flows,
                position=state.flows.position.detach(),
                energy=state.flows.energy.detach(),
            )
            rows = tuple(row.detach() for row in state.hidden.rows)
            state = replace(state, flows=flows, hidden=replace(state.hidden, rows=rows))
        state = processor.step(state)
        done += 1
    outputs = processor.finish(state, cohort, ("embedding", "surface")).outputs
    torch.autograd.backward((outputs["embedding"] ** 3).sum() + (outputs["surface"] ** 2).sum())
    return {name: p.grad for name, p in processor.named_parameters() if p.grad is not None}


def test_truncation_cuts_gradients_of_flows_between_windows() -> None:
    cut, by_hand, full = gradients(truncated(2)), cut_by_hand(2), gradients(FULL)
    for name, gradient in cut.items():
        assert torch.equal(gradient, by_hand[name]), name
    assert not torch.equal(cut["neuron.layers.0.weight"], full["neuron.layers.0.weight"])


def test_memory_grows_less_where_less_is_kept() -> None:
    full, checkpointed, windows = map(saved_bytes, (FULL, CHECKPOINTED, truncated(2)))
    assert checkpointed < full / 2
    assert windows < checkpointed
