"""What is kept for the backward pass decides over memory; gradients only change where it is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from energy_flow import FlowProcessor
from energy_flow.training.config import BackPropagation, BackPropagationChoice
from energy_flow.training.unroll import Unrolled, unroll
from tests.energy_flow.small import LIVELY, embeddings, small_config, with_weights
from tests.reference.cases import random_weights

SAMPLES = 3
FULL = BackPropagationChoice()
CHECKPOINTED = BackPropagationChoice(mode=BackPropagation.CHECKPOINTED)


def truncated(steps: int) -> BackPropagationChoice:
    return BackPropagationChoice(mode=BackPropagation.TRUNCATED, steps=steps)


def model() -> FlowProcessor:
    config = small_config()
    return with_weights(config, random_weights(config.to_dict(), seed=5)).train()


def run(processor: FlowProcessor, choice: BackPropagationChoice) -> Unrolled:
    return unroll(
        processor,
        embeddings(SAMPLES),
        choice,
        options=LIVELY,
        seed=1,
        sample_keys=list(range(SAMPLES)),
    )


def gradients(choice: BackPropagationChoice) -> Mapping[str, Tensor]:
    processor = model()
    told = run(processor, choice)
    torch.autograd.backward((told.embedding**3).sum() + (told.surface**2).sum())
    named = processor.named_parameters()
    return {name: p.grad for name, p in named if p.grad is not None}


def saved_bytes(choice: BackPropagationChoice) -> int:
    """Bytes that the graph of a run holds on to, each storage once."""
    processor = model()
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        told = run(processor, choice)
    # The graph keeps its storages alive until here, so that no address is used twice.
    assert told.embedding.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize(
    "choice", [CHECKPOINTED, truncated(100)], ids=["checkpointed", "one window"]
)
def test_gradients_are_the_same_bit_by_bit(choice: BackPropagationChoice) -> None:
    full, other = gradients(FULL), gradients(choice)
    assert full.keys() == other.keys()
    for name, gradient in full.items():
        assert torch.equal(gradient, other[name]), name


def test_the_forward_pass_is_the_same_bit_by_bit() -> None:
    processor = model()
    full = run(processor, FULL)
    for choice in (CHECKPOINTED, truncated(2)):
        other = run(processor, choice)
        assert torch.equal(full.surface, other.surface)
        assert torch.equal(full.embedding, other.embedding)
        assert full.counters.to_dict() == other.counters.to_dict()


def cut_by_hand(steps: int) -> Mapping[str, Tensor]:
    """Gradients of a run whose states are replaced by constants at every ``steps``-th step."""
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
    told = processor.finish(state, cohort, ("embedding", "surface")).outputs
    torch.autograd.backward((told["embedding"] ** 3).sum() + (told["surface"] ** 2).sum())
    return {name: p.grad for name, p in processor.named_parameters() if p.grad is not None}


def test_truncation_cuts_what_flows_owe_to_earlier_windows() -> None:
    cut, by_hand, full = gradients(truncated(2)), cut_by_hand(2), gradients(FULL)
    for name, gradient in cut.items():
        assert torch.equal(gradient, by_hand[name]), name
    assert not torch.equal(cut["neuron.layers.0.weight"], full["neuron.layers.0.weight"])


def test_memory_grows_less_where_less_is_kept() -> None:
    full, checkpointed, windows = map(saved_bytes, (FULL, CHECKPOINTED, truncated(2)))
    assert checkpointed < full / 2
    assert windows < checkpointed
