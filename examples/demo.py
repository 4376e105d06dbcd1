"""Starts a server, sends it real sentence embeddings, and shows what comes back.

    python examples/demo.py [FOLDER]

Writes the event trace and a heat map to FOLDER, by default build/demo. `make demo` runs this.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.numpy import load_file

from service.client import FlowClient, FlowClientError, Simulation

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "examples" / "data"
SAMPLE_DRAWN = 0


def main() -> int:
    """Runs the demo; returns the exit code."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    try:
        embeddings = load_file(DATA / "wordnet_256.safetensors")["inputs"]
        print(f"Starting a server; its log is {log}", flush=True)
        with running_server(embeddings.shape[1], log) as url, FlowClient(url) as client:
            client.wait_until_ready(timeout_seconds=120)
            rows, dimension = embeddings.shape
            print(f"Sending {rows} embeddings of {dimension} numbers to {url}", flush=True)
            result = client.simulate(
                embeddings, outputs=["surface", "hits"], trace={"inline": 0}, seed=0
            )
            assert result.run_id is not None
            trace = client.download_trace(result.run_id, folder / "trace.parquet")
            picture = client.download_heat_map(
                result.run_id, folder / "surface.png", sample=SAMPLE_DRAWN
            )
        show(result)
        print(f"\nEvent trace: {trace} ({trace.stat().st_size:,} bytes)")
        print(f"Heat map:    {picture}, the surface of sample {SAMPLE_DRAWN}, whose text is")
        print(f"             “{definition_of(SAMPLE_DRAWN)}”")
    except (FlowClientError, OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        if log.is_file():
            print(f"\nThe server's log, {log}:\n{log.read_text()}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def running_server(embedding_dim: int, log: Path) -> Iterator[str]:
    """The address of a server that runs until the block ends."""
    with tempfile.TemporaryDirectory(prefix="energy-flow-demo-") as data_dir, log.open("wb") as out:
        command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
        command += ["--set", f"embedding_dim={embedding_dim}", "--data-dir", data_dir]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=out, text=True
        ) as server:
            try:
                assert server.stdout is not None
                announcement = server.stdout.readline()
                if "http://" not in announcement:
                    raise RuntimeError("the server did not start")
                yield announcement.split()[-1]
                server.send_signal(signal.SIGTERM)
                if server.wait(timeout=60) != 0:
                    raise RuntimeError(f"the server ended with {server.returncode}")
            finally:
                server.kill()


def show(result: Simulation) -> None:
    """Prints what came back."""
    metrics, memory, timing = result.metrics, result.memory, result.timing
    surface = result.surface
    shape = " × ".join(str(length) for length in surface.shape)
    print(f"\nModel:       {result.model.name}, untrained: its paths are mostly noise")
    print(f"Surfaces:    {shape}, from {surface.min():.3f} to {surface.max():.3f}")
    print(
        f"Flows:       {metrics.created:,} = {metrics.initial:,} initial"
        f" + {metrics.spawned:,} spawned"
    )
    print(
        f"             {metrics.completed:,} completed, {metrics.stalled:,} stalled,"
        f" after {metrics.mean_path_steps:.2f} steps on average"
    )
    totals, dropped = result.trace.totals, sum(result.trace.dropped.values())
    events = ", ".join(f"{count:,} {kind}" for kind, count in totals.items())
    print(f"Events:      {events}; {dropped:,} dropped")
    for plane, count in metrics.planes.items():
        reasons = ", ".join(
            f"{number:,} {reason}" for reason, number in metrics.exits[plane].items() if number
        )
        print(f"Exits:       {plane:6} {count:,} ({count / metrics.completed:.1%}): {reasons}")
    print(
        f"Memory:      {mebibytes(memory.state_bytes)} of flow state,"
        f" {mebibytes(memory.trace_bytes)} of trace,"
        f" {mebibytes(memory.predicted_bytes)} predicted before the run"
    )
    if memory.device.peak_bytes is not None:
        print(f"             {mebibytes(memory.device.peak_bytes)} at most on the device")
    if memory.host.peak_rss_bytes is not None:
        print(f"             {mebibytes(memory.host.peak_rss_bytes)} at most in the process")
    print(
        f"Speed:       {timing.compute_ms / 1000:.2f} s for {metrics.flow_steps:,} flow-steps,"
        f" {timing.flow_steps_per_second or 0:,.0f} a second"
    )
    for warning in result.warnings:
        print(f"Warning:     {warning}")


def mebibytes(count: int) -> str:
    """Bytes, for people."""
    return f"{count / 2**20:.1f} MiB"


def definition_of(sample: int) -> str:
    """The text behind an embedding."""
    lines = (DATA / "wordnet_256.jsonl").read_text(encoding="utf-8").splitlines()
    return str(json.loads(lines[sample])["definition"])


if __name__ == "__main__":
    sys.exit(main())
