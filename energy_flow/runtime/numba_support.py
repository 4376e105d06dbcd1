"""Whether passes compiled by Numba can be used; imports Numba only to find out."""

from __future__ import annotations

import logging
import sys
from functools import cache
from importlib import import_module
from typing import Any

import torch

logger = logging.getLogger("energy_flow.kernels.kernel")


def supports_numba(device: torch.device) -> bool:
    """Return whether compiled passes can replace tensor operations: on a CPU, under Linux.

    Args:
        device: where the tensors are.
    """
    return device.type == "cpu" and _shares_threads()


@cache
def _shares_threads() -> bool:
    """Return whether Numba's threads can be PyTorch's.

    PyTorch's operations wait for work by spinning, so a second set of threads would compete with
    them. Under Linux both use the one OpenMP library of the process, and with it the same threads;
    no other threads of Numba's may be called from several threads at once, as the server does.
    """
    if sys.platform != "linux":
        return False
    try:
        numba: Any = import_module("numba")
    except ImportError:
        logger.warning("numba is not installed; steps on a CPU take longer without it")
        return False
    try:
        import_module("numba.np.ufunc.omppool")
    except ImportError as error:
        logger.warning(
            "steps take longer than they need to, because the OpenMP runtime of GCC is missing "
            "(on Debian and Ubuntu: apt-get install libgomp1): %s",
            error,
        )
        return False
    numba.config.THREADING_LAYER = "omp"
    return True
