"""The kind of a worker: what decides the bits of its results besides their inputs."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import PackageNotFoundError, version

import torch

from energy_flow.choices import ARITHMETIC
from energy_flow.runtime.limits import computing_threads

_MKL = re.compile(r"Math Kernel Library Version (\S+)")
_LENGTH = 12


def find_kind(device: torch.device) -> str:
    """Return the kind of a worker, a hash in hexadecimal; results of equal kinds have equal bits.

    Args:
        device: where the worker computes.
    """
    facts = json.dumps(_find_facts(device), sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:_LENGTH]


def _find_facts(device: torch.device) -> dict[str, str | int | None]:
    """Return what differs between kinds."""
    found = _MKL.search(torch.__config__.show())
    is_cuda = device.type == "cuda"
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "arithmetic": ARITHMETIC,
        "torch": torch.__version__,
        "numba": _find_version("numba"),
        "mkl": None if found is None else found[1],
        "device": device.type,
        "processor": torch.cuda.get_device_name(device) if is_cuda else capability,
        "threads": computing_threads(),
    }


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
