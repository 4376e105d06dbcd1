"""Ablations through both clients."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from energy_flow.ablation import AblationResult
from energy_flow.choices import Ablation as Part
from energy_flow.choices import ValidationMetric
from energy_flow.client import Ablation, AsyncFlowClient, FlowClient, NotFound, Unprocessable
from tests.support.live_server import LiveServer

QUIET = {"noise_std": 0.0, "spawn.mode": "off"}


@pytest.fixture
def pairs(client: FlowClient) -> str:
    """Return the name of a dataset with targets."""
    generator = np.random.default_rng(11)
    inputs, targets = generator.normal(size=(2, 9, 8)).astype(np.float32)
    return client.datasets.put("pairs-to-measure", inputs, targets=targets).name


def test_an_ablation_is_started_and_awaited(client: FlowClient, pairs: str) -> None:
    started = client.ablations.start("default", pairs, rows=[1, 7], resamples=100, options=QUIET)
    assert started.result is None
    assert (started.model.name, started.dataset.rows) == ("default", (1, 7))
    seen: list[Ablation] = []
    ended = client.ablations.wait("default", started.ablation_id, seen.append)
    assert ended.state == "succeeded"
    assert ended.problem is None
    assert ended.done == ended.total == 6 * 5
    assert seen[-1] == ended
    result = ended.result
    assert isinstance(result, AblationResult)
    # What was sent is read without a loss.
    assert result.to_dict() == ended.data["result"]
    assert [entry.ablation for entry in result.entries] == [None, *Part]
    assert result.entries[1].figures[ValidationMetric.R2].value < 1
    assert "moves frozen" in result.table()
    listed = [one.ablation_id for one in client.ablations.list("default", page_size=1)]
    assert started.ablation_id in listed
    assert client.ablations.get("default", started.ablation_id) == ended


def test_an_ablation_is_cancelled_and_removed(client: FlowClient, pairs: str) -> None:
    options = {"max_steps": 10**6, "convergence.enabled": False, "displacement_scale": 1e-9}
    endless = {**options, "projection_age": 10**6, "noise_std": 0.001, "spawn.mode": "off"}
    started = client.ablations.start("default", pairs, options=endless)
    client.ablations.delete("default", started.ablation_id)
    cancelled = client.ablations.wait("default", started.ablation_id)
    assert (cancelled.state, cancelled.result) == ("cancelled", None)
    client.ablations.delete("default", started.ablation_id)
    with pytest.raises(NotFound):
        client.ablations.get("default", started.ablation_id)


def test_a_failure_is_reported(client: FlowClient) -> None:
    huge = np.full((3, 8), np.finfo(np.float32).max)
    client.datasets.put("huge-pairs", huge, targets=huge)
    started = client.ablations.start("default", "huge-pairs")
    ended = client.ablations.wait("default", started.ablation_id)
    assert ended.state == "failed"
    assert isinstance(ended.problem, Unprocessable)


def test_refusals_name_the_member(client: FlowClient, dataset: str, pairs: str) -> None:
    with pytest.raises(Unprocessable, match="has no targets"):
        client.ablations.start("default", dataset)
    with pytest.raises(Unprocessable, match="rows"):
        client.ablations.start("default", pairs, rows=[3, 100])
    with pytest.raises(NotFound, match="no model"):
        client.ablations.start("nothing", pairs)


def test_the_asynchronous_client_does_the_same(server: LiveServer, pairs: str) -> None:
    async def measure() -> AblationResult | None:
        async with AsyncFlowClient(server.url) as client:
            started = await client.ablations.start("default", pairs, resamples=100)
            ended = await client.ablations.wait("default", started.ablation_id)
            listed = [one async for one in client.ablations.list("default")]
            assert listed[0] == ended
            return ended.result

    result = asyncio.run(measure())
    assert result is not None
    assert result.rows == 9
