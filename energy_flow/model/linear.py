"""Linear layers: drawn from a generator, packed with padded widths.

Matrix products on a CPU were seen to round a row differently by its place in a block where an
output is narrow and an input width is no multiple of 16. Zero rows and columns cost little and
change no result beyond that.

Shape legend: N rows, I input width, O output width, K padded input width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTH = 16


def padded_width(width: int) -> int:
    """The next multiple of 16."""
    return -(-width // WIDTH) * WIDTH


def pad_columns(x_NK: Tensor, width: int) -> Tensor:
    """Appends zero columns up to ``width``; returns the tensor itself where none are needed."""
    missing = width - x_NK.shape[1]
    return nn.functional.pad(x_NK, (0, missing)) if missing else x_NK


def constant_columns(rows: int, width: int, like: Tensor) -> Tensor:
    """The columns that fill ``width`` up to a multiple of 16: zeros, and ones in the last.

    A product takes its bias from the column of ones, which spares writing the bias to every row
    first. There is at least one column.
    """
    columns = like.new_zeros((rows, padded_width(width + 1) - width))
    columns[:, -1] = 1.0
    return columns


@dataclass(frozen=True, slots=True)
class PaddedLinear:
    """``x @ weight + bias`` with both widths padded to multiples of 16.

    Attributes:
        weight: [padded in, padded out], contiguous.
        bias: [padded out].
        out_width: columns of the result that mean something.
    """

    weight: Tensor
    bias: Tensor
    out_width: int

    @classmethod
    def of(cls, weight_OI: Tensor, bias_O: Tensor, dtype: torch.dtype) -> PaddedLinear:
        """Packs a ``torch.nn.Linear`` weight [out, in]; differentiable in both."""
        out_width, in_width = weight_OI.shape
        rows = padded_width(out_width) - out_width
        columns = padded_width(in_width) - in_width
        weight = nn.functional.pad(weight_OI.to(dtype), (0, columns, 0, rows))
        bias = nn.functional.pad(bias_O.to(dtype), (0, rows))
        return cls(weight.t().contiguous(), bias, out_width)

    def padded(self, x_NK: Tensor) -> Tensor:
        """The result with its padding, [N, padded out]."""
        return torch.addmm(self.bias, pad_columns(x_NK, self.weight.shape[0]), self.weight)

    def __call__(self, x_NK: Tensor) -> Tensor:
        """The result [N, out]."""
        return self.padded(x_NK)[:, : self.out_width]


@dataclass(frozen=True, slots=True)
class PackedNorm:
    """LayerNorm over the last axis, its parameters in the dtype of the arithmetic."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, norm: nn.LayerNorm, dtype: torch.dtype) -> PackedNorm:
        """Packs a LayerNorm with affine parameters."""
        return cls(norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)

    def __call__(self, x_NK: Tensor) -> Tensor:
        """Normalised rows, same shape."""
        width = self.weight.shape[0]
        return nn.functional.layer_norm(x_NK, (width,), self.weight, self.bias, self.eps)


def draw_defaults(layers: nn.Sequential, generator: torch.Generator) -> None:
    """Draws a stack's linear layers, and sets its norms, as PyTorch does by default.

    Weights and biases of a Linear from U(-1/√in, 1/√in); a LayerNorm starts as the identity.
    """
    with torch.no_grad():
        for linear in linears(layers):
            bound = linear.in_features**-0.5
            linear.weight.uniform_(-bound, bound, generator=generator)
            linear.bias.uniform_(-bound, bound, generator=generator)
        for norm in norms(layers):
            norm.weight.fill_(1.0)
            norm.bias.fill_(0.0)


def linears(layers: nn.Sequential) -> list[nn.Linear]:
    """The linear layers of a Sequential, in order."""
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def norms(layers: nn.Sequential) -> list[nn.LayerNorm]:
    """The LayerNorms of a Sequential, in order."""
    return [layer for layer in layers if isinstance(layer, nn.LayerNorm)]
