"""What an error of a device or an allocator means: out of memory, or a device that is lost."""

from __future__ import annotations

import errno
import traceback

import torch

OUT_OF_MEMORY_TEXTS = (
    # "CUDA out of memory", "CUDA error: out of memory", and the same of HIP, XPU and MPS.
    "out of memory",
    # torch's allocator of a CPU, under Linux and macOS, and under Windows.
    "can't allocate memory",
    "not enough memory",
    # The system: fork, mmap, pinned memory.
    "cannot allocate memory",
    # Libraries of CUDA and HIP: cuBLAS, cuDNN, cuSOLVER, cuFFT, hipBLAS, MIOpen.
    "_alloc_failed",
    "_allocation_failed",
    "miopenstatusallocfailed",
    # Of C++.
    "bad_alloc",
    # Of numpy, where only the text of its error is left.
    "unable to allocate",
)
"""Parts of messages of errors of which memory is the cause, in lower case."""

LOST_DEVICE_TEXTS = (
    "device-side assert",
    "illegal memory access",
    "illegal address",
    "illegal instruction",
    "misaligned address",
    "invalid program counter",
    "invalid address space",
    "hardware stack error",
    "unspecified launch failure",
    "launch timed out",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "device lost",
    "device is lost",
    "device has been lost",
    "gpu is lost",
    "context is destroyed",
    "driver shutting down",
)
"""Parts of messages after which a process can use the device no more, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory of the device or the host is what an error lacked.

    Args:
        error: of torch, numpy, the system or a library of a device.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _has_one_of(OUT_OF_MEMORY_TEXTS, error)


def is_device_lost(error: BaseException, device: torch.device) -> bool:
    """Return whether no further work can succeed on a device.

    After an error with an unknown message, a small computation on the device decides.

    Args:
        error: of an operation on the device.
        device: where it happened.
    """
    if isinstance(error, RuntimeError) and _has_one_of(LOST_DEVICE_TEXTS, error):
        return True
    if device.type == "cpu" or not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return False
    try:
        return int(torch.ones(1, device=device).sum().item()) != 1
    except RuntimeError as second:
        return not is_out_of_memory(second)


def clear_frames(error: BaseException) -> None:
    """Let go of the tensors that the functions of an error's tracebacks held.

    Args:
        error: an error that was caught; its tracebacks can still be printed.
    """
    chained: BaseException | None = error
    while chained is not None:
        traceback.clear_frames(chained.__traceback__)
        chained = chained.__cause__ or chained.__context__


def _has_one_of(texts: tuple[str, ...], error: BaseException) -> bool:
    message = str(error).lower()
    return any(text in message for text in texts)
