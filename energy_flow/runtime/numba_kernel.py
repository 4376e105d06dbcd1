"""How a pass is compiled, kept and run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import torch
from numpy.typing import NDArray
from torch import Tensor

logger = logging.getLogger("energy_flow.kernels.kernel")

_settings: Any = numba.config


# Numba keeps the number of threads for each thread that calls; telling it takes microseconds.
_masked = threading.local()


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
