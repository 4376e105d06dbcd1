"""The two mappers between embeddings and surfaces (docs/simulation.md §2), by kind of mapper.

Shapes: E embedding, M mapper hidden, S = W·H cells, P surfaces read by the output mapper, E_out
output embedding.
"""

from __future__ import annotations

import numpy as np

from .layers import Float32, Float64, Tensors, gelu, to_float32
from .rules import Rules


class InputMapper:
    """Embedding [E] to initial energies [H, W]."""

    def __init__(self, rules: Rules, tensors: Tensors) -> None:
        self._kind = rules.mapper
        self._shape = (rules.height, rules.width)
        embedding, hidden, cells = rules.embedding_dim, rules.mapper_hidden_dim, rules.cells
        if self._kind == "mlp":
            self._first = tensors.linear("input_mapper.layers.0", embedding, hidden)
            self._norm = tensors.layer_norm("input_mapper.layers.2", hidden)
            self._last = tensors.linear("input_mapper.layers.3", hidden, cells)
        elif self._kind == "linear":
            self._first = tensors.linear("input_mapper.layers.0", embedding, cells)
        if self._kind != "identity":
            self._scale = tensors.take("input_mapper.energy_scale", 1)
            self._bias = tensors.take("input_mapper.energy_bias", 1)
            self._positions = tensors.take("input_mapper.positional_encoding", *self._shape)

    def __call__(self, embedding: Float64) -> Float32:
        """Energies [H, W] of the initial flows."""
        if self._kind == "identity":
            return to_float32(embedding.reshape(self._shape))
        if self._kind == "linear":
            surface = self._first(embedding)
        else:
            surface = np.tanh(self._last(self._norm(gelu(self._first(embedding)))))
        energies = surface.reshape(self._shape) * self._scale + self._bias + self._positions
        return to_float32(energies)


class OutputMapper:
    """Surfaces [P, H, W], z0 first where there are two, to an embedding [E_out]."""

    def __init__(self, rules: Rules, tensors: Tensors) -> None:
        self._kind = rules.mapper
        height, width, planes = rules.height, rules.width, rules.planes_read
        inputs, hidden, outputs = planes * rules.cells, rules.mapper_hidden_dim, rules.output_width
        if self._kind == "mlp":
            self._first = tensors.linear("output_mapper.layers.0", inputs, hidden)
            self._norm = tensors.layer_norm("output_mapper.layers.2", hidden)
            self._last = tensors.linear("output_mapper.layers.3", hidden, outputs)
        elif self._kind == "linear":
            self._first = tensors.linear("output_mapper.layers.0", inputs, outputs)
        if self._kind == "identity":
            self._gain = tensors.take("output_mapper.output_gain", planes)
            self._bias = tensors.take("output_mapper.output_bias", planes)
        else:
            shape = (height, width) if planes == 1 else (planes, height, width)
            weights = tensors.take("output_mapper.position_weights", *shape)
            self._position_weights = weights.reshape(planes, height, width)

    def __call__(self, surfaces: Float32) -> Float32:
        """Embedding [E_out]."""
        values = surfaces.astype(np.float64)
        if self._kind == "identity":
            gained = [
                surface * gain + bias
                for surface, gain, bias in zip(values, self._gain, self._bias, strict=True)
            ]
            return to_float32(np.stack(gained).reshape(-1))
        weighted = (values * self._position_weights).reshape(-1)
        if self._kind == "linear":
            return to_float32(self._first(weighted))
        return to_float32(self._last(self._norm(gelu(self._first(weighted)))))
