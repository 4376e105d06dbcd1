"""The mappers between embeddings and surfaces.

GELU is ``x Φ(x)`` in its exact, erf form (Hendrycks and Gimpel, "Gaussian error linear units",
2016).

Shape legend: B samples, E embedding width, M mapper width, H and W the lattice's height and width,
S = H · W surface cells.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from energy_flow.config.flow_config import FlowConfig
from energy_flow.model.linear import PackedNorm, PaddedLinear, init_defaults, linears, norms

ENCODING_STD = 0.02
"""Standard deviation of an untrained positional encoding."""

RowMap = Callable[[Tensor], Tensor]
"""A function of rows: [B, in] -> [B, out], each row from its own input alone."""


class InputMapper(nn.Module):
    """The map from an embedding to the energies of the initial flows.

    ``tanh(W₂ · LayerNorm(GELU(W₁ · x))) · energy_scale + energy_bias + positional_encoding``
    (docs/simulation.md §2).

    Attributes:
        layers: the Sequential stack, E -> M -> S.
        energy_scale: [1].
        energy_bias: [1].
        positional_encoding: [H, W].
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        cells = config.surface_cells
        self.layers = nn.Sequential(
            nn.Linear(config.embedding_dim, config.mapper_hidden_dim),
            nn.GELU(),
            nn.LayerNorm(config.mapper_hidden_dim),
            nn.Linear(config.mapper_hidden_dim, cells),
            nn.Tanh(),
        )
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
        first, norm, second = _pack_layers(self.layers, dtype)
        encoding_S = self.positional_encoding.reshape(-1)

        def map_embeddings(embedding_BE: Tensor) -> Tensor:
            hidden_BM = norm(gelu(first(embedding_BE.to(dtype))))
            surface_BS = torch.tanh(second.padded(hidden_BM))[:, : second.out_width]
            return surface_BS * self.energy_scale + self.energy_bias + encoding_S

        return map_embeddings

    def forward(self, embedding_BE: Tensor) -> Tensor:
        """Return the energies [B, S] of embeddings [B, E]."""
        return self.pack()(embedding_BE)


class OutputMapper(nn.Module):
    """The map from a surface to an embedding.

    ``W₂ · LayerNorm(GELU(W₁ · (surface · position_weights)))`` (docs/simulation.md §2).

    Attributes:
        position_weights: [H, W].
        layers: the Sequential stack, S -> M -> E.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.position_weights = nn.Parameter(
            torch.empty(config.lattice_height, config.lattice_width)
        )
        self.layers = nn.Sequential(
            nn.Linear(config.surface_cells, config.mapper_hidden_dim),
            nn.GELU(),
            nn.LayerNorm(config.mapper_hidden_dim),
            nn.Linear(config.mapper_hidden_dim, config.embedding_dim),
        )

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw the weights of an untrained mapper."""
        init_defaults(self.layers, generator)
        with torch.no_grad():
            self.position_weights.fill_(1.0)

    def pack(self) -> RowMap:
        """Return the map as a function of surfaces [B, S] that gives embeddings [B, E]."""
        dtype = self.position_weights.dtype
        first, norm, second = _pack_layers(self.layers, dtype)
        weights_S = self.position_weights.reshape(-1)

        def map_surfaces(surface_BS: Tensor) -> Tensor:
            return second(norm(gelu(first(surface_BS.to(dtype) * weights_S))))

        return map_surfaces

    def forward(self, surface_BS: Tensor) -> Tensor:
        """Return the embeddings [B, E] of surfaces [B, S]."""
        return self.pack()(surface_BS)


def _pack_layers(
    layers: nn.Sequential, dtype: torch.dtype
) -> tuple[PaddedLinear, PackedNorm, PaddedLinear]:
    first, second = (PaddedLinear.pack(one.weight, one.bias, dtype) for one in linears(layers))
    (norm,) = (PackedNorm.pack(one, dtype) for one in norms(layers))
    return first, norm, second
