"""Experiments for the tests of the pages, made through the REST interface."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import safetensors.numpy

from tests.support.waits import LIMIT_SECONDS
from tests.web.runs_for_pages import DIMENSION


def make_dataset(url: str, name: str, rows: int) -> None:
    """Upload a dataset with rows of the length that the model of the server takes."""
    httpx.put(
        f"{url}/v1/datasets/{name}",
        params={"format": "npy"},
        content=npy_file(rows),
        timeout=LIMIT_SECONDS,
    ).raise_for_status()


def npy_file(rows: int, dimension: int = DIMENSION) -> bytes:
    """Return a ``.npy`` file of random rows."""
    file = io.BytesIO()
    numbers = np.random.default_rng(5).normal(size=(rows, dimension))
    np.save(file, (numbers / np.sqrt(dimension)).astype(np.float32))
    return file.getvalue()


def start_experiment(url: str, name: str, dataset: str, **fields: Any) -> str:
    """Create an experiment and return its id."""
    body = {"name": name, "dataset": dataset, **fields}
    answer = httpx.post(f"{url}/v1/experiments", json=body, timeout=LIMIT_SECONDS)
    answer.raise_for_status()
    experiment_id: str = answer.json()["experiment_id"]
    return experiment_id


def start_long_experiment(url: str, name: str) -> str:
    """Start an experiment that takes longer than a test; return its id."""
    make_dataset(url, "many-rows", 2_000)
    return start_experiment(url, name, "many-rows", seeds=list(range(1_000)))


def make_experiment(url: str, name: str, **fields: Any) -> str:
    """Create an experiment, wait until it has succeeded, and return its id."""
    make_dataset(url, "few-rows", 4)
    experiment_id = start_experiment(url, name, "few-rows", **fields)
    wait_for_success(url, experiment_id)
    return experiment_id


def wait_for_success(url: str, experiment_id: str) -> None:
    """Wait until an experiment has succeeded."""
    events = f"{url}/v1/experiments/{experiment_id}/events"
    # The stream ends after the event of the last state.
    with httpx.stream("GET", events, timeout=LIMIT_SECONDS) as stream:
        for _ in stream.iter_lines():
            pass
    experiment = httpx.get(f"{url}/v1/experiments/{experiment_id}", timeout=LIMIT_SECONDS).json()
    assert experiment["state"] == "succeeded", experiment


def start_training(url: str, name: str) -> str:
    """Start an experiment of two short trainings; return its id."""
    pairs = np.random.default_rng(6).normal(size=(2, 40, DIMENSION)).astype(np.float32)
    body = safetensors.numpy.save({"inputs": pairs[0], "targets": pairs[1]})
    answer = httpx.put(
        f"{url}/v1/datasets/pairs",
        params={"format": "safetensors"},
        content=body,
        timeout=LIMIT_SECONDS,
    )
    answer.raise_for_status()
    training = {
        "losses": {"cosine": {"weight": 1.0}},
        "batch.rows": 8,
        "length.steps": 30,
        "validation.every": 5,
        "data.held_out": 0.25,
    }
    sweep = {"grid": {"optimiser.learning_rate": [0.0003, 0.001]}}
    return start_experiment(url, name, "pairs", kind="train", train=training, sweep=sweep)
