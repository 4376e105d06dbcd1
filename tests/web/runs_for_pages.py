"""Runs for the tests of the pages, made through the client."""

from __future__ import annotations

import numpy as np

from energy_flow.client import FlowClient

DIMENSION = 384


def make_run(url: str, *, seed: int = 7, samples: int = 2) -> str:
    """Submit a run, wait until it has succeeded, and return its id."""
    rows = np.random.default_rng(3).normal(size=(samples, DIMENSION)).astype(np.float32)
    with FlowClient(url) as client:
        run = client.submit_run(
            rows / np.sqrt(DIMENSION), seed=seed, outputs=["surface", "planes", "hits"]
        )
        client.wait(run.run_id)
    return run.run_id


def make_picture_run(url: str) -> str:
    """Submit a run of pictures, wait until it has succeeded, and return its id."""
    with FlowClient(url) as client:
        pictures = client.sample_rows("spectrometer").inputs[:2]
        outputs = ["surface", "embedding"]
        run = client.submit_run(pictures, model="spectrometer", outputs=outputs)
        client.wait(run.run_id)
    return run.run_id


def start_endless_run(url: str) -> str:
    """Start a run that ends only when it is cancelled, with few steps a second; return its id."""
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
