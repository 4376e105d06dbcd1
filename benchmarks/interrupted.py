"""``interrupted``: an experiment whose server is killed twenty times.

Measures: how many outputs, trace records, counters and samples differ, because work was lost,
repeated or counted twice. Unit: numbers of bytes, records and samples. Baseline: the same
experiment on a server that is not killed.
"""

from __future__ import annotations

import io
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq

from benchmarks.options import Findings, Options
from benchmarks.server_process import server_of
from benchmarks.tables import print_line, show
from benchmarks.workload import DATA

KILLS = 20
TRIALS = 30
OUTPUTS = ("surface", "hits", "embedding")
SWEEP: Mapping[str, Any] = {
    "name": "sweep",
    "dataset": "sentences",
    "sweep": {"grid": {"noise_std": [0.1, 0.2, 0.3], "spawn.threshold": [0.3, 0.5]}},
    "seeds": [0, 1, 2, 3, 4],
    "outputs": list(OUTPUTS),
    "max_parallel": 2,
    "chunk_samples": 8,
}
ENDED = ("succeeded", "failed", "cancelled")
TIMES = {"mean_step_ms", "max_step_ms"}
MAX_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class TrialData:
    """What the server stores of one trial, without times and ids.

    Attributes:
        outputs: files by name.
        records: table of trace records.
        facts: counters, samples, parameters and other plain data.
    """

    outputs: Mapping[str, bytes]
    records: Any
    facts: Mapping[str, Any]


def measure(options: Options) -> Findings:
    """Run the experiment on a server that is not killed, then on one that is, and compare.

    Args:
        options: how to measure.
    """
    with tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        print_line(f"interrupted: {TRIALS} trials without kills")
        undisturbed = Path(folder) / "undisturbed"
        undisturbed.mkdir()
        with server_of(undisturbed, options.device) as server, _client(server.url) as client:
            seconds = _run_experiment(client)
            expected = list(_read_trials(client))
        print_line(f"interrupted: {seconds:.0f} s; now with {KILLS} kills")
        killed = Path(folder) / "killed"
        killed.mkdir()
        began = time.perf_counter()
        done_at_kills = _kill_repeatedly(killed, options.device, seconds)
        with server_of(killed, options.device) as server, _client(server.url) as client:
            experiment = _wait_until_ended(client)
            killed_seconds = time.perf_counter() - began
            found = list(_read_trials(client))
            left = _left_over(killed / "data", client)
    figures = {
        "kills": KILLS,
        "kills_before_its_end": sum(
            done < experiment["progress"]["samples"] for done in done_at_kills
        ),
        "samples_done_at_kills": done_at_kills,
        "state": experiment["state"],
        "trials": experiment["trials"],
        "flow_steps": experiment["progress"]["flow_steps"],
        "seconds_undisturbed": round(seconds, 1),
        "seconds_with_kills": round(killed_seconds, 1),
        "left_over_files": left,
        **_differences(expected, found),
    }
    show(
        f"An experiment of {TRIALS} trials with {KILLS} kills against one without",
        ("compared", "number", "different"),
        [
            ("trials", figures["trials_compared"], figures["trials_different"]),
            ("bytes of outputs", figures["output_bytes_compared"], figures["outputs_different"]),
            ("trace records", figures["records_compared"], figures["traces_different"]),
            ("samples", figures["samples_compared"], figures["samples_different"]),
        ],
        note=f"{figures['kills_before_its_end']} of the kills before the end of the experiment; "
        f"{seconds:.0f} s without kills, {killed_seconds:.0f} s with kills and restarts.",
    )
    return Findings({**SWEEP, "trials": TRIALS}, figures)


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=300)


def _run_experiment(client: httpx.Client) -> float:
    """Run the experiment to its end, and return the seconds."""
    _start(client)
    began = time.perf_counter()
    _wait_until_ended(client)
    return time.perf_counter() - began


def _start(client: httpx.Client) -> None:
    _wait_until_ready(client)
    client.put(
        "/v1/datasets/sentences?format=safetensors",
        content=DATA.read_bytes(),
        headers={"content-type": "application/octet-stream"},
    ).raise_for_status()
    answer = client.post("/v1/experiments", json=dict(SWEEP))
    answer.raise_for_status()
    assert answer.json()["trials"]["total"] == TRIALS


def _kill_repeatedly(folder: Path, device: str, seconds: float) -> list[int]:
    """Kill the server after random times, and return how many samples were done each time.

    A time starts when the server has printed its address. Some end before the server is ready,
    while it recovers from the kill before.
    """
    draw = random.Random(0)
    done: list[int] = []
    for start in range(KILLS):
        with server_of(folder, device, kill=True) as server, _client(server.url) as client:
            if start == 0:
                _start(client)
            time.sleep(draw.uniform(0, 1.6 * seconds / KILLS))
            done.append(_done(client, done[-1] if done else 0))
    return done


def _done(client: httpx.Client, before: int) -> int:
    answer = client.get("/v1/experiments/sweep")
    if answer.status_code == 503:
        return before
    answer.raise_for_status()
    done: int = answer.json()["progress"]["samples_done"]
    if done < before:
        raise RuntimeError(f"{before} samples were done before the restart, and {done} after it")
    return done


def _wait_until_ready(client: httpx.Client) -> None:
    while client.get("/readyz").status_code != 200:
        time.sleep(0.05)


def _wait_until_ended(client: httpx.Client) -> dict[str, Any]:
    """Wait for the end of the experiment, and return its state."""
    _wait_until_ready(client)
    until = time.monotonic() + MAX_SECONDS
    while time.monotonic() < until:
        experiment: dict[str, Any] = client.get("/v1/experiments/sweep").json()
        if experiment["state"] in ENDED:
            return experiment
        time.sleep(0.2)
    raise RuntimeError(f"the experiment has not ended after {MAX_SECONDS} s")


def _read_trials(client: httpx.Client) -> Iterator[TrialData]:
    trials = client.get("/v1/experiments/sweep/trials", params={"limit": 1000}).json()["items"]
    for trial in trials:
        url = trial["run_url"]
        outputs = {name: client.get(f"{url}/outputs/{name}?format=npy") for name in OUTPUTS}
        trace = client.get(f"{url}/trace?format=parquet")
        samples = client.get(f"{url}/samples?limit=1000")
        for answer in (*outputs.values(), trace, samples):
            answer.raise_for_status()
        metrics = {name: value for name, value in trial["metrics"].items() if name not in TIMES}
        yield TrialData(
            {name: answer.content for name, answer in outputs.items()},
            pq.read_table(io.BytesIO(trace.content)),
            {
                "trial": trial["trial"],
                "state": trial["state"],
                "seed": trial["seed"],
                "parameters": trial["parameters"],
                "metrics": metrics,
                "counts": {name: trial["trace"][name] for name in ("totals", "recorded")},
                "samples": samples.json()["items"],
            },
        )


def _differences(expected: list[TrialData], found: list[TrialData]) -> dict[str, int]:
    """Return how much was compared, and how much of it differs."""
    pairs = list(zip(expected, found, strict=True))
    samples = [
        (one, other)
        for left, right in pairs
        for one, other in zip(left.facts["samples"], right.facts["samples"], strict=True)
    ]
    return {
        "trials_compared": len(pairs),
        "trials_different": sum(left.facts != right.facts for left, right in pairs),
        "output_bytes_compared": sum(len(data) for one in found for data in one.outputs.values()),
        "outputs_different": sum(
            left.outputs[name] != right.outputs[name] for left, right in pairs for name in OUTPUTS
        ),
        "records_compared": sum(one.records.num_rows for one in found),
        "traces_different": sum(not left.records.equals(right.records) for left, right in pairs),
        "samples_compared": len(samples),
        "samples_different": sum(one != other for one, other in samples),
    }


def _left_over(data_dir: Path, client: httpx.Client) -> list[str]:
    """Return the files that should not exist."""
    known = {run["run_id"] for run in client.get("/v1/runs?limit=1000").json()["items"]}
    wanted = {f"{name}.npy" for name in OUTPUTS}
    wanted |= {"trace.parquet", "chunks.jsonl", "memory.json", "profile.json", "run.json"}
    return sorted(
        str(path.relative_to(data_dir))
        for path in (data_dir / "runs").rglob("*")
        if path.is_file() and (path.parent.name not in known or path.name not in wanted)
    )
