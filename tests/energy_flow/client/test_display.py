"""How results and other answers are shown, and names of outputs that are one text."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow.client import AsyncFlowClient, FlowClient, Run

MAX_CHARACTERS = 300


def assert_shown(value: Any, *words: str) -> None:
    """Assert that a short line and a table of a notebook have the words."""
    assert "\n" not in repr(value)
    assert len(repr(value)) < MAX_CHARACTERS
    table = value._repr_html_()
    assert table.startswith("<table>")
    for word in (type(value).__name__, *words):
        assert word in repr(value)
        assert word in table


def test_answers_are_shown_by_a_few_facts(
    client: FlowClient, embeddings: NDArray[np.float32], traced_run: Run
) -> None:
    result = client.simulate(embeddings, outputs=["surface", "hits"])
    assert result.run_id is not None
    assert_shown(result, result.run_id, "surface", "[6, 4, 4]", "default")
    assert_shown(client.run(result.run_id), result.run_id, "succeeded", "6 of 6")
    assert_shown(client.model("default"), "default", "embedding_dim", "8")
    replay = client.replay(traced_run.run_id, 1)
    assert_shown(replay, traced_run.run_id, "agrees", "True")
    frame = replay.to_pandas()
    assert list(frame.columns) == list(replay.path)
    assert len(frame) == len(replay.path["step"])


def test_an_experiment_is_shown_by_a_few_facts(client: FlowClient, dataset: str) -> None:
    client.experiments.create("shown", dataset, outputs="hits", options={"noise_std": 0.1})
    experiment = client.experiments.wait("shown")
    assert_shown(experiment, "shown", experiment.experiment_id, "1 of 1", "succeeded")
    assert_shown(client.experiments.trial("shown", 0), "succeeded")
    assert_shown(client.experiments.results("shown"), "shown", "trials")
    assert experiment.data["outputs"] == ["hits"]
    client.experiments.delete("shown")


def test_a_list_has_a_short_line_and_is_iterated(
    client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    run_id = client.simulate(embeddings).run_id
    listed = client.runs(page_size=2)
    assert "/v1/runs" in repr(listed)
    assert len(repr(listed)) < MAX_CHARACTERS
    assert next(listed).run_id == run_id
    assert all(isinstance(run, Run) for run in listed)

    async def read() -> list[Run]:
        async with AsyncFlowClient(client.url) as other:
            assert "/v1/runs" in repr(other.runs())
            return [run async for run in other.runs()]

    assert run_id in [run.run_id for run in asyncio.run(read())]


def test_a_text_is_the_name_of_one_output(
    client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    result = client.simulate(embeddings, outputs="hits")
    assert list(result.outputs) == ["hits"]
    with pytest.raises(KeyError, match="surface was not requested; there are hits"):
        _ = result.surface
    run = client.wait(client.submit_run(embeddings, outputs="embedding").run_id)
    assert run.data["outputs"] == ["embedding"]
