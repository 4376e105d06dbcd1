"""A sweep of thirty trials, and what is stored of it; a part of ``interrupted``, ``failover``."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq

from benchmarks.tables import show
from benchmarks.workload import DATA

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


def client_of(url: str) -> httpx.Client:
    """Return a client of a server."""
    return httpx.Client(base_url=url, timeout=300)


def run_sweep(client: httpx.Client) -> float:
    """Run the experiment to its end, and return the seconds."""
    start_sweep(client)
    began = time.perf_counter()
    wait_until_ended(client)
    return time.perf_counter() - began


def start_sweep(client: httpx.Client) -> None:
    """Start the experiment on a new server."""
    wait_until_ready(client)
    client.put(
        "/v1/datasets/sentences?format=safetensors",
        content=DATA.read_bytes(),
        headers={"content-type": "application/octet-stream"},
    ).raise_for_status()
    answer = client.post("/v1/experiments", json=dict(SWEEP))
    answer.raise_for_status()
    assert answer.json()["trials"]["total"] == TRIALS


def count_done(client: httpx.Client, before: int) -> int:
    """Return how many samples are done, which are not fewer than before.

    Args:
        client: client of a server, which may still start.
        before: number of samples that were done at an earlier time.

    Raises:
        RuntimeError: there are fewer.
    """
    answer = client.get("/v1/experiments/sweep")
    if answer.status_code == 503:
        return before
    answer.raise_for_status()
    done: int = answer.json()["progress"]["samples_done"]
    if done < before:
        raise RuntimeError(f"{before} samples were done before the restart, and {done} after it")
    return done


def wait_until_ready(client: httpx.Client) -> None:
    """Wait until the server is ready."""
    while client.get("/readyz").status_code != 200:
        time.sleep(0.05)


def wait_until_ended(client: httpx.Client) -> dict[str, Any]:
    """Wait for the end of the experiment, and return its state."""
    wait_until_ready(client)
    until = time.monotonic() + MAX_SECONDS
    while time.monotonic() < until:
        experiment: dict[str, Any] = client.get("/v1/experiments/sweep").json()
        if experiment["state"] in ENDED:
            return experiment
        time.sleep(0.2)
    raise RuntimeError(f"the experiment has not ended after {MAX_SECONDS} s")


def read_trials(client: httpx.Client) -> Iterator[TrialData]:
    """Yield what is stored of each trial."""
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


def find_differences(expected: list[TrialData], found: list[TrialData]) -> dict[str, int]:
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


def show_differences(title: str, differences: Mapping[str, Any], note: str) -> None:
    """Print how much was compared, and how much of it differs.

    Args:
        title: line above the table.
        differences: figures, with those of :func:`find_differences`.
        note: text below the table.
    """
    kinds = (
        ("trials", "trials_compared", "trials_different"),
        ("bytes of outputs", "output_bytes_compared", "outputs_different"),
        ("trace records", "records_compared", "traces_different"),
        ("samples", "samples_compared", "samples_different"),
    )
    rows = [(kind, differences[number], differences[other]) for kind, number, other in kinds]
    show(title, ("compared", "number", "different"), rows, note=note)


def find_left_over(data_dir: Path, client: httpx.Client) -> list[str]:
    """Return the files that should not exist."""
    known = {run["run_id"] for run in client.get("/v1/runs?limit=1000").json()["items"]}
    wanted = {f"{name}.npy" for name in OUTPUTS}
    wanted |= {"reached.npy", "trace.parquet", "chunks.jsonl"}
    wanted |= {"memory.json", "profile.json", "run.json"}
    return sorted(
        str(path.relative_to(data_dir))
        for path in (data_dir / "runs").rglob("*")
        if path.is_file() and (path.parent.name not in known or path.name not in wanted)
    )
