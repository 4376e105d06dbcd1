"""``InitialWeights``: how the weights of an untrained model begin, where they are not as drawn.

Shape legend: E input width, O output width, S surface cells, P surfaces that the output mapper
reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from energy_flow.choices import InitialHead, InitialMappers
from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.validation import Group

if TYPE_CHECKING:
    from torch import Tensor

    from energy_flow.simulation.flow_processor import FlowProcessor


class InitialWeights(Group):
    """How an untrained model begins; by default, with weights as they are drawn."""

    displacement_head: float = Field(
        1.0, gt=0, le=1e6, description="factor of the weights of the displacement head's last layer"
    )
    energy_head: InitialHead = Field(
        InitialHead.DRAWN,
        description="last layer of the energy head: drawn, or zero, which gives 0 in every step",
    )
    mappers: InitialMappers = Field(
        InitialMappers.DRAWN,
        description="layers of the mappers: drawn, or isometry, by which the output mapper undoes "
        "the input mapper; for mapper linear alone",
    )


def set_initial_weights(processor: FlowProcessor, initial: InitialWeights) -> None:
    """Change the weights of an untrained model.

    Args:
        processor: the model, with weights as they are drawn.
        initial: how it is to begin; what is drawn depends on the ``model_seed`` alone.
    """
    # Here: a config is checked without torch.
    import torch
    from torch import nn

    from energy_flow.model.linear import linears

    carrier = processor.carrier
    with torch.no_grad():
        if initial.displacement_head != 1.0:
            *_, last = linears(carrier.displacement_head)
            last.weight.mul_(initial.displacement_head)
        if initial.energy_head is InitialHead.ZERO:
            *_, last = linears(carrier.energy_head)
            last.weight.zero_()
            last.bias.zero_()
        if initial.mappers is InitialMappers.ISOMETRY:
            into, out_of = _isometry(processor.config)
            for part, weight in (("input_mapper", into), ("output_mapper", out_of)):
                layer = processor.get_submodule(f"{part}.layers.0")
                assert isinstance(layer, nn.Linear)
                layer.weight.copy_(weight)
                layer.bias.zero_()


def _isometry(config: FlowConfig) -> tuple[Tensor, Tensor]:
    """Return the weights of both linear mappers, [S, E] and [O, P · S].

    The first is a random matrix with orthonormal columns, or rows where S < E (Saxe, McClelland and
    Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
    2014). The second is its transpose for each of the P surfaces, divided by P: with E rows, of
    which O are kept, or to which rows of zeros are added.

    Args:
        config: of the model.
    """
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(config.model_seed)
    into_SE = torch.empty(config.surface_cells, config.embedding_dim)
    nn.init.orthogonal_(into_SE, generator=generator)
    planes = config.output_planes.planes
    back = into_SE.t().repeat(1, planes) / planes
    out_of = torch.zeros(config.output_width, config.mapped_cells)
    kept = min(config.output_width, config.embedding_dim)
    out_of[:kept] = back[:kept]
    return into_SE, out_of
