"""Which device to compute on, and the dtype of its matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from energy_flow.errors import ConfigError, Fault

BFLOAT16_PRODUCTS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
"""Instructions for products of bfloat16, as ``torch.cpu.get_capabilities`` names them."""
_ALLOWED = "must be auto, cpu, cuda or cuda:N"


def resolve_device(name: str) -> str:
    """Return the device that a name stands for: ``cpu`` or ``cuda:N``.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:N``, or ``auto`` for the first CUDA device if there is one,
            else the CPU.

    Raises:
        ConfigError: there is no such name, or no such device.
    """
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(Fault(("device",), _ALLOWED, name)) from None
    if device.type not in {"cpu", "cuda"}:
        raise ConfigError(Fault(("device",), _ALLOWED, name))
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ConfigError(
                Fault(("device",), f"this machine has {count} CUDA devices; use cpu or auto", name)
            )
        return f"cuda:{device.index or 0}"
    return "cpu"


def product_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype in which matrix products are computed.

    A CPU without instructions for bfloat16 takes several times as long for it as for float32, which
    holds the same numbers. The result depends on the processor alone, never on its load.

    Args:
        dtype: of the numbers.
        device: where they are multiplied.
    """
    if dtype == torch.bfloat16 and device.type == "cpu":
        return dtype if multiplies_bfloat16(torch.cpu.get_capabilities()) else torch.float32
    return dtype


def sum_products_in_float32(device: torch.device) -> None:
    """Let sums of products of bfloat16 on a CUDA device be float32, in this process.

    By default cuBLAS may add parts of them in bfloat16.

    Args:
        device: where products are computed; nothing is set for a CPU.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def product_flags() -> tuple[object, ...]:
    """Return the settings of this process that can change the bits of matrix products."""
    cuda = torch.backends.cuda.matmul
    # Its members are made when it is imported.
    cpu: Any = torch.backends.mkldnn
    return (
        torch.get_num_threads(),
        cuda.fp32_precision,
        cuda.allow_bf16_reduced_precision_reduction,
        str(torch.backends.cuda.preferred_blas_library()),
        cpu.enabled,
        cpu.matmul.fp32_precision,
    )


def multiplies_bfloat16(capabilities: Mapping[str, Any]) -> bool:
    """Return whether a CPU has instructions for matrix products of bfloat16.

    Args:
        capabilities: what ``torch.cpu.get_capabilities`` returns.
    """
    return any(capabilities.get(name) for name in BFLOAT16_PRODUCTS)
