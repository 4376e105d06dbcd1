"""A trained and an untrained model on a server: outputs, flows, traces and a heat map.

    python examples/demo.py [FOLDER]

Starts a server, and looks up words by their definitions with the trained model of
examples/reverse_dictionary. Then it simulates the same definitions with an untrained model, whose
flows move farther and have children. Writes the traces of both and a heat map to FOLDER, by default
build/demo. `make demo` does the same. Needs torch (`pip install "energy-flow[server]"`).
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

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from energy_flow.client import FlowClient, FlowClientError, Simulation

ROOT = Path(__file__).resolve().parent.parent
DICTIONARY = ROOT / "examples" / "reverse_dictionary"
ROWS = 256
"""Definitions that are simulated."""
SHOWN_ROWS = 6
"""Definitions whose words are printed."""
SHOWN_WORDS = 3
"""Nearest words that are printed for a definition."""
SAMPLE = 0
"""Definition whose heat map is drawn, and whose flow is replayed."""
FLOW = 210
"""Flow that is replayed."""
PATH_COLUMNS = ("step", "x", "y", "z", "energy")


def main() -> int:
    """Run the demo, and return the exit code."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    try:
        pairs = load_file(DICTIONARY / "val.safetensors")
        definitions = pairs["inputs"][:ROWS]
        print(f"Starting a server; its log is {log}", flush=True)
        with (
            running_server(DICTIONARY / "model.safetensors", log) as url,
            FlowClient(url) as client,
        ):
            client.wait_until_ready(timeout_seconds=120)
            look_up_words(client, definitions, pairs["targets"], folder)
            show_untrained_model(client, definitions, folder)
    except (FlowClientError, OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        if log.is_file():
            print(f"\nThe server's log, {log}:\n{log.read_text()}", file=sys.stderr)
        return 1
    return 0


def look_up_words(
    client: FlowClient, definitions: NDArray[np.float16], words: NDArray[np.float16], folder: Path
) -> None:
    """Find the words of definitions with the trained model.

    Args:
        client: of the server.
        definitions: embeddings, [rows, components]; row n belongs to row n of ``words``.
        words: embeddings, [words, components]; at least as many as definitions.
        folder: where the trace is written.
    """
    rows, components = definitions.shape
    print(f"\nLooking up {rows} definitions of {components} numbers among {len(words):,} words")
    result = client.simulate(definitions, outputs=["surface", "embedding"], trace={"inline": 0})
    cosines = normalize(result.outputs["embedding"]) @ normalize(words).T
    own = cosines[np.arange(rows), np.arange(rows)]
    ranks = 1 + (cosines > own[:, None]).sum(axis=1)
    # The rank of the right word is 1 if no other word is nearer to the prediction.
    texts = [json.loads(line) for line in (DICTIONARY / "val.jsonl").open(encoding="utf-8")]
    for row in range(SHOWN_ROWS):
        nearest = np.argsort(-cosines[row])[:SHOWN_WORDS]
        print(f"\n  “{texts[row]['definition']}”")
        print(f"    -> {' / '.join(texts[word]['lemmas'] for word in nearest)}")
        print(f"       right: {texts[row]['lemmas']}, rank {ranks[row]}")
    print(
        f"\nThe right word is the nearest for {(ranks == 1).mean():.1%} of all {rows} definitions,"
    )
    print(f"and among the ten nearest for {(ranks <= 10).mean():.1%}")
    print(f"\nModel:       {result.model.name}, trained; see docs/training.md")
    print_metrics(result)
    assert result.run_id is not None
    # The server simulates this sample again, and records the path of one flow.
    path = client.replay(result.run_id, SAMPLE, flow=FLOW).path
    print(f"A flow:      {FLOW} of the first definition")
    for step, *position, energy in zip(*(path[name] for name in PATH_COLUMNS), strict=True):
        place = ", ".join(f"{one:+.3f}" for one in position)
        print(f"             step {step:2}: ({place}), energy {energy:+.4f}")
    trace = client.download_trace(result.run_id, folder / "dictionary_trace.parquet")
    print(f"Event trace: {trace} ({trace.stat().st_size:,} bytes)")


def show_untrained_model(
    client: FlowClient, definitions: NDArray[np.float16], folder: Path
) -> None:
    """Simulate the same definitions with an untrained model.

    Args:
        client: of the server.
        definitions: embeddings, [rows, components].
        folder: where the trace and the heat map are written.
    """
    untrained = client.create_model(
        "untrained", preset="debug", config={"embedding_dim": definitions.shape[1]}
    )
    result = client.simulate(
        definitions,
        outputs=["surface", "hits"],
        trace={"inline": 0},
        seed=0,
        model=untrained.name,
    )
    assert result.run_id is not None
    print(f"\nModel:       {result.model.name}: noise is most of the movement")
    print_metrics(result)
    trace = client.download_trace(result.run_id, folder / "trace.parquet")
    picture = client.download_heat_map(result.run_id, folder / "surface.png", sample=SAMPLE)
    print(f"Event trace: {trace} ({trace.stat().st_size:,} bytes)")
    print(f"Heat map:    {picture}, the surface of the first definition")


@contextmanager
def running_server(model: Path, log: Path) -> Iterator[str]:
    """Run a server in a process of its own until the block ends.

    Args:
        model: checkpoint of the default model.
        log: file for the messages of the server.

    Yields:
        The address of the server.
    """
    with tempfile.TemporaryDirectory(prefix="energy-flow-demo-") as data_dir, log.open("wb") as out:
        command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
        command += ["--model", str(model), "--data-dir", data_dir]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=out, text=True
        ) as server:
            try:
                assert server.stdout is not None
                announcement = server.stdout.readline()
                if "http://" not in announcement:
                    raise RuntimeError(f"the server did not start; see its log, {log}")
                yield announcement.split()[-1]
                server.send_signal(signal.SIGTERM)
                if server.wait(timeout=60) != 0:
                    raise RuntimeError(f"the server ended with the exit code {server.returncode}")
            finally:
                server.kill()


def print_metrics(result: Simulation) -> None:
    """Print the metrics of a run."""
    metrics, memory, timing = result.metrics, result.memory, result.timing
    surface = result.surface
    shape = " × ".join(str(length) for length in surface.shape)
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
    """Return a number of bytes as text."""
    return f"{count / 2**20:.1f} MiB"


def normalize(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the rows with a length of 1."""
    rows64 = rows.astype(np.float64)
    lengths: NDArray[np.float64] = np.linalg.norm(rows64, axis=1, keepdims=True)
    return rows64 / lengths


if __name__ == "__main__":
    sys.exit(main())
