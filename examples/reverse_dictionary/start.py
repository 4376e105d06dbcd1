"""Models from which a training on the reverse dictionary starts: they return their input.

The embedding of a definition is already near that of its words. So the mappers start as the
identity, and the carrier keeps the energy of a flow and its cell. Training has to find only what
the identity lacks. All weights are drawn from a seed.

Shape legend: R rows, E embedding width, M mapper width, S surface cells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from energy_flow import FlowConfig, FlowProcessor

CONFIG = {
    "lattice_width": 20,
    "lattice_height": 20,
    "lattice_depth": 4,
    "embedding_dim": 384,
    "mapper_hidden_dim": 1024,
    "neuron_hidden_dim": 16,
    "neuron_output_dim": 16,
    "carrier_hidden_size": 32,
    "carrier_num_layers": 1,
    "projection_age": 2,
    "max_steps": 2,
    "spawn.mode": "off",
    "convergence.enabled": False,
    "deterministic": True,
}
"""S = 400 cells are just enough for 384 numbers; two steps of 1/2 take a flow to an exit plane."""

ENERGY_SPREAD = 0.1
"""Standard deviation of the initial energies, so small that the three Tanh are nearly linear."""
SLOPE = 10.0
"""Slope of the mappers' first layers, so large that their GELUs are not linear."""
PROTOTYPE_SLOPE, PROTOTYPE_COSINE = 20.0, 0.3
"""A unit beside the identity is active for inputs with a larger cosine to its prototype."""
DRIFT = 0.5
"""Displacement towards ``zdepth`` in each step."""
MOVEMENT = 0.01
"""Share of the untrained displacement that stays; all of it would leave cells empty."""
UPDATE_GATE_BIAS = -4.0
"""Bias of the update gate: the lower, the closer the hidden energy follows the flow's energy."""


def untrained(seed: int, inputs: Tensor) -> FlowProcessor:
    """Return the model from which a training starts.

    Args:
        seed: seed of all weights.
        inputs: embeddings to train on, [R, E], from which prototypes are drawn.
    """
    processor = FlowProcessor(FlowConfig.from_dict({**CONFIG, "model_seed": seed}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _set_mappers(processor, inputs, generator)
        _set_carrier(processor)
    return processor


def _set_mappers(processor: FlowProcessor, inputs: Tensor, generator: torch.Generator) -> None:
    into, out_of = processor.input_mapper, processor.output_mapper
    width, cells = inputs.shape[1], processor.config.surface_cells
    # An isometry maps an embedding to a surface.
    isometry = orthogonal(cells, width, generator)
    set_identity(into.layers, torch.eye(width), isometry, generator)
    add_prototypes(into.layers, inputs, generator)
    into.positional_encoding.zero_()
    spread = into(inputs[:256]).std()
    into.layers[3].weight.mul_(ENERGY_SPREAD / spread)
    set_identity(out_of.layers, isometry.t(), torch.eye(width), generator)
    # So the units are as large as those of the input mapper, although energies are no unit vectors.
    out_of.layers[0].weight[: 2 * width].mul_(1.0 / (ENERGY_SPREAD * math.sqrt(cells)))


def _set_carrier(processor: FlowProcessor) -> None:
    """Let hidden unit 0 hold the energy, the energy head read it, and flows move to ``zdepth``."""
    carrier, size = processor.carrier, processor.config.carrier_hidden_size
    gru = carrier.gru
    for gate in range(3):
        gru.weight_ih_l0[gate * size] = 0.0
        gru.weight_hh_l0[gate * size] = 0.0
    gru.bias_ih_l0[size] = UPDATE_GATE_BIAS
    gru.weight_ih_l0[2 * size, -1] = 0.5
    gain = 1.0 / (1.0 - torch.sigmoid(torch.tensor(UPDATE_GATE_BIAS)))
    first, last = carrier.energy_head[0], carrier.energy_head[2]
    # GELU(u) - GELU(-u) = u.
    first.weight[:2] = 0.0
    first.weight[0, 0], first.weight[1, 0] = 2.0, -2.0
    last.weight.zero_()
    last.weight[0, 0], last.weight[0, 1] = gain, -gain
    moving = carrier.displacement_head[2]
    moving.weight.mul_(MOVEMENT)
    moving.bias.copy_(torch.tensor([0.0, 0.0, DRIFT / processor.config.displacement_scale]))


def set_identity(
    layers: nn.Sequential, before: Tensor, after: Tensor, generator: torch.Generator
) -> None:
    """Make Linear, GELU, LayerNorm, Linear the map ``after · before``, up to a scale of each row.

    Two units together are linear, since GELU(u) - GELU(-u) = u. The units beyond these pairs keep
    the first layer as it was drawn, and start with zeros in the second.

    Args:
        layers: the four layers.
        before: an isometry or its transpose, [E, in].
        after: an isometry or its transpose, [out, E].
        generator: source of random numbers.
    """
    width = before.shape[0]
    first, last = layers[0], layers[3]
    turned = orthogonal(width, width, generator)
    first.bias[: 2 * width] = 0.0
    first.weight[:width] = SLOPE * turned @ before
    first.weight[width : 2 * width] = -first.weight[:width]
    last.weight.zero_()
    last.bias.zero_()
    last.weight[:, :width] = 0.05 * after @ turned.t()
    last.weight[:, width : 2 * width] = -last.weight[:, :width]


def add_prototypes(layers: nn.Sequential, inputs: Tensor, generator: torch.Generator) -> None:
    """Give each unit beyond the pairs a prototype, near which it is active.

    Args:
        layers: Linear, GELU, LayerNorm, Linear.
        inputs: embeddings, [R, E], from which the prototypes are drawn.
        generator: source of random numbers.
    """
    first, paired = layers[0], 2 * inputs.shape[1]
    count = first.out_features - paired
    order = torch.randperm(len(inputs), generator=generator)
    # Rows are repeated if there are more units than rows.
    drawn = inputs[order[torch.arange(count) % len(inputs)]]
    first.weight[paired:] = PROTOTYPE_SLOPE * drawn
    first.bias[paired:] = -PROTOTYPE_SLOPE * PROTOTYPE_COSINE


def orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Return a random matrix with orthonormal columns.

    Args:
        rows: number of rows, at least as many as columns.
        columns: number of columns.
        generator: source of random numbers.
    """
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator))[0]
