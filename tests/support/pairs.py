"""Datasets with targets, on a server."""

from __future__ import annotations

import httpx
from safetensors.numpy import save

from tests.support.servers import rows


def put_pairs(client: httpx.Client, name: str, count: int, *, seed: int = 0) -> None:
    """Store inputs and targets for the tiny model under a name.

    Tests that share a server give a name the same number of rows.
    """
    tensors = {"inputs": rows(count, seed), "targets": rows(count, seed + 1)}
    answer = client.put(f"/v1/datasets/{name}?format=safetensors", content=save(tensors))
    assert answer.status_code in (200, 201), answer.text
