"""The mappers between embeddings and surfaces.

GELU is ``x Φ(x)`` in its exact, erf form (Hendrycks and Gimpel, "Gaussian error linear units",
2016).

Shape legend: B samples, E embedding width, M mapper width, H and W the lattice's height and width,
S = H · W surface cells, P surfaces that the output mapper reads, O output embedding width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from energy_flow.choices import MapperKind
from energy_flow.config.flow_config import FlowConfig
from energy_flow.model.linear import PackedNorm, PaddedLinear, init_defaults, linears, norms

ENCODING_STD = 0.02
"""Standard deviation of an untrained positional encoding."""

RowMap = Callable[[Tensor], Tensor]
"""A function of rows: [B, in] -> [B, out], each row from its own input alone."""


class Mapper(nn.Module):
    """A map of rows, each from its own input alone: docs/simulation.md §2.

    Attributes:
        in_width: numbers of an input row.
    """

    in_width: int

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw the weights of an untrained mapper."""
        raise NotImplementedError

    def pack(self) -> RowMap:
        """Return the map as a function of rows [B, in_width]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows that the map makes of rows [B, in_width]."""
        return self.pack()(x)


class InputMapper(Mapper):
    """The map from an embedding to the energies of the initial flows.

    ``layers(x) · energy_scale + energy_bias + positional_encoding``.

    Attributes:
        layers: the Sequential stack, E -> M -> S with a tanh at the end, or E -> S.
        energy_scale: [1].
        energy_bias: [1].
        positional_encoding: [H, W].
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.in_width = config.embedding_dim
        self.layers = _build_layers(config, config.embedding_dim, config.surface_cells)
        if config.mapper is MapperKind.MLP:
            self.layers.append(nn.Tanh())
        self.energy_scale = nn.Parameter(torch.empty(1))
        self.energy_bias = nn.Parameter(torch.empty(1))
        self.positional_encoding = nn.Parameter(
            torch.empty(config.lattice_height, config.lattice_width)
        )

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw the weights of an untrained mapper."""
        init_defaults(self.layers, generator)
        with torch.no_grad():
            self.energy_scale.fill_(1.0)
            self.energy_bias.fill_(0.0)
            self.positional_encoding.normal_(0.0, ENCODING_STD, generator=generator)

    def pack(self) -> RowMap:
        """Return the map as a function of embeddings [B, E] that gives energies [B, S]."""
        dtype = self.energy_scale.dtype
        hidden, last = _pack_layers(self.layers, dtype)
        has_tanh = isinstance(self.layers[-1], nn.Tanh)
        encoding_S = self.positional_encoding.reshape(-1)

        def map_embeddings(embedding_BE: Tensor) -> Tensor:
            surface = last.padded(hidden(embedding_BE.to(dtype)))
            if has_tanh:
                surface = torch.tanh(surface)
            surface_BS = surface[:, : last.out_width]
            return surface_BS * self.energy_scale + self.energy_bias + encoding_S

        return map_embeddings


class OutputMapper(Mapper):
    """The map from surfaces to an embedding: ``layers(surfaces · position_weights)``.

    Attributes:
        position_weights: [H, W], or [2, H, W] where it reads both planes.
        layers: the Sequential stack, P · S -> M -> O, or P · S -> O.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.in_width = config.mapped_cells
        planes = config.output_planes.planes
        shape = (config.lattice_height, config.lattice_width)
        self.position_weights = nn.Parameter(
            torch.empty(shape if planes == 1 else (planes, *shape))
        )
        self.layers = _build_layers(config, config.mapped_cells, config.output_width)

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw the weights of an untrained mapper."""
        init_defaults(self.layers, generator)
        with torch.no_grad():
            self.position_weights.fill_(1.0)

    def pack(self) -> RowMap:
        """Return the map as a function of surfaces [B, P · S] that gives embeddings [B, O]."""
        dtype = self.position_weights.dtype
        hidden, last = _pack_layers(self.layers, dtype)
        weights = self.position_weights.reshape(-1)

        def map_surfaces(surface: Tensor) -> Tensor:
            return last(hidden(surface.to(dtype) * weights))

        return map_surfaces


class IdentityInputMapper(Mapper):
    """Energies of the initial flows that are the embedding itself, without any weights."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.in_width = config.embedding_dim

    def init_weights(self, generator: torch.Generator) -> None:
        """Do nothing: there are no weights."""

    def pack(self) -> RowMap:
        """Return the identity."""
        return lambda embedding_BE: embedding_BE


class IdentityOutputMapper(Mapper):
    """An embedding that is the surfaces themselves: ``surface · output_gain + output_bias``.

    Attributes:
        output_gain: one factor for each surface, [P].
        output_bias: one summand for each surface, [P].
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.in_width = config.mapped_cells
        planes = config.output_planes.planes
        self.output_gain = nn.Parameter(torch.empty(planes))
        self.output_bias = nn.Parameter(torch.empty(planes))

    def init_weights(self, generator: torch.Generator) -> None:
        """Set the weights of an untrained mapper; none is random."""
        with torch.no_grad():
            self.output_gain.fill_(1.0)
            self.output_bias.fill_(0.0)

    def pack(self) -> RowMap:
        """Return the map as a function of surfaces [B, P · S] that gives embeddings [B, P · S]."""
        planes = self.output_gain.shape[0]
        gain_P1, bias_P1 = self.output_gain.unsqueeze(1), self.output_bias.unsqueeze(1)

        def map_surfaces(surface: Tensor) -> Tensor:
            surface_BPS = surface.to(gain_P1.dtype).view(len(surface), planes, -1)
            return (surface_BPS * gain_P1 + bias_P1).flatten(1)

        return map_surfaces


def build_mappers(config: FlowConfig) -> tuple[Mapper, Mapper]:
    """Return the input and the output mapper of a model, by its ``mapper``.

    Args:
        config: of the model.
    """
    if config.mapper is MapperKind.IDENTITY:
        return IdentityInputMapper(config), IdentityOutputMapper(config)
    return InputMapper(config), OutputMapper(config)


def _build_layers(config: FlowConfig, in_width: int, out_width: int) -> nn.Sequential:
    """Return the layers of one mapper, in -> M -> out or in -> out."""
    if config.mapper is MapperKind.LINEAR:
        return nn.Sequential(nn.Linear(in_width, out_width))
    wide = config.mapper_hidden_dim
    return nn.Sequential(
        nn.Linear(in_width, wide), nn.GELU(), nn.LayerNorm(wide), nn.Linear(wide, out_width)
    )


def _pack_layers(layers: nn.Sequential, dtype: torch.dtype) -> tuple[RowMap, PaddedLinear]:
    """Return what comes before the last linear layer, and that layer."""
    *before, last = (PaddedLinear.pack(one.weight, one.bias, dtype) for one in linears(layers))
    if not before:
        return lambda x: x, last
    (first,) = before
    (norm,) = (PackedNorm.pack(one, dtype) for one in norms(layers))
    return lambda x: norm(gelu(first(x))), last
