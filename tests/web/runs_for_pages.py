"""Runs that the pages are to show, made through the REST interface."""

from __future__ import annotations

import numpy as np

from energy_flow.client import FlowClient

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


def begin_endless_run(url: str) -> str:
    """A run that goes on until somebody ends it, some steps a second; returns its id."""
    lattice = {"lattice_width": 200, "lattice_height": 200, "lattice_depth": 8}
    network = {"mapper_hidden_dim": 32, "carrier_hidden_size": 16, "carrier_num_layers": 1}
    options = {
        "max_steps": 10**6,
        "projection_age": 10**6,
        "convergence.enabled": False,
        "spawn.mode": "off",
        "displacement_scale": 1e-9,
    }
    with FlowClient(url) as client:
        config = {**lattice, **network, "embedding_dim": 8}
        model = client.create_model("wide", preset="debug", config=config).name
        return client.submit_run(np.zeros((1, 8)), model=model, options=options).run_id
