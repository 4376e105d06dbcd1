"""The time of compilation is told from that of computing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from energy_flow.runtime.numba_kernel import Kernel
from energy_flow.runtime.preparation import PREPARATION


def fill(target: NDArray[Any], value: float) -> None:
    for place in prange(len(target)):
        target[place] = value


def test_only_calls_that_compile_count() -> None:
    kernel = Kernel(fill)
    target = np.zeros(4, np.float32)
    before = PREPARATION.seconds
    kernel(target, 1.0)
    compiled = PREPARATION.seconds
    assert compiled > before
    kernel(target, 2.0)
    assert PREPARATION.seconds == compiled
    kernel(np.zeros(4, np.float64), 3.0)
    assert PREPARATION.seconds > compiled
    assert target.tolist() == [2.0] * 4
