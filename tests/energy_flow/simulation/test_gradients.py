"""Gradients of a run against finite differences, in float64 on a tiny lattice."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from energy_flow import FlowConfig, FlowProcessor
from energy_flow.choices import AggregationMode, Output, names_of
from energy_flow.simulation.span_allocator import Span
from energy_flow.simulation.tally.tally import Scores, Tally
from tests.reference.cases import random_weights
from tests.support.small_model import embeddings

PARTS = ("input_mapper", "neuron", "carrier", "output_mapper")
STEP = 1e-5
RELATIVE = 1e-5
"""A central difference in float64 errs by STEP² (times a third derivative) and 1e-16 / STEP."""
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "weighted": {"aggregation_mode": "weighted_v2"},
    "legacy": {"aggregation_mode": "legacy"},
    "splat": {"aggregation_mode": "splat"},
    "splat without background": {"aggregation_mode": "splat", "background": 0.0},
    "field": {"aggregation_mode": "splat", "field_strength": 0.4},
    "noise": {"noise_std": 0.1},
    "childless": {"spawn.mode": "off"},
    "percentile": {"spawn.mode": "percentile", "spawn.percentile": 50.0},
}


MODELS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {},
    "linear": {"mapper": "linear", "output_dim": 3, "output_planes": "both"},
    "identity": {
        "mapper": "identity",
        "lattice_width": 4,
        "output_planes": "both",
        "energy_update": "residual",
        "sensing": "gradient",
    },
    "sensing": {"sensing": "gradient", "lattice_width": 3},
}
"""Fields of models with every kind of mapper, with and without sensing."""


def tiny(kind: str = "mlp") -> FlowProcessor:
    """2 × 2 × 6, two layers, in float64; its flows spawn, reflect and are projected."""
    return copy.deepcopy(_original(kind))


@cache
def _original(kind: str) -> FlowProcessor:
    """Run once, so that copies have their block heights."""
    config = FlowConfig.from_dict(
        {
            "lattice_width": 2,
            "lattice_height": 2,
            "lattice_depth": 6,
            "embedding_dim": 8,
            "mapper_hidden_dim": 5,
            "neuron_hidden_dim": 4,
            "neuron_output_dim": 3,
            "carrier_hidden_size": 6,
            "carrier_num_layers": 2,
            "displacement_scale": 0.2,
            "max_displacement": 1.5,
            "noise_std": 0.0,
            "max_steps": 5,
            "projection_age": 4,
            "spawn.threshold": 0.05,
            "convergence.enabled": False,
            **MODELS[kind],
        }
    )
    processor = FlowProcessor(config)
    weights = random_weights(config.to_dict(), seed=4)
    processor.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    processor.double().train().simulate(embeddings(1))
    return processor


def loss(processor: FlowProcessor, output: str, options: Mapping[str, Any]) -> Tensor:
    """Return a random weighting of all numbers of an output."""
    result = processor.simulate(embeddings(2), options=options, outputs=(output,))
    tensor = result.outputs[output]
    assert isinstance(tensor, Tensor)
    assert tensor.dtype == torch.float64
    generator = torch.Generator().manual_seed(0)
    return (tensor * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)).sum()


def part_parameters(processor: FlowProcessor, part: str) -> list[torch.nn.Parameter]:
    module = processor.get_submodule(part)
    return list(module.parameters())


def directional(
    processor: FlowProcessor, part: str, output: str, options: Mapping[str, Any], seed: int
) -> tuple[float, float]:
    """Return the derivative along a random direction, by autograd and by a central difference."""
    parameters = part_parameters(processor, part)
    generator = torch.Generator().manual_seed(seed)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    processor.zero_grad()
    torch.autograd.backward(loss(processor, output, options))
    derivative = sum(
        float((p.grad * d).sum())
        for p, d in zip(parameters, direction, strict=True)
        if p.grad is not None
    )
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(sign * STEP * d)
        values.append(float(loss(processor, output, options).detach()))
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.sub_(sign * STEP * d)
    return derivative, (values[0] - values[1]) / (2 * STEP)


@pytest.mark.parametrize("output", ["planes", "embedding"])
@pytest.mark.parametrize("options", OPTIONS)
def test_against_finite_differences(options: str, output: str) -> None:
    processor = tiny()
    run = OPTIONS[options]
    counters = processor.simulate(embeddings(2), options=run).metrics.counters.to_dict()
    assert counters["completed"] >= 8
    assert (counters["spawned"] > 0) == (options != "childless")
    for number, part in enumerate(PARTS):
        if part == "output_mapper" and output != "embedding":
            continue
        derivative, difference = directional(processor, part, output, run, number)
        assert derivative != 0, part
        assert derivative == pytest.approx(difference, rel=RELATIVE, abs=1e-8), part


@pytest.mark.parametrize("kind", MODELS)
def test_mappers_and_energies_against_finite_differences(kind: str) -> None:
    """Through whole runs with spawning, soft deposition, a field and both planes."""
    processor = tiny(kind)
    run = {"aggregation_mode": "splat", "field_strength": -0.6}
    counters = processor.simulate(embeddings(2), options=run).metrics.counters.to_dict()
    assert counters["spawned"] > 0
    # Flows that did not reach a plane are shared between both, by their z.
    assert counters["terminated"]["max_steps"] > 0
    for number, part in enumerate(PARTS):
        if not part_parameters(processor, part):
            continue
        derivative, difference = directional(processor, part, "embedding", run, number)
        assert derivative != 0, part
        assert derivative == pytest.approx(difference, rel=RELATIVE, abs=1e-8), part


def test_soft_deposits_have_gradients_in_all_that_they_depend_on() -> None:
    generator = torch.Generator().manual_seed(2)
    scores = 9
    position = torch.rand((scores, 3), generator=generator, dtype=torch.float64) * 2 - 1
    energy = torch.rand(scores, generator=generator, dtype=torch.float64) * 2 - 1
    weight = torch.rand(scores, generator=generator, dtype=torch.float64) * 3
    slot = torch.arange(scores) // 5
    width, height = 3, 2

    def surfaces(position: Tensor, energy: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        tally = Tally.empty(width, width * height, torch.float64, torch.device("cpu")).resize(2)
        for rows in (slice(0, 4), slice(4, scores)):
            count = len(slot[rows])
            zeros = torch.zeros(count, dtype=torch.int64)
            mode = torch.full((count,), AggregationMode.SPLAT.code)
            tally = tally.add(
                Scores(slot[rows], zeros, zeros, position[rows], energy[rows], weight[rows], mode),
                {AggregationMode.SPLAT},
            )
        read = tally.read([Span(0, 2)], [0.2])
        return read.surface, read.planes

    assert float(weight.max()) > 2 > float(weight.min())
    leaves = tuple(one.requires_grad_() for one in (position, energy, weight))
    assert torch.autograd.gradcheck(surfaces, leaves)


@pytest.mark.parametrize("mode", ["weighted_v2", "legacy", "splat"])
def test_every_parameter_has_a_gradient(mode: str) -> None:
    processor = tiny()
    torch.autograd.backward(loss(processor, "embedding", {"aggregation_mode": mode}))
    for name, parameter in processor.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool((parameter.grad != 0).any()), name


def test_each_parameter_of_the_carrier_alone() -> None:
    """A direction over a whole part could hide one wrong parameter behind the others."""
    processor = tiny()
    torch.autograd.backward(loss(processor, "surface", {}))
    rng = np.random.default_rng(0)
    for name, parameter in processor.carrier.named_parameters():
        assert parameter.grad is not None
        flat = parameter.detach().view(-1)
        place = int(rng.integers(len(flat)))
        values = []
        for sign in (1, -1):
            flat[place] += sign * STEP
            values.append(float(loss(processor, "surface", {}).detach()))
            flat[place] -= sign * STEP
        difference = (values[0] - values[1]) / (2 * STEP)
        derivative = float(parameter.grad.view(-1)[place])
        assert derivative == pytest.approx(difference, rel=RELATIVE, abs=1e-8), name


@pytest.mark.parametrize("part", ["input_mapper", "output_mapper"])
def test_mappers_by_their_inputs(part: str) -> None:
    processor = tiny()
    module = processor.get_submodule(part)
    width = 8 if part == "input_mapper" else 4
    x = torch.randn(3, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(module, (x.requires_grad_(),))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("mode", names_of(AggregationMode))
def test_a_run_that_carries_gradients_computes_the_same(kind: str, mode: str) -> None:
    """In float32, so that the run without gradients is the usual one."""
    processor = tiny(kind).float()
    options = {"noise_std": 0.1, "aggregation_mode": mode, "field_strength": 0.3}
    outputs = names_of(Output)
    with_gradients = processor.simulate(embeddings(3), options=options, outputs=outputs)
    without = processor.eval().simulate(embeddings(3), options=options, outputs=outputs)
    for name in outputs:
        mine, other = with_gradients.outputs[name], without.outputs[name]
        assert isinstance(other, np.ndarray)
        array = mine.detach().numpy() if isinstance(mine, Tensor) else mine
        np.testing.assert_array_equal(array, other, err_msg=name)
    assert with_gradients.trace.totals == without.trace.totals


def gradients(processor: FlowProcessor, count: int = 2) -> dict[str, Tensor]:
    processor.zero_grad()
    embedding = processor.simulate(embeddings(count), outputs=("embedding",)).outputs["embedding"]
    torch.autograd.backward((embedding**3).sum())
    return {name: p.grad.clone() for name, p in processor.named_parameters() if p.grad is not None}


def test_recomputed_activations_give_the_same_gradients() -> None:
    processor = tiny().float()
    kept = gradients(processor)
    processor.keeps_tapes = False
    again = gradients(processor)
    assert len(kept) == len(list(processor.parameters()))
    for name, gradient in kept.items():
        assert torch.equal(gradient, again[name]), name


@pytest.mark.slow
def test_gradients_do_not_depend_on_block_heights() -> None:
    """Many samples fill several blocks and leave a rest; few of them are one padded block."""
    processor = tiny()
    count = 600
    together = gradients(processor, count)
    x = embeddings(count)
    processor.zero_grad()
    for part in np.array_split(np.arange(count), 7):
        result = processor.simulate(x[part], sample_keys=part.tolist(), outputs=("embedding",))
        torch.autograd.backward((result.outputs["embedding"] ** 3).sum())
    for name, parameter in processor.named_parameters():
        assert parameter.grad is not None
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(together[name], parameter.grad, rtol=0, atol=1e-11 * scale)


def test_gradients_in_bfloat16_point_the_same_way() -> None:
    """Its arithmetic has 8 bits, so that flows may end elsewhere; the whole gradient must not."""
    exact = gradients(tiny().float())
    rounded_processor = tiny().float()
    rounded_processor.config = rounded_processor.config.replace({"precision": "bfloat16"})
    rounded = gradients(rounded_processor)
    for part in ("neuron", "carrier"):
        one, other = (
            torch.cat([g.flatten() for name, g in all_of.items() if name.startswith(part)])
            for all_of in (exact, rounded)
        )
        assert other.dtype == torch.float32
        assert torch.cosine_similarity(one, other, dim=0) > 0.99, part


def test_no_gradients_by_default() -> None:
    processor = tiny()
    with torch.no_grad():
        assert isinstance(processor.simulate(embeddings(1)).outputs["surface"], np.ndarray)
    assert isinstance(processor.eval().simulate(embeddings(1)).outputs["surface"], np.ndarray)
    assert isinstance(processor.train().simulate(embeddings(1)).outputs["surface"], Tensor)


def test_a_few_steps_of_descent_lower_the_loss() -> None:
    processor = tiny().float()
    optimiser = torch.optim.Adam(processor.parameters(), lr=5e-3)
    target = torch.full((2, 8), 0.25)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        embedding = processor.simulate(embeddings(2), outputs=("embedding",)).outputs["embedding"]
        error = ((embedding - target) ** 2).mean()
        error.backward()
        optimiser.step()
        losses.append(float(error.detach()))
    assert losses[-1] < 0.8 * losses[0]
