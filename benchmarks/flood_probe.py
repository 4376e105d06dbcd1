"""Ask a server for ``/livez`` and a list in turns, and print the 99th percentiles of the seconds.

A process of its own, so that it does not wait for the other clients of ``flood``:
``python -m benchmarks.flood_probe URL SECONDS``.
"""

from __future__ import annotations

import sys
import time

import httpx
import numpy as np

PAUSE_SECONDS = 0.05
PATHS = ("/livez", "/v1/runs?limit=20")


def probe(url: str, seconds: float) -> list[float]:
    """Return the 99th percentile of the seconds of each path.

    Args:
        url: address of the server.
        seconds: how long to ask.
    """
    latencies: dict[str, list[float]] = {path: [] for path in PATHS}
    until = time.monotonic() + seconds
    with httpx.Client(base_url=url, timeout=60) as client:
        while time.monotonic() < until:
            for path in PATHS:
                began = time.perf_counter()
                client.get(path).raise_for_status()
                latencies[path].append(time.perf_counter() - began)
            time.sleep(PAUSE_SECONDS)
    return [float(np.percentile(latencies[path], 99)) for path in PATHS]


if __name__ == "__main__":
    sys.stdout.write(" ".join(str(one) for one in probe(sys.argv[1], float(sys.argv[2]))))
