"""How a pass is compiled, kept and run."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numba
import torch
from numpy.typing import NDArray
from torch import Tensor

logger = logging.getLogger(__name__)

_settings: Any = numba.config


# Numba keeps the number of threads for each thread that calls; telling it takes microseconds.
_masked = threading.local()


def runs_on(device: torch.device) -> bool:
    """Whether kernels can stand in for tensor operations there: on a CPU, under Linux."""
    return device.type == "cpu" and _shares_threads()


@cache
def _shares_threads() -> bool:
    """Whether Numba's threads can be PyTorch's.

    PyTorch's operations wait for work by spinning, so a second set of threads would fight them.
    Under Linux both find one OpenMP library in the process, and with it the same threads; no other
    threads of Numba's may be called from several threads at once, as the server does.
    """
    if sys.platform != "linux":
        return False
    try:
        importlib.import_module("numba.np.ufunc.omppool")
    except ImportError as error:
        logger.warning(
            "steps take longer than they need to, because the OpenMP runtime of GCC is missing "
            "(on Debian and Ubuntu: apt-get install libgomp1): %s",
            error,
        )
        return False
    _settings.THREADING_LAYER = "omp"
    return True


def array(tensor: Tensor) -> NDArray[Any]:
    """The tensor's memory as an array; of bfloat16, its 16 bits."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    return tensor.contiguous().numpy()


class Kernel:
    """A function over arrays that is compiled when it is first called for some types.

    Machine code is kept beside the source, or in the user's cache folder, where either can be
    written to; it takes some seconds to make.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._compiled: Callable[..., None] | None = None

    def __call__(self, *arguments: Any) -> None:
        """Runs on as many threads as PyTorch's operations, and without the interpreter's lock."""
        if self._compiled is None:
            self._compiled = self._prepared()
        threads = torch.get_num_threads()
        if threads != getattr(_masked, "threads", None):
            numba.set_num_threads(min(threads, _settings.NUMBA_NUM_THREADS))
            _masked.threads = threads
        try:
            self._compiled(*arguments)
        except OSError as error:
            # It was compiled and could not be kept; from now on it is there.
            logger.warning("a compiled kernel could not be kept on disk: %s", error)
            self._compiled(*arguments)

    def _prepared(self) -> Any:
        prepare: Any = partial(numba.njit, parallel=True, nogil=True, error_model="numpy")
        try:
            return prepare(self._function, cache=True)
        except RuntimeError as error:
            logger.warning("compiled kernels are not kept on disk: %s", error)
            return prepare(self._function)


def part(function: Callable[..., Any]) -> Any:
    """A function that kernels are made of."""
    return numba.njit(function, error_model="numpy")
