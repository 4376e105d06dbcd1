"""Threads for computations beside those that step flows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def run_in_temporary_thread(work: Callable[[], T]) -> T:
    """Return the result of some work, done on a thread that then ends.

    OpenMP gives every thread that computes a team of threads, which lives as long as that thread.
    When all teams together have more threads than the machine has cores, waiting threads sleep
    instead of spinning, and steps on a CPU take longer. So a program that steps flows on one thread
    does other computations in temporary threads.

    Args:
        work: what is computed.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="energy-flow-temporary") as thread:
        return thread.submit(work).result()
