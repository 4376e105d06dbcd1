"""A finished ablation for the page of the default model."""

from __future__ import annotations

import numpy as np

from energy_flow.client import FlowClient

DATASET = "pairs-for-pages"


def put_pairs(url: str, rows: int = 24) -> None:
    """Store inputs and targets of the widths of the default model."""
    inputs, targets = np.random.default_rng(4).normal(size=(2, rows, 384)).astype(np.float32)
    with FlowClient(url) as client:
        client.datasets.put(DATASET, inputs, targets=targets)


def make_ablation(url: str) -> str:
    """Measure the default model, and return the id of the ablation."""
    put_pairs(url)
    with FlowClient(url) as client:
        started = client.ablations.start("default", DATASET, resamples=100)
        assert client.ablations.wait("default", started.ablation_id).state == "succeeded"
        return started.ablation_id
