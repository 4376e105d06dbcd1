"""A trace of a million records from a server in each format: time, size, and the server's memory.

The baseline of memory is what the idle server holds just before it is asked, and when it started.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.options import Findings, Options
from benchmarks.server_process import RunningServer, energy_flow_server
from benchmarks.tables import say, show
from benchmarks.workload import embeddings
from energy_flow.client import FlowClient

FORMATS = ("parquet", "arrow", "ndjson", "csv", "perfetto")
ROWS = 640
RECORDS = 1_000_000
SMALL_NETWORKS = (
    "carrier_hidden_size=32",
    "carrier_num_layers=1",
    "mapper_hidden_dim=64",
    "trace.keep=lossless",
)
"""What the networks do takes time and adds nothing to a trace."""
MEBIBYTE = 2**20


def measure(options: Options) -> Findings:
    """Runs once, then reads the trace in every format."""
    with (
        energy_flow_server(options.device, *SMALL_NETWORKS) as server,
        FlowClient(server.url) as client,
        tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder,
    ):
        client.wait_until_ready(60)
        started = _resident(server)
        say(f"trace_formats: a run of {ROWS} samples")
        run = client.submit_run(embeddings(ROWS), seed=1)
        ended = client.wait(run.run_id)
        records = sum(ended.data["trace"]["recorded"].values())
        if records < RECORDS:
            raise RuntimeError(f"the run made {records:,} records, fewer than {RECORDS:,}")
        read = {}
        for name in FORMATS:
            say(f"trace_formats: {name}")
            read[name] = _read(client, server, run.run_id, Path(folder), name, started)
        again = _reread(client, server, run.run_id, Path(folder), started)
        one = _one_sample(client, server, run.run_id, Path(folder), read["parquet"]["bytes"])
    show(
        f"A trace of {records:,} records over HTTP",
        ("format", "seconds", "MiB", "peak above before, MiB", "peak above the start, MiB"),
        [
            (
                name,
                one_format["seconds"],
                one_format["bytes"] / MEBIBYTE,
                one_format["above_before_bytes"] / MEBIBYTE,
                one_format["above_start_bytes"] / MEBIBYTE,
            )
            for name, one_format in {**read, "parquet, filtered": again}.items()
        ],
        f"one sample as Parquet: {one['bytes_read']:,} bytes read of the stored "
        f"{one['stored_bytes']:,} ({one['share']:.2%}), {one['records']:,} records",
    )
    figures = {"records": records, "formats": read, "filtered_parquet": again, "one_sample": one}
    return Findings({"samples": ROWS, "changes": list(SMALL_NETWORKS)}, figures)


def _read(
    client: FlowClient,
    server: RunningServer,
    run_id: str,
    folder: Path,
    name: str,
    started: int,
    **filters: Any,
) -> dict[str, Any]:
    path = folder / f"trace.{name}"
    before = _resident(server)
    _forget_peak(server)
    began = time.perf_counter()
    client.download_trace(run_id, path, format=name, **filters)
    seconds = time.perf_counter() - began
    peak = _peak(server)
    size = path.stat().st_size
    path.unlink()
    return {
        "seconds": round(seconds, 3),
        "bytes": size,
        "above_before_bytes": max(peak - before, 0),
        "above_start_bytes": max(peak - started, 0),
    }


def _reread(
    client: FlowClient, server: RunningServer, run_id: str, folder: Path, started: int
) -> dict[str, Any]:
    """Parquet that the server writes anew, because of a filter that keeps almost all."""
    return _read(client, server, run_id, folder, "parquet", started, limit=RECORDS)


def _one_sample(
    client: FlowClient, server: RunningServer, run_id: str, folder: Path, stored: int
) -> dict[str, Any]:
    """What the server's process reads to answer for one sample."""
    path = folder / "one.parquet"
    client.download_trace(run_id, path, sample=ROWS // 2)  # whatever is read once only
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


def _resident(server: RunningServer) -> int:
    return int(psutil.Process(server.pid).memory_info().rss)


def _forget_peak(server: RunningServer) -> None:
    clear = Path(f"/proc/{server.pid}/clear_refs")
    if clear.exists():
        clear.write_text("5", encoding="ascii")


def _peak(server: RunningServer) -> int:
    """The largest resident size since :func:`_forget_peak`; elsewhere than on Linux, now."""
    status = Path(f"/proc/{server.pid}/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return _resident(server)
