"""``configure_process``: how programs that compute set themselves up; libraries must not."""

from __future__ import annotations

import os
from functools import cache

import torch

from energy_flow.runtime.limits import find_cpu_limit
from energy_flow.runtime.malloc import configure_malloc
from energy_flow.runtime.waiting import WaitControl, find_runtime

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


def configure_process() -> None:
    """Keep freed memory, compute on no more threads than this process has cores, and watch them.

    This changes the whole process. Programs call it once, before they start threads. A number of
    threads or a policy of waiting that the user has set in the environment is kept.
    """
    configure_malloc()
    _limit_threads(find_cpu_limit().threads)
    _control_waiting()


@cache
def _control_waiting() -> None:
    runtime = find_runtime()
    if runtime is not None:
        WaitControl(runtime).start()


def _limit_threads(threads: int) -> None:
    """Limit the threads of torch, and of what is loaded later: Numba, pyarrow and BLAS.

    The libraries respect the affinity by themselves, but no quota.
    """
    if "OMP_NUM_THREADS" in os.environ or torch.get_num_threads() <= threads:
        return
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads))
    torch.set_num_threads(threads)
