"""Servers that stand still while another one is measured."""

from __future__ import annotations

import psutil


def suspend(pid: int) -> None:
    """Stop a process and all that it has started, where they are."""
    for process in process_tree(pid):
        process.suspend()


def resume(pid: int) -> None:
    """Let them go on."""
    for process in process_tree(pid):
        process.resume()


def process_tree(pid: int) -> list[psutil.Process]:
    """Return the process with all that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
