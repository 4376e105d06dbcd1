"""Experiments that the pages are to show, made through the REST interface."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import safetensors.numpy

from tests.live_server import LIMIT_SECONDS
from tests.web.runs_for_pages import DIMENSION


def make_dataset(url: str, name: str, rows: int) -> None:
    """A dataset of rows that the pages' model takes."""
    httpx.put(
        f"{url}/v1/datasets/{name}",
        params={"format": "npy"},
        content=npy_file(rows),
        timeout=LIMIT_SECONDS,
    ).raise_for_status()


def npy_file(rows: int, dimension: int = DIMENSION) -> bytes:
    """Random rows as the bytes of a ``.npy`` file."""
    file = io.BytesIO()
    numbers = np.random.default_rng(5).normal(size=(rows, dimension))
    np.save(file, (numbers / np.sqrt(dimension)).astype(np.float32))
    return file.getvalue()


def begin_experiment(url: str, name: str, dataset: str, **fields: Any) -> str:
    """An experiment that has been accepted; returns its id."""
    order = {"name": name, "dataset": dataset, **fields}
    answer = httpx.post(f"{url}/v1/experiments", json=order, timeout=LIMIT_SECONDS)
    answer.raise_for_status()
    experiment_id: str = answer.json()["experiment_id"]
    return experiment_id


def begin_long_experiment(url: str, name: str) -> str:
    """An experiment that takes longer than a test; returns its id."""
    make_dataset(url, "many-rows", 2_000)
    return begin_experiment(url, name, "many-rows", seeds=list(range(1_000)))


def make_experiment(url: str, name: str, **fields: Any) -> str:
    """An experiment that has succeeded; returns its id."""
    make_dataset(url, "few-rows", 4)
    experiment_id = begin_experiment(url, name, "few-rows", **fields)
    follow_to_success(url, experiment_id)
    return experiment_id


def follow_to_success(url: str, experiment_id: str) -> None:
    """Waits for the end of an experiment."""
    events = f"{url}/v1/experiments/{experiment_id}/events"
    # The stream ends after the last state.
    with httpx.stream("GET", events, timeout=LIMIT_SECONDS) as stream:
        for _ in stream.iter_lines():
            pass
    experiment = httpx.get(f"{url}/v1/experiments/{experiment_id}", timeout=LIMIT_SECONDS).json()
    assert experiment["state"] == "succeeded", experiment


def begin_training(url: str, name: str) -> str:
    """Two trainings, over in seconds; returns their experiment's id."""
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
    sweep = {"grid": {"optimiser.learning_rate": [0.0003, 0.001]}}
    return begin_experiment(url, name, "pairs", kind="train", train=training, sweep=sweep)
