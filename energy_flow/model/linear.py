"""Linear and normalisation layers with padded widths, and their initial weights.

On a CPU, a matrix product was seen to round a row differently by its place in a block where an
output is narrow and an input width is not a multiple of 16. So widths are padded with zero rows and
columns, which cost little and change no result.

Shape legend: N rows, I input width, O output width, K padded input width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTH = 16
"""Padded widths are multiples of it."""


def padded_width(width: int) -> int:
    """Return the next multiple of 16, ``width`` itself if it is one."""
    return -(-width // WIDTH) * WIDTH


def pad_columns(x_NK: Tensor, width: int) -> Tensor:
    """Append zero columns up to ``width``; return the tensor itself where none are missing."""
    missing = width - x_NK.shape[1]
    return nn.functional.pad(x_NK, (0, missing)) if missing else x_NK


def constant_columns(rows: int, width: int, like: Tensor) -> Tensor:
    """Return the columns that fill ``width`` up to a multiple of 16: zeros, and ones in the last.

    A product takes its bias from the column of ones, which saves writing the bias to every row
    first. There is at least one column.
    """
    columns = like.new_zeros((rows, padded_width(width + 1) - width))
    columns[:, -1] = 1.0
    return columns


@dataclass(frozen=True, slots=True)
class PaddedLinear:
    """``x @ weight + bias`` with both widths padded to multiples of 16.

    Where the bias has another dtype than the weight, the product is rounded once to the dtype of
    the weight, and the bias is added in its own.

    Attributes:
        weight: [padded in, padded out], contiguous.
        bias: [padded out], in the dtype of the result.
        out_width: columns of the result that are not padding.
    """

    weight: Tensor
    bias: Tensor
    out_width: int

    @classmethod
    def pack(
        cls,
        weight_OI: Tensor,
        bias_O: Tensor,
        dtype: torch.dtype,
        out_dtype: torch.dtype | None = None,
    ) -> PaddedLinear:
        """Pack the weight [out, in] and bias of a ``torch.nn.Linear``; differentiable in both.

        Args:
            weight_OI: of the layer.
            bias_O: of the layer.
            dtype: of the product.
            out_dtype: of the bias and the result, if it is another one.
        """
        out_width, in_width = weight_OI.shape
        rows = padded_width(out_width) - out_width
        columns = padded_width(in_width) - in_width
        bias = nn.functional.pad(bias_O.to(out_dtype or dtype), (0, rows))
        if torch.is_grad_enabled():
            weight = nn.functional.pad(weight_OI.to(dtype), (0, columns, 0, rows))
            return cls(weight.t().contiguous(), bias, out_width)
        # Without another copy, because a large model has most of its weights here.
        packed = weight_OI.new_zeros((in_width + columns, out_width + rows), dtype=dtype)
        packed[:in_width, :out_width] = weight_OI.t()
        return cls(packed, bias, out_width)

    def padded(self, x_NK: Tensor) -> Tensor:
        """Return the result with its padding, [N, padded out]; x has the weight's dtype."""
        x_NK = pad_columns(x_NK, self.weight.shape[0])
        if self.bias.dtype == self.weight.dtype:
            return torch.addmm(self.bias, x_NK, self.weight)
        return torch.mm(x_NK, self.weight).to(self.bias.dtype).add_(self.bias)

    def __call__(self, x_NK: Tensor) -> Tensor:
        """Return the result [N, out]."""
        return self.padded(x_NK)[:, : self.out_width]


@dataclass(frozen=True, slots=True)
class PackedNorm:
    """LayerNorm over the last axis, its parameters in the dtype of the arithmetic.

    ``(x - mean(x)) / √(var(x) + eps) · weight + bias`` with the population variance (Ba, Kiros and
    Hinton, "Layer normalization", 2016).

    Attributes:
        weight: [K].
        bias: [K].
        eps: what is added to the variance.
    """

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def pack(cls, norm: nn.LayerNorm, dtype: torch.dtype) -> PackedNorm:
        """Pack a LayerNorm with affine parameters."""
        return cls(norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)

    def __call__(self, x_NK: Tensor) -> Tensor:
        """Return the normalised rows, [N, K]."""
        width = self.weight.shape[0]
        return nn.functional.layer_norm(x_NK, (width,), self.weight, self.bias, self.eps)


def init_defaults(layers: nn.Sequential, generator: torch.Generator) -> None:
    """Draw a stack's linear layers, and set its norms, as PyTorch does by default.

    Weights and biases of a Linear come from U(-1/√in, 1/√in); a LayerNorm starts as the identity.
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
    """Return the linear layers of a Sequential, in order."""
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def norms(layers: nn.Sequential) -> list[nn.LayerNorm]:
    """Return the LayerNorms of a Sequential, in order."""
    return [layer for layer in layers if isinstance(layer, nn.LayerNorm)]
