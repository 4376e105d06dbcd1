"""A sweep whose server is killed at random moments, against the same sweep left alone.

Nothing that was told as done may be lost, done otherwise, or counted twice: every byte of the
outputs, every trace record, every counter and every sample is compared.
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
from benchmarks.tables import say, show
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
LONGEST_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one trial, without times and ids.

    Attributes:
        outputs: files by name. told: counters, samples, parameters and the like.
    """

    outputs: Mapping[str, bytes]
    records: Any
    told: Mapping[str, Any]


def measure(options: Options) -> Findings:
    """One sweep left alone, one killed, both looked at."""
    with tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        say(f"interrupted: {TRIALS} trials, left alone")
        calm = Path(folder) / "calm"
        calm.mkdir()
        with server_of(calm, options.device) as server, _client(server.url) as client:
            seconds = _undisturbed(client)
            expected = list(_kept(client))
        say(f"interrupted: {seconds:.0f} s; now with {KILLS} kills")
        stormy = Path(folder) / "stormy"
        stormy.mkdir()
        began = time.perf_counter()
        done_at_kills = _killed(stormy, options.device, seconds)
        with server_of(stormy, options.device) as server, _client(server.url) as client:
            experiment = _ended(client)
            killed_seconds = time.perf_counter() - began
            found = list(_kept(client))
            left = _left_over(stormy / "data", client)
    figures = {
        "kills": KILLS,
        "kills_before_its_end": sum(
            done < experiment["progress"]["samples"] for done in done_at_kills
        ),
        "samples_done_at_kills": done_at_kills,
        "state": experiment["state"],
        "trials": experiment["trials"],
        "flow_steps": experiment["progress"]["flow_steps"],
        "seconds_left_alone": round(seconds, 1),
        "seconds_with_kills": round(killed_seconds, 1),
        "left_over_files": left,
        **_differences(expected, found),
    }
    show(
        f"A sweep of {TRIALS} trials, killed {KILLS} times, against one left alone",
        ("compared", "how many", "different"),
        [
            ("trials", figures["trials_compared"], figures["trials_different"]),
            ("bytes of outputs", figures["output_bytes_compared"], figures["outputs_different"]),
            ("trace records", figures["records_compared"], figures["traces_different"]),
            ("samples", figures["samples_compared"], figures["samples_different"]),
        ],
        note=f"{figures['kills_before_its_end']} of the kills before its end; "
        f"{seconds:.0f} s left alone, {killed_seconds:.0f} s with kills and restarts",
    )
    return Findings({**SWEEP, "trials": TRIALS}, figures)


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=300)


def _undisturbed(client: httpx.Client) -> float:
    """Seconds that the sweep takes."""
    _start(client)
    began = time.perf_counter()
    _ended(client)
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


def _killed(folder: Path, device: str, seconds: float) -> list[int]:
    """Kills the server after random whiles; how many samples were done each time.

    A while begins when the server has announced itself: some end before it is ready, and while it
    goes through what the kill before has left.
    """
    chance = random.Random(0)
    done = []
    for life in range(KILLS):
        with server_of(folder, device, kill=True) as server, _client(server.url) as client:
            if life == 0:
                _start(client)
            time.sleep(chance.uniform(0, 1.6 * seconds / KILLS))
            done.append(_done(client, done[-1] if done else 0))
    return done


def _done(client: httpx.Client, before: int) -> int:
    answer = client.get("/v1/experiments/sweep")
    if answer.status_code == 503:
        return before
    answer.raise_for_status()
    done: int = answer.json()["progress"]["samples_done"]
    if done < before:
        raise RuntimeError(f"{before} samples were done, and now it is {done}")
    return done


def _wait_until_ready(client: httpx.Client) -> None:
    while client.get("/readyz").status_code != 200:
        time.sleep(0.05)


def _ended(client: httpx.Client) -> dict[str, Any]:
    """Waits for the end of the sweep."""
    _wait_until_ready(client)
    until = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < until:
        experiment: dict[str, Any] = client.get("/v1/experiments/sweep").json()
        if experiment["state"] in ENDED:
            return experiment
        time.sleep(0.2)
    raise RuntimeError("the sweep did not end")


def _kept(client: httpx.Client) -> Iterator[Kept]:
    trials = client.get("/v1/experiments/sweep/trials", params={"limit": 1000}).json()["items"]
    for trial in trials:
        url = trial["run_url"]
        outputs = {name: client.get(f"{url}/outputs/{name}?format=npy") for name in OUTPUTS}
        trace = client.get(f"{url}/trace?format=parquet")
        samples = client.get(f"{url}/samples?limit=1000")
        for answer in (*outputs.values(), trace, samples):
            answer.raise_for_status()
        metrics = {name: value for name, value in trial["metrics"].items() if name not in TIMES}
        yield Kept(
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


def _differences(expected: list[Kept], found: list[Kept]) -> dict[str, int]:
    """How much was compared, and how much of it differs."""
    pairs = list(zip(expected, found, strict=True))
    samples = [
        (one, other)
        for left, right in pairs
        for one, other in zip(left.told["samples"], right.told["samples"], strict=True)
    ]
    return {
        "trials_compared": len(pairs),
        "trials_different": sum(left.told != right.told for left, right in pairs),
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
    """Files that should not be there."""
    known = {run["run_id"] for run in client.get("/v1/runs?limit=1000").json()["items"]}
    wanted = {f"{name}.npy" for name in OUTPUTS}
    wanted |= {"trace.parquet", "chunks.jsonl", "memory.json", "profile.json"}
    return sorted(
        str(path.relative_to(data_dir))
        for path in (data_dir / "runs").rglob("*")
        if path.is_file() and (path.parent.name not in known or path.name not in wanted)
    )
