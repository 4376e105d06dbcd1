"""Suspension of processes while another one is measured."""

from __future__ import annotations

import psutil


def suspend(pid: int) -> None:
    """Suspend a process and all processes that it has started.

    Args:
        pid: id of the process.
    """
    for process in process_tree(pid):
        process.suspend()


def resume(pid: int) -> None:
    """Resume a process and all processes that it has started.

    Args:
        pid: id of the process.
    """
    for process in process_tree(pid):
        process.resume()


def process_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all processes that it has started.

    Args:
        pid: id of the process.
    """
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
