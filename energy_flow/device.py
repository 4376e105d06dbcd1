"""Which device to compute on."""

from __future__ import annotations

import torch

from energy_flow.errors import ConfigError, Fault


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
