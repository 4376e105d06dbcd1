"""Which threads compute."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def run_in_temporary_thread(work: Callable[[], T]) -> T:
    """Does some work on a thread that ends with it, and waits for it.

    OpenMP gives every thread that computes a team of its own, for as long as that thread lives.
    Once all teams together have more threads than the machine has cores, they no longer spin while
    they wait for work but sleep, and steps on a CPU take longer. So a program that steps on one
    thread does on this one what it computes besides.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="energy-flow-temporary") as thread:
        return thread.submit(work).result()
