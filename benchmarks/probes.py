"""``probes``: how long a server answers no others while it has a request of an odd shape.

Measures: the longest time from a probe of ``/livez`` to its answer, and the longest time that the
server was busy between two answers, by shape of a request that is sent meanwhile. Unit:
milliseconds. Baseline: the limit of 250 ms.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.options import Findings, Options
from benchmarks.probe_shapes import DIMENSION, SHAPES, make_dataset
from benchmarks.prober import exchange, probe_during
from benchmarks.server_process import running
from benchmarks.tables import show

LIMIT_MS = 250


def measure(options: Options) -> Findings:
    """Send requests of odd shapes to a server, one after the other, and probe it meanwhile.

    Args:
        options: how to measure.
    """
    with tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
        command += ["--data-dir", str(Path(folder) / "data"), "--device", options.device]
        command += ["--set", f"embedding_dim={DIMENSION}"]
        with running(command, Path(folder) / "server.log") as server:
            while httpx.get(f"{server.url}/readyz").status_code != 200:
                time.sleep(0.1)
            exchange(server.url, make_dataset())
            found = {shape.name: _probe(server.url, server.pid, shape.make()) for shape in SHAPES}
    show(
        "Requests of odd shapes",
        ("request", "status", "answered after, ms", "probe, most ms", "busy, most ms"),
        [(name, *one.values()) for name, one in found.items()],
        note=f"The limit of the last column is {LIMIT_MS} ms; the others depend on other work of "
        "the machine, too.",
    )
    return Findings({"shapes": len(SHAPES)}, {"limit_ms": LIMIT_MS, "requests": found})


def _probe(url: str, pid: int, request: bytes) -> dict[str, Any]:
    probed = probe_during(url, pid, request)
    return {
        "status": probed.status,
        "answered_ms": round(probed.seconds * 1e3),
        "delay_ms": round(probed.delay_seconds * 1e3),
        "busy_ms": round(probed.busy_seconds * 1e3),
    }
