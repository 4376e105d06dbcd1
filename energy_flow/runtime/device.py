"""Which device to compute on, and what it multiplies in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from energy_flow.errors import ConfigError, Fault

BFLOAT16_PRODUCTS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
"""What CPUs call instructions that multiply matrices of bfloat16."""


def resolve_device(name: str) -> str:
    """``auto`` is the first CUDA device where there is one, else the CPU.

    Raises:
        ConfigError: for a name that torch does not know or a device that is not there.
    """
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(Fault(("device",), "must be auto, cpu, cuda or cuda:N", name)) from None
    if device.type not in {"cpu", "cuda"}:
        raise ConfigError(Fault(("device",), "must be auto, cpu, cuda or cuda:N", name))
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ConfigError(Fault(("device",), f"this machine has {count} CUDA devices", name))
        return f"cuda:{device.index or 0}"
    return "cpu"


def product_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """In what matrix products of numbers of ``dtype`` are computed there.

    A CPU without instructions for bfloat16 takes several times as long for it as for float32, which
    holds the same numbers. It follows from the processor alone, never from how busy it is.
    """
    if dtype == torch.bfloat16 and device.type == "cpu":
        return dtype if multiplies_bfloat16(torch.cpu.get_capabilities()) else torch.float32
    return dtype


def multiplies_bfloat16(capabilities: Mapping[str, Any]) -> bool:
    """Whether a CPU with these ``torch.cpu.get_capabilities`` has instructions for bfloat16."""
    return any(capabilities.get(name) for name in BFLOAT16_PRODUCTS)
