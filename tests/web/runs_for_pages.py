"""Runs that the pages are to show, made through the REST interface."""

from __future__ import annotations

import numpy as np

from service.client import FlowClient

DIMENSION = 384


def make_run(url: str, *, seed: int = 7, samples: int = 2) -> str:
    """A run that has succeeded; returns its id."""
    rows = np.random.default_rng(3).normal(size=(samples, DIMENSION)).astype(np.float32)
    with FlowClient(url) as client:
        run = client.submit_run(
            rows / np.sqrt(DIMENSION), seed=seed, outputs=["surface", "planes", "hits"]
        )
        client.wait(run.run_id)
    return run.run_id


def begin_long_run(url: str) -> str:
    """A run that takes longer than a test; returns its id."""
    rows = np.random.default_rng(4).normal(size=(20_000, DIMENSION)).astype(np.float32)
    with FlowClient(url) as client:
        return client.submit_run(rows / np.sqrt(DIMENSION)).run_id
