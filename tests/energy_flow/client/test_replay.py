"""Replays, comparisons and filtered traces through both clients."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from numpy.typing import NDArray

from energy_flow.client import AsyncFlowClient, Conflict, FlowClient, Run, Unprocessable
from tests.support.live_server import TRACED_OPTIONS


def test_replay(client: FlowClient, traced_run: Run) -> None:
    replay = client.replay(traced_run.run_id, 2)
    assert replay.agrees
    assert replay.difference is None
    assert replay.flow is None
    records = client.trace(traced_run.run_id, sample=2, kind="terminate")
    assert len(records) == len(replay.flows["flow"])
    ends = replay.flows["end_step"][records["flow"]]
    assert np.array_equal(ends, records["step"])
    for flow, step, x in zip(records["flow"], records["step"], records["x"], strict=True):
        at = (replay.path["flow"] == flow) & (replay.path["step"] == step)
        assert replay.path["x"][at].tolist() == [x]
    child = int(replay.flows["flow"][-1])
    lineage = client.replay(traced_run.run_id, 2, flow=child)
    assert set(lineage.flows["flow"]) < set(replay.flows["flow"])
    assert lineage.flows["parent"][-1] in lineage.flows["flow"]


def test_paths_are_drawn(client: FlowClient, traced_run: Run) -> None:
    replay = client.replay(traced_run.run_id, 2)
    axes = Figure().subplots()
    assert replay.plot_paths("x", "y", axes=axes) is axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    (lines,) = axes.collections
    moves = len(replay.path["flow"]) - len(replay.flows["flow"])
    assert len(lines.get_paths()) == moves
    with pytest.raises(ValueError, match="one of x, y, z"):
        replay.plot_paths("energy", axes=axes)


def test_surfaces_are_drawn(client: FlowClient, embeddings: NDArray[np.float32]) -> None:
    result = client.simulate(embeddings, outputs=["surface", "reached"])
    axes = Figure().subplots()
    assert result.plot_surface(1, axes=axes) is axes
    (image,) = axes.images
    drawn = image.get_array()
    assert drawn is not None
    reached = result.outputs["reached"][1].any(axis=0)
    np.testing.assert_array_equal(np.ma.getmaskarray(drawn), ~reached)
    np.testing.assert_array_equal(drawn[reached], result.surface[1][reached])
    assert result.plot_surface(0) is not axes
    pyplot.close("all")


def test_records_are_counted(client: FlowClient, traced_run: Run) -> None:
    records = client.trace(traced_run.run_id, kind=["spawn", "terminate"], sample=[0, 2])
    counts = client.trace_counts(traced_run.run_id, kind=["spawn", "terminate"], sample=[0, 2])
    assert counts.records == len(records)
    assert [one.step for one in counts.steps] == np.unique(records["step"]).tolist()
    assert sum(one.spawn for one in counts.steps) == np.count_nonzero(records["kind"] == 0)
    assert not any(one.reflect for one in counts.steps)


def test_compare(client: FlowClient, traced_run: Run, embeddings: NDArray[np.float32]) -> None:
    other = client.submit_run(embeddings, options=TRACED_OPTIONS, seed=5)
    client.wait(other.run_id)
    comparison = client.compare(traced_run.run_id, other.run_id)
    assert (comparison.a, comparison.b) == (traced_run.run_id, other.run_id)
    assert len(comparison.samples) == len(embeddings)
    first = comparison.samples[0].first_difference
    assert first is not None
    assert first.first != first.second
    same = client.compare(traced_run.run_id, traced_run.run_id)
    assert all(sample.first_difference is None for sample in same.samples)
    assert all(sample.surface_max_abs_difference == 0 for sample in same.samples)


def test_refusals(client: FlowClient, traced_run: Run) -> None:
    with pytest.raises(Unprocessable, match="sample"):
        client.replay(traced_run.run_id, 10**6)
    client.create_model("brief", preset="debug", config={"embedding_dim": 8})
    other = client.submit_run(np.zeros((1, 8), dtype=np.float32), model="brief")
    client.wait(other.run_id)
    with pytest.raises(Conflict, match="20 x 20"):
        client.compare(traced_run.run_id, other.run_id)


def test_the_asynchronous_client_does_the_same(client: FlowClient, traced_run: Run) -> None:
    async def use() -> Any:
        async with AsyncFlowClient(client.url) as other:
            return await asyncio.gather(
                other.replay(traced_run.run_id, 1, flow=3),
                other.compare(traced_run.run_id, traced_run.run_id),
            )

    replay, comparison = asyncio.run(use())
    expected = client.replay(traced_run.run_id, 1, flow=3)
    assert replay.path["energy"].tolist() == expected.path["energy"].tolist()
    assert comparison == client.compare(traced_run.run_id, traced_run.run_id)


def test_filtered_downloads(client: FlowClient, traced_run: Run, tmp_path: Path) -> None:
    path = client.download_trace(
        traced_run.run_id,
        tmp_path / "t.parquet",
        kind=["spawn", "reflect"],
        sample=[1, 3],
        step_to=2,
    )
    table = pq.read_table(path)
    records = client.trace(traced_run.run_id, kind=["spawn", "reflect"], sample=[1, 3], step_to=2)
    assert table["seq"].to_pylist() == records["seq"].tolist()


def test_the_suffix_of_a_file_is_its_format(
    client: FlowClient, traced_run: Run, tmp_path: Path
) -> None:
    lines = client.download_trace(traced_run.run_id, tmp_path / "t.jsonl").read_bytes()
    assert orjson.loads(lines.splitlines()[0])["seq"] == 0
    heading = client.download_trace(traced_run.run_id, tmp_path / "t.csv").read_text()
    assert "seq" in heading.splitlines()[0].split(",")
    named = client.download_trace(traced_run.run_id, tmp_path / "t.csv", format="parquet")
    assert len(pq.read_table(named)) == len(client.trace(traced_run.run_id))
    picture = client.download_heat_map(traced_run.run_id, tmp_path / "p.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("method", "name", "known"),
    [
        ("download_trace", "t.txt", ".jsonl"),
        ("download_trace", "t", ".parquet"),
        ("download_heat_map", "p.svg", ".png"),
    ],
)
def test_an_unknown_suffix_is_refused_with_the_known_ones(
    client: FlowClient, traced_run: Run, tmp_path: Path, method: str, name: str, known: str
) -> None:
    with pytest.raises(ValueError, match=known):
        getattr(client, method)(traced_run.run_id, tmp_path / name)
    assert not list(tmp_path.iterdir())
