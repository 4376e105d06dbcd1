"""What must hold after a kill: nothing is lost, nothing is there twice; a part of ``kills``."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.kill_callers import OUTPUTS, SAMPLES, TRIALS
from benchmarks.kill_ledger import Fate, Item, Kind, Ledger

ENDED = ("succeeded", "failed", "cancelled")


def repeat_unanswered(client: httpx.Client, ledger: Ledger) -> None:
    """Send requests with an ``Idempotency-Key`` again that had no answer."""
    for kind, path, prefix in ((Kind.RUN, "/v1/runs", "run-"), (Kind.MODEL, "/v1/models", "")):
        for item in ledger.items(kind):
            if item.fate is not Fate.SENT or item.repeat is None:
                continue
            headers = {"idempotency-key": f"{prefix}{item.name}"}
            answer = client.post(path, json=item.repeat, headers=headers)
            if answer.is_success:
                item.run_id = answer.json().get("run_id")
                item.fate = Fate.STORED


def find_faults(client: httpx.Client, ledger: Ledger) -> Iterator[str]:
    """Yield what was lost, what came back, and what is there twice."""
    runs = list(read_all(client, "/v1/runs"))
    yield from _find_run_faults(runs, ledger)
    for kind, path in (
        (Kind.DATASET, "/v1/datasets"),
        (Kind.MODEL, "/v1/models"),
        (Kind.EXPERIMENT, "/v1/experiments"),
    ):
        found = {one["name"]: one for one in read_all(client, path)}
        for item in ledger.items(kind):
            one = found.get(item.name)
            yield from _compare(item, is_there=one is not None)
            if one is not None and item.digest not in (None, one.get("digest")):
                yield f"{kind} {item.name} has other content than was acknowledged"


def find_content_faults(client: httpx.Client, data_dir: Path) -> Iterator[str]:
    """Yield what of the stored content cannot be read or is not as described.

    All work has ended.
    """
    for one in read_all(client, "/v1/datasets"):
        file = client.get(f"/v1/datasets/{one['name']}?format=safetensors").content
        if hashlib.sha256(file).hexdigest() != one["digest"]:
            yield f"dataset {one['name']} is damaged"
    for one in read_all(client, "/v1/models"):
        answer = client.post(f"/v1/models/{one['name']}/load")
        if answer.status_code != 200:
            yield f"model {one['name']} cannot be loaded: {answer.text}"
    for experiment in read_all(client, "/v1/experiments"):
        yield from _find_experiment_faults(client, experiment)
    for run in read_all(client, "/v1/runs"):
        yield from _find_output_faults(client, run)
    yield from find_leftovers(client, data_dir)


def find_leftovers(client: httpx.Client, data_dir: Path) -> Iterator[str]:
    """Yield files that should not exist: temporary ones, and those that the index does not know."""
    for path in data_dir.rglob("*"):
        if path.name.endswith(".part") or path.name.startswith((".tmp", ".writing")):
            yield f"left over: {path.relative_to(data_dir)}"
    known = {run["run_id"] for run in read_all(client, "/v1/runs")}
    for path in (data_dir / "runs").iterdir():
        if path.name not in known:
            yield f"run {path.name} has files and is not listed"
    models = {f"{one['name']}.safetensors" for one in read_all(client, "/v1/models")}
    for path in (data_dir / "models").iterdir():
        if path.name not in models and not path.name.startswith("."):
            yield f"model {path.name} has a file and is not listed"
    yield from _find_quarantine_faults(data_dir / "quarantine")


def read_all(client: httpx.Client, path: str) -> Iterator[dict[str, Any]]:
    """Yield all entries of a list."""
    cursor = None
    while True:
        query = {"limit": 1000} if cursor is None else {"limit": 1000, "cursor": cursor}
        page = client.get(path, params=query).raise_for_status().json()
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _find_run_faults(runs: list[dict[str, Any]], ledger: Ledger) -> Iterator[str]:
    own = [run for run in runs if run["experiment"] is None]
    counts = Counter(str(run["seed"]) for run in own)
    by_id = {run["run_id"]: run for run in own}
    ended = [_seconds(run["ended_at"]) for run in own if run["state"] in ENDED]
    oldest = min(ended, default=float("inf"))
    for item in ledger.items(Kind.RUN):
        if counts[item.name] > 1:
            yield f"run with the seed {item.name} is there {counts[item.name]} times"
        if item.run_id is None:
            continue
        is_there = item.run_id in by_id
        if item.fate is Fate.STORED and not is_there and item.sent_at <= oldest:
            # The oldest runs are removed to make room.
            item.fate = Fate.DELETED
        yield from _compare(item, is_there=is_there)


def _compare(item: Item, *, is_there: bool) -> Iterator[str]:
    what = f"{item.kind} {item.run_id or item.name}"
    match item.fate:
        case Fate.STORED if not is_there:
            yield f"{what} was acknowledged and is lost"
        case Fate.DELETED if is_there:
            yield f"{what} was deleted and is there again"
        case Fate.SENT | Fate.DELETING:
            item.fate = Fate.STORED if is_there else Fate.DELETED


def _find_experiment_faults(client: httpx.Client, experiment: dict[str, Any]) -> Iterator[str]:
    name, state = experiment["name"], experiment["state"]
    if state != "succeeded":
        yield f"experiment {name} is {state}: {experiment['error']}"
        return
    trials = list(read_all(client, f"/v1/experiments/{name}/trials"))
    numbers = sorted(trial["trial"] for trial in trials)
    if experiment["kind"] == "train":
        if numbers != [0]:
            yield f"experiment {name} has the trials {numbers}"
        if client.get(f"/v1/models/{name}").status_code != 200:
            yield f"experiment {name} has made no model"
        return
    if numbers != list(range(TRIALS)):
        yield f"experiment {name} has the trials {numbers}"
    for trial in trials:
        samples = list(read_all(client, f"{trial['run_url']}/samples"))
        if [sample["sample"] for sample in samples] != list(range(SAMPLES)):
            yield f"trial {trial['trial']} of {name} has {len(samples)} samples, not {SAMPLES}"


def _find_output_faults(client: httpx.Client, run: dict[str, Any]) -> Iterator[str]:
    if run["kind"] == "training" or run["state"] != "succeeded":
        return
    for name in OUTPUTS:
        answer = client.get(f"{run['url']}/outputs/{name}?format=npy")
        if answer.status_code != 200:
            yield f"run {run['run_id']} has no {name}: {answer.text}"
    answer = client.get(f"{run['url']}/trace?format=parquet")
    if answer.status_code != 200:
        yield f"run {run['run_id']} has no trace: {answer.text}"


def _find_quarantine_faults(quarantine: Path) -> Iterator[str]:
    for path in quarantine.glob("*/datasets/*"):
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
            yield f"incomplete in quarantine: {path.name}"
    for path in quarantine.glob("*/runs/*"):
        if not (path / "run.json").exists():
            yield f"incomplete in quarantine: run {path.name}"


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
