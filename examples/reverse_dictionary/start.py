"""Models to begin a training on the reverse dictionary with: they give back what they are given.

A definition's embedding is already near that of its words, so the mappers begin as the identity,
and the carrier hands a flow's energy on to the cell that it began in. Training then has to find
only what the identity lacks. Everything is drawn from a seed.

Shape legend: E embedding width, M mapper width, S surface cells.
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
"""Of the initial energies: small enough for the three Tanh on their way to be nearly linear."""
SLOPE = 10.0
"""Of the mappers' first layers, so that their GELUs bend."""
PROTOTYPE_SLOPE, PROTOTYPE_COSINE = 20.0, 0.3
"""Units beside the identity wake up near a definition drawn from the training rows."""
DRIFT = 0.5
"""Towards ``zdepth`` in each step."""
WANDERING = 0.01
"""Of the untrained displacement that is kept; all of it would empty cells and mix others."""
KEPT_GATE = -4.0
"""Bias of the update gate: how closely the hidden energy follows the flow's energy."""


def untrained(seed: int, inputs: Tensor) -> FlowProcessor:
    """The model to begin with.

    Args:
        seed: of everything that is drawn. inputs: training rows, [R, E]; prototypes come from them.
    """
    processor = FlowProcessor(FlowConfig.from_dict({**CONFIG, "model_seed": seed}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _begin_mappers(processor, inputs, generator)
        _begin_carrier(processor)
    return processor


def _begin_mappers(processor: FlowProcessor, inputs: Tensor, generator: torch.Generator) -> None:
    into, out_of = processor.input_mapper, processor.output_mapper
    width, cells = inputs.shape[1], processor.config.surface_cells
    # Numbers of an embedding lie in the surface as an isometry lays them.
    laid = orthogonal(cells, width, generator)
    begin_identity(into.layers, torch.eye(width), laid, generator)
    add_prototypes(into.layers, inputs, generator)
    into.positional_encoding.zero_()
    spread = into(inputs[:256]).std()
    into.layers[3].weight.mul_(ENERGY_SPREAD / spread)
    begin_identity(out_of.layers, laid.t(), torch.eye(width), generator)
    # Of the size that the first mapper's units have, though energies are not unit vectors.
    out_of.layers[0].weight[: 2 * width].mul_(1.0 / (ENERGY_SPREAD * math.sqrt(cells)))


def _begin_carrier(processor: FlowProcessor) -> None:
    """Hidden unit 0 holds the energy, the energy head reads it, and flows drift to ``zdepth``."""
    carrier, size = processor.carrier, processor.config.carrier_hidden_size
    gru = carrier.gru
    for gate in range(3):
        gru.weight_ih_l0[gate * size] = 0.0
        gru.weight_hh_l0[gate * size] = 0.0
    gru.bias_ih_l0[size] = KEPT_GATE
    gru.weight_ih_l0[2 * size, -1] = 0.5
    gain = 1.0 / (1.0 - torch.sigmoid(torch.tensor(KEPT_GATE)))
    first, last = carrier.energy_head[0], carrier.energy_head[2]
    # GELU(u) - GELU(-u) = u.
    first.weight[:2] = 0.0
    first.weight[0, 0], first.weight[1, 0] = 2.0, -2.0
    last.weight.zero_()
    last.weight[0, 0], last.weight[0, 1] = gain, -gain
    moving = carrier.displacement_head[2]
    moving.weight.mul_(WANDERING)
    moving.bias.copy_(torch.tensor([0.0, 0.0, DRIFT / processor.config.displacement_scale]))


def begin_identity(
    layers: nn.Sequential, before: Tensor, after: Tensor, generator: torch.Generator
) -> None:
    """Makes Linear, GELU, LayerNorm, Linear the map ``after · before``, but for each row's scale.

    Pairs of units make GELU linear, since GELU(u) - GELU(-u) = u; the units beyond the pairs keep
    their drawn first layer and begin with no say in the second.

    Args:
        before: isometry or its transpose, [E, in]. after: likewise, [out, E].
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
    """Lets the units beyond the pairs wake up near rows drawn from ``inputs`` [R, E]."""
    first, paired = layers[0], 2 * inputs.shape[1]
    count = first.out_features - paired
    order = torch.randperm(len(inputs), generator=generator)
    # Over again where there are more units than rows.
    drawn = inputs[order[torch.arange(count) % len(inputs)]]
    first.weight[paired:] = PROTOTYPE_SLOPE * drawn
    first.bias[paired:] = -PROTOTYPE_SLOPE * PROTOTYPE_COSINE


def orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """A random matrix with orthonormal columns; ``rows`` must not be fewer."""
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator))[0]
