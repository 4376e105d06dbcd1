"""``Kernel``: a function over arrays, compiled by Numba at its first use."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow.runtime.preparation import PREPARATION

logger = logging.getLogger("energy_flow.kernels.kernel")

_settings: Any = numba.config


# Numba keeps the number of threads for each calling thread; setting it takes microseconds.
_masked = threading.local()


def array(tensor: Tensor) -> NDArray[Any]:
    """Return the tensor's memory as an array; bfloat16 as uint16."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    return tensor.contiguous().numpy()


class Kernel:
    """A function over arrays that is compiled at its first call for some types.

    Compilation takes some seconds. Machine code is cached beside the source or in the user's cache
    folder, if one of them can be written to.

    Args:
        function: what is compiled.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._compiled: Any = None

    def __call__(self, *arguments: Any) -> None:
        """Run on as many threads as PyTorch's operations, without the interpreter's lock."""
        if self._compiled is None:
            self._compiled = self._prepare()
        threads = torch.get_num_threads()
        if threads != getattr(_masked, "threads", None):
            numba.set_num_threads(min(threads, _settings.NUMBA_NUM_THREADS))
            _masked.threads = threads
        # For each combination of types.
        known, begun = len(self._compiled.overloads), time.perf_counter()
        try:
            self._compiled(*arguments)
        except OSError as error:
            # It was compiled but could not be cached; the next call finds it in memory.
            logger.warning("a compiled kernel could not be cached on disk: %s", error)
            self._compiled(*arguments)
        if len(self._compiled.overloads) != known:
            # The call itself takes milliseconds.
            PREPARATION.add(time.perf_counter() - begun)

    def _prepare(self) -> Any:
        prepare: Any = partial(numba.njit, parallel=True, nogil=True, error_model="numpy")
        try:
            return prepare(self._function, cache=True)
        except RuntimeError as error:
            logger.warning("compiled kernels are not cached on disk: %s", error)
            return prepare(self._function)


def part(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call."""
    return numba.njit(function, error_model="numpy")
