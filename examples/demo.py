"""The trained models of Energy Flow on a server: what they predict, and what their flows do.

    python examples/demo.py [FOLDER]

Starts a server. The spectrometer gets pictures, and its flows carry them to two detectors; then the
same with spawning, so that all kinds of events are seen. The dictionary looks words up by their
definitions. Pictures, traces and the data of the server are in FOLDER, by default build/demo.
`make demo` does the same. Needs torch (`pip install "energy-flow[server]"`).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from energy_flow.client import FlowClient, FlowClientError, Simulation

ROOT = Path(__file__).resolve().parent.parent
WORDS = ROOT / "examples" / "reverse_dictionary"
ROWS = 256
"""Definitions that are looked up."""
SHOWN_ROWS = 6
"""Definitions whose words are printed."""
SHOWN_WORDS = 3
"""Nearest words that are printed for a definition."""
SIDE = 10
"""Cells of a side of a picture."""
SAMPLE = 0
"""Picture that is shown; it has a blob of either sign."""
STRONG = 0.05
"""Energy from which a flow is counted as charged; most cells of a picture are near 0."""
SPAWNING = {"spawn": {"mode": "threshold", "threshold": 0.2}}
"""Options of a run with children; the spectrometer was trained without."""
POSITIVE, NEGATIVE = " .+*#", " .-=%"
"""Characters for cells of 0, up to a quarter of the largest magnitude, up to a half, and so on."""
PATH_COLUMNS = ("step", "x", "y", "z", "energy")

Pictures = NDArray[np.float32]


def main() -> int:
    """Run the demo, and return the exit code."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    try:
        print(f"Starting a server; its log is {log}", flush=True)
        with running_server(folder / "data", log) as url, FlowClient(url) as client:
            client.wait_until_ready(timeout_seconds=120)
            run_id = show_spectrometer(client, folder)
            look_up_words(client, folder)
    except (FlowClientError, OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        if log.is_file():
            print(f"\nThe server's log, {log}:\n{log.read_text()}", file=sys.stderr)
        return 1
    print("\nTo see the flows of the picture in 3D, start the server again with these runs:")
    print(f"    energy-flow serve --data-dir {folder / 'data'}")
    print(f"    http://127.0.0.1:8000/#/runs/{run_id}/lattice?sample={SAMPLE}")
    return 0


def show_spectrometer(client: FlowClient, folder: Path) -> str:
    """Simulate pictures, with and without spawning.

    Args:
        client: of the server.
        folder: where pictures and traces are written.

    Returns:
        The id of the run without spawning.
    """
    print_title("The spectrometer: pictures in, two detector pictures out")
    sample = client.sample_rows("spectrometer")
    assert sample.targets is not None
    result = simulate(client, sample.inputs)
    assert result.run_id is not None
    pictures = {
        "picture": sample.inputs[SAMPLE].reshape(SIDE, SIDE),
        **split_planes(result.outputs["embedding"][SAMPLE], "predicted"),
        **split_planes(sample.targets[SAMPLE], "true"),
    }
    print_maps(pictures, ["picture", "z0, predicted", "zdepth, predicted"])
    print_maps(pictures, ["", "z0, true", "zdepth, true"])
    draw(pictures, folder / "spectrometer.png")
    print(f"\nCharacters:  {POSITIVE[1:]} for positive, {NEGATIVE[1:]} for negative cells")
    print(f"As colours:  {folder / 'spectrometer.png'}")
    r2 = r_squared(result.outputs["embedding"], sample.targets)
    print(f"R²:          {r2:.3f} over {len(sample.inputs)} pictures that it was not trained on")
    print_metrics(result)
    trace = client.download_trace(result.run_id, folder / "spectrometer_trace.parquet")
    print_charges(client, result.run_id, sample.inputs)
    print(f"Event trace: {trace} ({trace.stat().st_size:,} bytes)")

    print_title("The same pictures with spawning: a flow that moves far has children")
    spawning = simulate(client, sample.inputs, SPAWNING)
    assert spawning.run_id is not None
    print(f"Options:     {json.dumps(SPAWNING)}")
    print(
        f"R²:          {r_squared(spawning.outputs['embedding'], sample.targets):.3f};"
        " the model was trained without children"
    )
    print_metrics(spawning)
    trace = client.download_trace(spawning.run_id, folder / "trace.parquet")
    print(f"Event trace: {trace} ({trace.stat().st_size:,} bytes)")
    return result.run_id


def simulate(
    client: FlowClient, pictures: Pictures, options: dict[str, dict[str, object]] | None = None
) -> Simulation:
    """Simulate pictures with the spectrometer.

    Args:
        client: of the server.
        pictures: [rows, cells].
        options: run-time fields of the config.
    """
    outputs = ["surface", "planes", "reached", "embedding"]
    return client.simulate(
        pictures, model="spectrometer", outputs=outputs, options=options, trace={"inline": 0}
    )


def split_planes(embedding: Pictures, what: str) -> dict[str, Pictures]:
    """Return the two pictures in an output embedding of the spectrometer, by title."""
    z0, zdepth = embedding.reshape(2, SIDE, SIDE)
    return {f"z0, {what}": z0, f"zdepth, {what}": zdepth}


def print_charges(client: FlowClient, run_id: str, pictures: Pictures) -> None:
    """Print where flows of either charge end, and the paths of the strongest ones.

    Args:
        client: of the server.
        run_id: of the run.
        pictures: of the run, [rows, cells].
    """
    ends = client.trace(run_id, kind="terminate")
    # The flow of a cell has the number of the cell, and starts with its value as its energy.
    charge = pictures[ends["sample"], ends["flow"]]
    z0 = ends["plane"] == 0
    positive, negative = charge > STRONG, charge < -STRONG
    print(f"Charges:     {z0[positive].mean():.1%} of {positive.sum():,} positive flows end at z0,")
    print(
        f"             {(~z0)[negative].mean():.1%} of {negative.sum():,} negative ones at zdepth"
    )
    for name, flow in (
        ("positive", pictures[SAMPLE].argmax()),
        ("negative", pictures[SAMPLE].argmin()),
    ):
        # The server simulates this picture again, and records the path of one flow.
        path = client.replay(run_id, SAMPLE, flow=int(flow)).path
        print(f"Flow {flow:3}:    the strongest {name} one of the picture")
        for step, *position, energy in zip(*(path[one] for one in PATH_COLUMNS), strict=True):
            place = ", ".join(f"{one:+.3f}" for one in position)
            print(f"             step {step:2}: ({place}), energy {energy:+.3f}")


def print_maps(pictures: dict[str, Pictures], titles: list[str]) -> None:
    """Print pictures side by side, with y upwards; an unknown title is left blank.

    Args:
        pictures: [y, x] by title.
        titles: of the pictures to print.
    """
    most = max(float(np.abs(picture).max()) for picture in pictures.values())
    blank = np.zeros((SIDE, SIDE), np.float32)
    print("\n  " + "   ".join(f"{title:{2 * SIDE}}" for title in titles).rstrip())
    for y in reversed(range(SIDE)):
        rows = (pictures.get(title, blank)[y] for title in titles)
        print("  " + " | ".join("".join(character(v, most) * 2 for v in row) for row in rows))


def character(value: float, most: float) -> str:
    """Return the character of a cell."""
    # A twentieth of the largest magnitude counts as 0.
    level = 0 if abs(value) < most / 20 else min(1 + int(4 * abs(value) / most), 4)
    return (POSITIVE if value > 0 else NEGATIVE)[level]


def draw(pictures: dict[str, Pictures], path: Path) -> None:
    """Write pictures side by side to a PNG, blue for negative and red for positive values.

    Args:
        pictures: [y, x] by title.
        path: of the file.
    """
    from matplotlib.figure import Figure

    most = max(float(np.abs(picture).max()) for picture in pictures.values())
    figure = Figure(figsize=(2.6 * len(pictures), 3.0), layout="constrained")
    for axes, (title, picture) in zip(
        figure.subplots(1, len(pictures)), pictures.items(), strict=True
    ):
        axes.imshow(picture, cmap="RdBu_r", vmin=-most, vmax=most, origin="lower")
        axes.set_title(title)
    figure.savefig(path, dpi=120)


def look_up_words(client: FlowClient, folder: Path) -> None:
    """Find words by their definitions with the dictionary.

    Args:
        client: of the server.
        folder: where the heat map and the trace are written.
    """
    print_title("The dictionary: words by their definitions")
    # Row n of the definitions belongs to row n of the words.
    pairs = load_file(WORDS / "val.safetensors")
    definitions, words = pairs["inputs"][:ROWS], pairs["targets"]
    print(
        f"Looking up {ROWS} definitions of {definitions.shape[1]} numbers"
        f" among {len(words):,} words"
    )
    result = client.simulate(
        definitions, model="dictionary", outputs=["surface", "embedding"], trace={"inline": 0}
    )
    cosines = normalize(result.outputs["embedding"]) @ normalize(words).T
    own = cosines[np.arange(ROWS), np.arange(ROWS)]
    # The rank of the right word is 1 if no other word is nearer to the prediction.
    ranks = 1 + (cosines > own[:, None]).sum(axis=1)
    texts = [json.loads(line) for line in (WORDS / "val.jsonl").open(encoding="utf-8")]
    for row in range(SHOWN_ROWS):
        nearest = np.argsort(-cosines[row])[:SHOWN_WORDS]
        print(f"\n  “{texts[row]['definition']}”")
        print(f"    -> {' / '.join(texts[word]['lemmas'] for word in nearest)}")
        print(f"       right: {texts[row]['lemmas']}, rank {ranks[row]}")
    print(
        f"\nThe right word is the nearest for {(ranks == 1).mean():.1%} of all {ROWS} definitions,"
    )
    print(f"and among the ten nearest for {(ranks <= 10).mean():.1%}; see docs/training.md")
    print_metrics(result)
    assert result.run_id is not None
    picture = client.download_heat_map(result.run_id, folder / "surface.png", sample=0)
    trace = client.download_trace(result.run_id, folder / "dictionary_trace.parquet")
    print(f"Heat map:    {picture}, the surface of the first definition")
    print(f"Event trace: {trace} ({trace.stat().st_size:,} bytes)")


@contextmanager
def running_server(data: Path, log: Path) -> Iterator[str]:
    """Run a server in a process of its own until the block ends.

    Args:
        data: folder of its runs, which stays.
        log: file for the messages of the server.

    Yields:
        The address of the server.
    """
    with log.open("wb") as out:
        command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
        command += ["--data-dir", str(data.resolve())]
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
    heading = "Exits:"
    for plane, count in metrics.planes.items():
        reasons = ", ".join(
            f"{number:,} {reason}" for reason, number in metrics.exits[plane].items() if number
        )
        share = f"{count / metrics.completed:.1%}"
        print(f"{heading:12} {plane:6} {count:,} ({share}): {reasons}")
        heading = ""
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


def print_title(title: str) -> None:
    """Print the title of a part."""
    print(f"\n{title}\n{'=' * len(title)}")


def r_squared(predicted: Pictures, targets: Pictures) -> float:
    """Return 1 − the squared errors by the squared distances from the column means."""
    spread = (targets - targets.mean(axis=0)).astype(np.float64)
    return float(1 - ((predicted - targets).astype(np.float64) ** 2).sum() / (spread**2).sum())


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
