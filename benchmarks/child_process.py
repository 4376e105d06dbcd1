"""Measurements that need a process of their own, with nothing else in its memory."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import torch

from benchmarks.workload import ROOT
from energy_flow.runtime.malloc import keep_freed

LIMIT_SECONDS = 1800


def child_told(module: str, *arguments: str) -> dict[str, Any]:
    """Runs a module with these arguments and the number of threads; gives back what it tells.

    Its last line of output is one JSON object.

    Raises:
        RuntimeError: it failed.
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
        raise RuntimeError(f"{module} ended with {ended.returncode}")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def begin(about: str | None, **arguments: type[str] | type[int]) -> argparse.Namespace:
    """What such a module was asked for; the process is set up as a server's is.

    Args:
        arguments: in their order, after which come the threads.
    """
    parser = argparse.ArgumentParser(description=about)
    for name, kind in arguments.items():
        parser.add_argument(name, type=kind)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed()
    return asked
