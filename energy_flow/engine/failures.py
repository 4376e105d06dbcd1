"""What an exception on the engine's thread means for a run and for the engine."""

from __future__ import annotations

import torch

from energy_flow.errors import DeviceMemoryError, EnergyFlowError, EngineFailed
from energy_flow.runtime.device_errors import clear_frames, is_device_lost, is_out_of_memory


def require_device(error: BaseException, device: torch.device) -> None:
    """Raise if the device cannot be used any more after an error.

    Args:
        error: of work on the device.
        device: the engine's device.

    Raises:
        EngineFailed: no further work can succeed.
    """
    if is_device_lost(error, device):
        raise EngineFailed(f"device {device} was lost: {first_line(error)}") from error


def as_energy_flow_error(error: BaseException) -> EnergyFlowError:
    """Return why a run fails: the error itself if it is an ``EnergyFlowError``, else a new one.

    The tensors of the functions that failed are let go.

    Args:
        error: an error that was caught.
    """
    clear_frames(error)
    if isinstance(error, EnergyFlowError):
        return error
    if is_out_of_memory(error):
        return DeviceMemoryError(f"the device or the host ran out of memory: {first_line(error)}")
    wrapped = EnergyFlowError(f"{type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def first_line(error: BaseException) -> str:
    """Return the name and the first line of an error; CUDA's errors have several lines."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
