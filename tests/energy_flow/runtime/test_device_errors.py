"""Errors of allocators and devices are known, in every spelling."""

from __future__ import annotations

import errno
import mmap
import weakref

import numpy as np
import pytest
import torch

from energy_flow.runtime.device_errors import clear_frames, is_device_lost, is_out_of_memory

CPU = torch.device("cpu")

SHORT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 10 GiB",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "HIP out of memory. Tried to allocate 2.00 GiB",
    "HIP error: out of memory",
    "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
    "MPS backend out of memory (MPS allocated: 18 GB, other allocations: 1 GB)",
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4000 bytes. Error code 12 (Cannot allocate memory)",
    "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried",
    "std::bad_alloc",
    "Unable to allocate 8.00 EiB for an array with shape (1,)",
    "unable to mmap 100 bytes: Cannot allocate memory (12)",
)
LOST = (
    "CUDA error: device-side assert triggered\nCUDA kernel errors might be",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: unspecified launch failure",
    "CUDA error: uncorrectable ECC error encountered",
    "CUDA error: the launch timed out and was terminated",
    "Vulkan error: device lost",
)


@pytest.mark.parametrize("message", SHORT_OF_MEMORY)
def test_spellings_of_out_of_memory(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))
    assert not is_device_lost(RuntimeError(message), CPU)


@pytest.mark.parametrize("message", LOST)
def test_spellings_of_a_lost_device(message: str) -> None:
    assert is_device_lost(RuntimeError(message), torch.device("cuda:0"))
    assert not is_out_of_memory(RuntimeError(message))


def test_operations_that_really_fail() -> None:
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**50)
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(2**57)
    with pytest.raises(OSError) as of_the_system:  # noqa: PT011
        mmap.mmap(-1, 2**60)
    for refusal in (of_torch, of_numpy, of_the_system):
        assert is_out_of_memory(refusal.value), refusal.value
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))


def test_other_errors_are_neither() -> None:
    with pytest.raises(RuntimeError) as refusal:
        torch.ones(2, 3) @ torch.ones(2, 3)
    for error in (refusal.value, ValueError("out of memory"), OSError(errno.ENOSPC, "full")):
        assert not is_out_of_memory(error)
        assert not is_device_lost(error, CPU)


def test_after_an_unknown_error_a_computation_on_the_device_decides() -> None:
    # The meta device computes, and has no values to return: a failure that is not of this error.
    assert is_device_lost(RuntimeError("something new"), torch.device("meta"))


def test_frames_let_go_of_their_tensors() -> None:
    kept: list[weakref.ref[torch.Tensor]] = []

    def fail() -> None:
        tensor = torch.ones(4)
        kept.append(weakref.ref(tensor))
        try:
            torch.empty(2**50)
        except RuntimeError as error:
            raise ValueError("wrapped") from error

    with pytest.raises(ValueError, match="wrapped") as refusal:
        fail()
    assert kept[0]() is not None
    clear_frames(refusal.value)
    assert kept[0]() is None
