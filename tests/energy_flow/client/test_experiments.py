"""Experiments through both clients, against a real server over a real socket."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from energy_flow.client import (
    AsyncFlowClient,
    Conflict,
    Experiment,
    ExperimentEvent,
    FlowClient,
    NotFound,
    ResponseTimeout,
    Unprocessable,
)
from tests.support.live_server import LiveServer

SWEEP = {"grid": {"noise_std": [0.0, 0.2], "spawn.threshold": [0.2, 0.4]}}
LONG = {"grid": {"noise_std": [place / 1000 for place in range(400)]}}
"""More trials than can end before the next request."""

_numbers = count()


def unused() -> str:
    """Return a name that no other experiment has."""
    return f"experiment-{next(_numbers)}"


def test_an_experiment_from_beginning_to_end(
    client: FlowClient, dataset: str, embeddings: NDArray[np.float32]
) -> None:
    name = unused()
    created = client.experiments.create(
        name,
        dataset,
        rows=(1, 5),
        options={"max_steps": 3},
        outputs=["surface", "hits"],
        sweep=SWEEP,
        seeds=[5, 6],
        trace={"kinds": ["terminate"]},
        max_parallel=2,
        chunk_samples=2,
    )
    assert created.name == name
    assert created.fields == ("noise_std", "spawn.threshold")
    assert created.dataset.rows == (1, 5)
    assert created.trials.total == 8
    seen: list[Experiment] = []
    ended = client.experiments.wait(name, seen.append)
    assert (ended.state, ended.ended, ended.problem) == ("succeeded", True, None)
    assert seen[-1] == ended == client.experiments.get(created.experiment_id)
    assert (ended.trials.succeeded, ended.trials.ended) == (8, 8)
    assert (ended.progress.samples_done, ended.progress.fraction) == (32, 1.0)

    trials = list(client.experiments.trials(name, page_size=3))
    assert [trial.trial for trial in trials] == list(range(8))
    assert [(trial.parameters["noise_std"], trial.seed) for trial in trials[::3]] == [
        (0.0, 5),
        (0.0, 6),
        (0.2, 5),
    ]
    trial = client.experiments.trial(name, 3)
    assert trial == trials[3]
    assert trial.metrics is not None
    assert list(client.experiments.trials(name, state="failed")) == []

    # A trial is a run, equal to a single one.
    single = client.simulate(
        embeddings[1:5],
        seed=6,
        sample_keys=[1, 2, 3, 4],
        options={"max_steps": 3, "noise_std": 0.0, "spawn.threshold": 0.4},
    )
    assert trial.run_id is not None
    np.testing.assert_array_equal(client.outputs(trial.run_id, "surface"), single.surface)
    assert trial.metrics["created"] == single.metrics.created
    assert set(client.trace(trial.run_id)["kind"]) == {2}

    client.experiments.delete(name)
    with pytest.raises(NotFound):
        client.experiments.get(name)
    with pytest.raises(NotFound):
        client.run(trial.run_id)


def test_results_are_a_table(client: FlowClient, dataset: str, tmp_path: Path) -> None:
    name = unused()
    client.experiments.create(name, dataset, sweep=SWEEP, seeds=[1, 2, 3])
    client.experiments.wait(name)
    trials = client.experiments.results(name)
    assert (len(trials), trials.state, trials.of) == (12, "succeeded", "trials")
    assert trials["trial"] == list(range(12))
    expected = [
        trial.metrics["created"]
        for trial in client.experiments.trials(name)
        if trial.metrics is not None
    ]
    assert trials["created"] == expected

    points = client.experiments.results(name, of="points")
    assert points["noise_std"] == [0.0, 0.0, 0.2, 0.2]
    assert points["seeds"] == [3] * 4
    frame = trials.to_pandas()
    groups = frame.groupby(["noise_std", "spawn.threshold"])["created"]
    np.testing.assert_allclose(points["created.mean"], groups.mean())
    np.testing.assert_allclose(points["created.std"], groups.std())

    table = pq.read_table(client.experiments.download_results(name, tmp_path / "r.parquet"))
    assert tuple(table.column_names) == trials.columns
    assert table.column("created").to_pylist() == expected
    path = client.experiments.download_results(name, tmp_path / "r.csv", of="points")
    assert list(pd.read_csv(path).columns) == list(points.columns)
    with pytest.raises(ValueError, match=r"\.parquet"):
        client.experiments.download_results(name, tmp_path / "r.xlsx")


def test_a_watch_reports_every_trial(client: FlowClient, dataset: str) -> None:
    name = unused()
    client.experiments.create(name, dataset, sweep=SWEEP)
    events = list(client.experiments.watch(name, last_event_id="0"))
    assert_complete(events, client.experiments.get(name))
    # A watch that begins after the end reports how it ended.
    (event,) = client.experiments.watch(name)
    assert (event.state, event.trials) == (events[-1].state, events[-1].trials)


def test_a_watch_begins_with_the_current_state(client: FlowClient, dataset: str) -> None:
    name = unused()
    client.experiments.create(name, dataset, sweep=LONG)
    client.experiments.pause(name)
    now = client.experiments.get(name)
    watch = client.experiments.watch(name)
    first = next(watch)
    assert (first.state, first.trials, first.progress) == ("paused", now.trials, now.progress)
    client.experiments.resume(name)
    second = next(watch)
    assert first.id is not None
    assert second.id is not None
    assert int(second.id) == int(first.id) + 1
    client.experiments.cancel(name)
    assert [event.state for event in watch][-1] == "cancelled"


def assert_complete(events: list[ExperimentEvent], now: Experiment) -> None:
    """Assert that the last event agrees with the experiment, and that every trial ended."""
    assert events[-1].state == now.state == "succeeded"
    assert events[-1].trials == now.trials
    assert events[-1].progress is not None
    assert events[-1].progress.samples_done == now.progress.samples_done
    ended = [event.trial.trial for event in events if event.trial and event.trial.ended]
    assert sorted(ended) == list(range(now.trials.total))


def test_pause_resume_and_cancel(client: FlowClient, dataset: str) -> None:
    name = unused()
    client.experiments.create(name, dataset, sweep=LONG)
    assert client.experiments.pause(name).state == "paused"
    with pytest.raises(Conflict, match="paused"):
        client.experiments.pause(name)
    with pytest.raises(ResponseTimeout, match="still paused"):
        client.experiments.wait(name, timeout_seconds=0.1)
    with pytest.raises(Conflict):
        client.experiments.delete(name)
    assert not client.experiments.resume(name).ended
    client.experiments.cancel(name)
    ended = client.experiments.wait(name)
    assert ended.state == "cancelled"
    assert ended.trials.ended == ended.trials.total
    with pytest.raises(Conflict):
        client.experiments.resume(name)


def test_lists_are_filtered(client: FlowClient, dataset: str) -> None:
    names = [unused(), unused()]
    for name in names:
        client.experiments.create(name, dataset)
        client.experiments.wait(name)
    newest = client.experiments.list(page_size=1)
    assert [next(newest).name, next(newest).name] == names[::-1]
    assert set(names) <= {one.name for one in client.experiments.list(state="succeeded")}
    assert not set(names) & {one.name for one in client.experiments.list(state="failed")}
    assert list(client.experiments.list(kind="train")) == []


def test_a_key_makes_one_experiment_and_a_name_is_used_once(
    client: FlowClient, dataset: str
) -> None:
    document: dict[str, Any] = {"name": unused(), "dataset": dataset, "rows": None}
    one = client.experiments.create_from(document, idempotency_key=document["name"])
    again = client.experiments.create_from(document, idempotency_key=document["name"])
    assert again.experiment_id == one.experiment_id
    with pytest.raises(Conflict, match=document["name"]):
        client.experiments.create_from(document)


def test_every_fault_is_reported_at_once(client: FlowClient, dataset: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        client.experiments.create(unused(), dataset, seeds=[], max_parallel=0)
    assert {fault.loc for fault in caught.value.errors} >= {("seeds",), ("max_parallel",)}
    with pytest.raises(Unprocessable, match=r"sweep\.grid\.noise_std"):
        client.experiments.create(unused(), dataset, sweep={"grid": {"noise_std": [0.1, -1.0]}})


def test_the_asynchronous_client_does_the_same(
    server: LiveServer, client: FlowClient, dataset: str
) -> None:
    name, other = unused(), unused()

    async def use() -> tuple[list[ExperimentEvent], Experiment, Experiment]:
        async with AsyncFlowClient(server.url) as flow:
            experiments = flow.experiments
            await experiments.create(name, dataset, sweep=SWEEP)
            watch = experiments.watch(name, last_event_id="0")
            events = [event async for event in watch]
            ended = await experiments.wait(name)
            assert len(await experiments.results(name)) == 4
            assert [trial.trial async for trial in experiments.trials(name)] == [0, 1, 2, 3]
            assert (await experiments.trial(name, 2)).state == "succeeded"
            await experiments.create_from({"name": other, "dataset": dataset, "sweep": LONG})
            assert (await experiments.pause(other)).state == "paused"
            assert not (await experiments.resume(other)).ended
            await experiments.cancel(other)
            cancelled = await experiments.wait(other)
            assert other in [one.name async for one in experiments.list()]
            await experiments.delete(other)
            return events, ended, cancelled

    events, ended, cancelled = asyncio.run(use())
    assert ended == client.experiments.get(name)
    assert_complete(events, ended)
    assert cancelled.state == "cancelled"
    with pytest.raises(NotFound):
        client.experiments.get(other)
