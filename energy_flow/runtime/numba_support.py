"""Whether kernels compiled by Numba can be used; Numba is imported only to find out."""

from __future__ import annotations

import logging
import sys
from functools import cache
from importlib import import_module
from typing import Any

import torch

logger = logging.getLogger("energy_flow.kernels.kernel")


def supports_numba(device: torch.device) -> bool:
    """Return whether compiled kernels can replace tensor operations: on a CPU, under Linux.

    Args:
        device: where the tensors are.
    """
    return device.type == "cpu" and _shares_threads()


@cache
def _shares_threads() -> bool:
    """Return whether Numba can use the threads of PyTorch.

    PyTorch's threads wait for work by spinning, so a second set of threads would compete with them.
    Under Linux both use the one OpenMP library of the process, and so the same threads. Numba's
    other kinds of threads cannot be called from several threads at once, as the server does.
    """
    if sys.platform != "linux":
        return False
    try:
        numba: Any = import_module("numba")
    except ImportError:
        logger.warning(
            "numba is not installed, so steps on a CPU take longer; install energy-flow[sim]"
        )
        return False
    try:
        import_module("numba.np.ufunc.omppool")
    except ImportError as error:
        logger.warning(
            "the OpenMP runtime of GCC is missing, so steps on a CPU take longer; install it "
            "(on Debian and Ubuntu: apt-get install libgomp1): %s",
            error,
        )
        return False
    numba.config.THREADING_LAYER = "omp"
    return True
