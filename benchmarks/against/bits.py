"""``bits``: whether both versions compute the same bits.

Measures: digests of all outputs, trace records and counters of simulations with equal inputs. Unit:
equal or not. Baseline: the other version.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.against.version import Version
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import all_embeddings
from energy_flow import pretrained

RANDOM_CONFIGS = 10


def measure(versions: Mapping[str, Version], options: Options) -> Findings:
    """Simulate the same inputs in both versions, and compare digests of the results.

    Args:
        versions: this version and the other, by name.
        options: how to measure.

    Raises:
        RuntimeError: a version could not simulate.
    """
    digests = {}
    with TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        rows = Path(folder) / "embeddings.npy"
        np.save(rows, all_embeddings())
        for name, version in versions.items():
            print_line(f"bits: simulating with version '{name}'")
            digests[name] = _digests(version, rows, options.device)
    this, other = digests.values()
    # A case is null where a version is older than the model's format.
    equal = {case: this[case] == other[case] for case in this if this[case] and other[case]}
    show("Equal bits in both versions", ("simulation", "equal"), equal.items())
    config = {"random_configs": RANDOM_CONFIGS}
    return Findings(config, {"equal": equal, "all_equal": all(equal.values())})


def _digests(version: Version, rows: Path, device: str) -> dict[str, Any]:
    model = pretrained.find("dictionary").checkpoint
    arguments = (str(rows), device, str(version.threads), str(RANDOM_CONFIGS), str(model))
    ended = subprocess.run(
        version.command("bits", *arguments),
        env=version.environment(),
        cwd=rows.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise RuntimeError(f"version '{version.name}' failed: {ended.stderr.strip()}")
    digests: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return digests
