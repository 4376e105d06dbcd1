"""``trace_formats``: downloads of a large trace.

Measures: a trace of a million records from a server in each format. Unit: seconds, bytes of the
file, and bytes of the server's peak memory. Baseline: for times, the formats among each other; for
memory, that of the idle server just before the request, and after its start.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.options import Findings, Options
from benchmarks.resident import peak_bytes, reset_peak, resident_bytes
from benchmarks.server_process import RunningServer, energy_flow_server
from benchmarks.tables import print_line, show
from benchmarks.workload import embeddings
from energy_flow.choices import TraceFormat, names_of
from energy_flow.client import FlowClient

FORMATS = names_of(TraceFormat)
ROWS = 640
RECORDS = 1_000_000
SMALL_NETWORKS = (
    "carrier_hidden_size=32",
    "carrier_num_layers=1",
    "mapper_hidden_dim=64",
    "trace.keep=lossless",
)
"""A model with small networks: they need time, and a trace does not depend on their size."""
MEBIBYTE = 2**20


def measure(options: Options) -> Findings:
    """Run a simulation on a server, then download its trace in every format.

    Args:
        options: how to measure.
    """
    with (
        energy_flow_server(options.device, *SMALL_NETWORKS) as server,
        FlowClient(server.url) as client,
        tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder,
    ):
        client.wait_until_ready(60)
        started = resident_bytes(server.pid)
        print_line(f"trace_formats: a run of {ROWS} samples")
        run = client.submit_run(embeddings(ROWS), seed=1)
        ended = client.wait(run.run_id)
        records = sum(ended.data["trace"]["recorded"].values())
        if records < RECORDS:
            raise RuntimeError(
                f"the run has {records:,} records, fewer than {RECORDS:,}; raise ROWS"
            )
        downloads = {}
        for name in FORMATS:
            print_line(f"trace_formats: {name}")
            downloads[name] = _download(client, server, run.run_id, Path(folder), name, started)
        filtered = _download_filtered(client, server, run.run_id, Path(folder), started)
        one = _one_sample(client, server, run.run_id, Path(folder), downloads["parquet"]["bytes"])
    show(
        f"A trace of {records:,} records over HTTP",
        ("format", "seconds", "MiB", "peak above idle, MiB", "peak above start, MiB"),
        [
            (
                name,
                one_format["seconds"],
                one_format["bytes"] / MEBIBYTE,
                one_format["above_before_bytes"] / MEBIBYTE,
                one_format["above_start_bytes"] / MEBIBYTE,
            )
            for name, one_format in {**downloads, "parquet, filtered": filtered}.items()
        ],
        f"one sample as Parquet: {one['bytes_read']:,} bytes read of the stored "
        f"{one['stored_bytes']:,} ({one['share']:.2%}), {one['records']:,} records",
    )
    figures = {
        "records": records,
        "formats": downloads,
        "filtered_parquet": filtered,
        "one_sample": one,
    }
    return Findings({"samples": ROWS, "changes": list(SMALL_NETWORKS)}, figures)


def _download(
    client: FlowClient,
    server: RunningServer,
    run_id: str,
    folder: Path,
    name: str,
    started: int,
    **filters: Any,
) -> dict[str, Any]:
    path = folder / f"trace.{name}"
    before = resident_bytes(server.pid)
    reset_peak(server.pid)
    began = time.perf_counter()
    client.download_trace(run_id, path, format=name, **filters)
    seconds = time.perf_counter() - began
    peak = peak_bytes(server.pid)
    size = path.stat().st_size
    path.unlink()
    return {
        "seconds": round(seconds, 3),
        "bytes": size,
        "above_before_bytes": max(peak - before, 0),
        "above_start_bytes": max(peak - started, 0),
    }


def _download_filtered(
    client: FlowClient, server: RunningServer, run_id: str, folder: Path, started: int
) -> dict[str, Any]:
    """Download Parquet that the server writes for the request, because it has a filter."""
    return _download(client, server, run_id, folder, "parquet", started, limit=RECORDS)


def _one_sample(
    client: FlowClient, server: RunningServer, run_id: str, folder: Path, stored: int
) -> dict[str, Any]:
    """Return how many bytes the server reads to answer with the records of one sample."""
    path = folder / "one.parquet"
    client.download_trace(run_id, path, sample=ROWS // 2)  # caches what is read only once
    process = psutil.Process(server.pid)
    before = process.io_counters().read_chars
    client.download_trace(run_id, path, sample=ROWS // 2)
    read = process.io_counters().read_chars - before
    records = len(np.unique(client.trace(run_id, sample=ROWS // 2)["seq"]))
    return {
        "bytes_read": read,
        "stored_bytes": stored,
        "share": read / stored,
        "records": records,
    }
