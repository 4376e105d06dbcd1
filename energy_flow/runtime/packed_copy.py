"""Copies of many small tensors to a device as one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

ALIGNMENT = 8
"""Bytes to which each tensor is aligned: the largest number."""


def copy_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return tensors of the host on a device; on a CPU they are returned as they are.

    They are packed into one buffer, in memory from which a CUDA device copies by itself, so that
    the host waits for nothing.

    Args:
        tensors: of the host.
        device: where they are to be.
    """
    if device.type == "cpu":
        return list(tensors)
    lengths = [-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in tensors]
    *starts, total = accumulate(lengths, initial=0)
    packed = torch.empty(total, dtype=torch.uint8, pin_memory=torch.cuda.is_available())

    def parts(buffer: Tensor) -> list[Tensor]:
        return [
            buffer[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            for start, tensor in zip(starts, tensors, strict=True)
        ]

    for part, tensor in zip(parts(packed), tensors, strict=True):
        part.copy_(tensor)
    return parts(packed.to(device, non_blocking=True))
