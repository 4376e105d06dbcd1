"""How much memory a model needs: its weights, their packed copies, and what makes them.

Everything follows from the shapes of the config. Nothing is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from energy_flow.choices import MapperKind, Precision
from energy_flow.config.flow_config import FlowConfig
from energy_flow.model.carrier import HEAD_WIDTH
from energy_flow.model.linear import WIDTH, padded_width
from energy_flow.model.networks import MAPPER_ROWS, step_rows

CPU = torch.device("cpu")

REAL_BYTES = 4
"""Bytes of a weight; packed ones have no more in any precision."""
BFLOAT16_BYTES = 2
STEP_BLOCKS = 3
"""Temporary blocks of the networks at once, with what libraries keep for shapes of products."""
NEURON_BLOCKS = 12
"""Blocks of the neuron's width while heights are tried: 8 at once, and what libraries keep."""
MAPPER_BLOCKS = 5
"""Blocks of a mapper at once: rows to try, a block of them, its padded copy, and what comes out."""
GRU_COPIES = 4
"""Copies of a GRU layer, or of its recurrent weights, while it is packed or drawn."""


def parameter_count(config: FlowConfig) -> int:
    """Return the number of parameters of a model."""
    mappers = _mapper_parameters(config)
    nh, n = config.neuron_hidden_dim, config.neuron_output_dim
    neuron = (5 + config.sensing.width) * nh + nh * (nh + 1) + 4 * nh + n * (nh + 1)
    hc, total = config.carrier_hidden_size, 0
    for layer in range(config.carrier_num_layers):
        inputs = n + 1 if layer == 0 else hc
        total += 3 * hc * (inputs + hc + 2)
    half = hc // 2
    heads = half * (hc + 1) + half + 1 + HEAD_WIDTH * (hc + 1) + 3 * (HEAD_WIDTH + 1)
    return mappers + neuron + total + heads


def weights_bytes(config: FlowConfig) -> int:
    """Return the bytes of the weights of a model."""
    return REAL_BYTES * parameter_count(config)


def packed_bytes(config: FlowConfig) -> int:
    """Return the bytes of the packed copies of the weights, for one precision."""
    numbers = sum(_packed_linears(config)) + sum(_packed_gru_layers(config))
    return REAL_BYTES * numbers


def loaded_bytes(config: FlowConfig) -> int:
    """Return the bytes that a loaded model holds: its weights and their packed copies."""
    return weights_bytes(config) + packed_bytes(config)


def workspace_bytes(config: FlowConfig, device: torch.device = CPU) -> int:
    """Return the bytes of the temporary blocks of a step, or of samples that enter and leave.

    Args:
        config: of the model.
        device: whose block heights are used.
    """
    hidden = config.carrier_num_layers * config.carrier_hidden_size
    width = 5 * config.carrier_hidden_size + 2 * hidden + config.mapper_hidden_dim
    step = STEP_BLOCKS * step_rows(device) * max(width, config.neuron_hidden_dim)
    wide = config.mapper_hidden_dim if config.mapper is MapperKind.MLP else 0
    mapped = config.embedding_dim + config.surface_cells + config.mapped_cells + config.output_width
    blocks = REAL_BYTES * max(step, MAPPER_BLOCKS * MAPPER_ROWS * (mapped + wide))
    if config.precision is not Precision.BFLOAT16 or device.type != "cpu":
        return blocks
    # On CPUs with units for such products, libraries reorder the weights for each.
    return blocks + BFLOAT16_BYTES * max(_packed_linears(config))


def packing_bytes(config: FlowConfig) -> int:
    """Return the temporary bytes of packing the weights: layers are packed one by one."""
    linear = max(_packed_linears(config))
    gru = max(_packed_gru_layers(config))
    copies = 2 if config.precision is Precision.BFLOAT16 else 1
    return REAL_BYTES * copies * max(linear, GRU_COPIES * gru)


def load_bytes(config: FlowConfig, *, prepare: bool = True, device: torch.device = CPU) -> int:
    """Return the most bytes that loading a model needs.

    Args:
        config: of the model.
        prepare: whether the weights are packed and block heights are tried now.
        device: where the model is to be.
    """
    largest = max(*_packed_linears(config), *_packed_gru_layers(config))
    # A weight is read, and then copied.
    drawn = max(create_bytes(config), weights_bytes(config) + REAL_BYTES * largest)
    if not prepare:
        return drawn
    neuron = REAL_BYTES * NEURON_BLOCKS * step_rows(device) * config.neuron_hidden_dim
    temporary = max(packing_bytes(config), workspace_bytes(config, device), neuron)
    return max(drawn, loaded_bytes(config) + temporary)


def create_bytes(config: FlowConfig) -> int:
    """Return the most bytes that drawing the weights of an untrained model needs."""
    recurrent = 3 * config.carrier_hidden_size**2
    return weights_bytes(config) + REAL_BYTES * GRU_COPIES * recurrent


def _mapper_parameters(config: FlowConfig) -> int:
    """Return the number of parameters of both mappers."""
    if config.mapper is MapperKind.IDENTITY:
        return 2 * config.output_planes.planes
    norms = 4 * config.mapper_hidden_dim if config.mapper is MapperKind.MLP else 0
    layers = sum(outputs * (inputs + 1) for inputs, outputs in _mapper_layers(config))
    return layers + norms + 2 + config.surface_cells + config.mapped_cells


def _mapper_layers(config: FlowConfig) -> Iterator[tuple[int, int]]:
    """Yield the widths of the linear layers of both mappers, in and out."""
    ends = (
        (config.embedding_dim, config.surface_cells),
        (config.mapped_cells, config.output_width),
    )
    for inputs, outputs in ends:
        if config.mapper is MapperKind.LINEAR:
            yield inputs, outputs
        elif config.mapper is MapperKind.MLP:
            yield inputs, config.mapper_hidden_dim
            yield config.mapper_hidden_dim, outputs


def _packed_linears(config: FlowConfig) -> list[int]:
    """Return the numbers of each packed linear layer."""
    nh, hc = config.neuron_hidden_dim, config.carrier_hidden_size
    heads = hc // 2 + HEAD_WIDTH
    layers = [*_mapper_layers(config), (4 + config.sensing.width, nh), (nh, nh)]
    layers += [(hc, heads), (heads, 4)]
    return [
        padded_width(outputs) * (padded_width(inputs) + 1) + 2 * outputs
        for inputs, outputs in layers
    ]


def _packed_gru_layers(config: FlowConfig) -> list[int]:
    """Return the numbers of each packed GRU layer."""
    hc = padded_width(config.carrier_hidden_size)
    numbers = []
    for layer in range(config.carrier_num_layers):
        inputs = config.neuron_hidden_dim + 1 if layer == 0 else config.carrier_hidden_size
        width = padded_width(inputs + 1)
        numbers.append((width + hc) * 2 * hc + width * hc + (WIDTH + hc) * hc)
    return numbers
