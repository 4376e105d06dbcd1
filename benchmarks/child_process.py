"""Measurements in a process of their own, with nothing else in its memory."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import torch

from benchmarks.workload import ROOT
from energy_flow.runtime.process import configure_process

LIMIT_SECONDS = 1800


def run_child(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module in a new process, and return the JSON object in its last line of output.

    Args:
        module: name of the module.
        arguments: of its command line; the number of threads is added.

    Raises:
        RuntimeError: the module failed.
    """
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--threads", str(torch.get_num_threads())],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    if ended.returncode != 0:
        raise RuntimeError(f"{module} failed with the exit code {ended.returncode}; see above")
    figures: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def begin_child(about: str | None, **arguments: type[str] | type[int]) -> argparse.Namespace:
    """Set this process up as a server does, and return the arguments of its command line.

    Args:
        about: description of the module.
        arguments: types by name, in their order.
    """
    parser = argparse.ArgumentParser(description=about)
    for name, kind in arguments.items():
        parser.add_argument(name, type=kind)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    configure_process()
    return parsed
