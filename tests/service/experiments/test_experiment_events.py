"""The events of an experiment: in order, resumable, also over a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.event_stream import read_events
from tests.support.experiments import (
    advance,
    change_state,
    experiment_server,
    put_dataset,
    read_experiment,
    read_trials,
    start_experiment,
    wait_until_ended,
    wait_until_quiet,
)
from tests.support.servers import RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with experiment_server(tmp_path_factory.mktemp("events")) as running:
        put_dataset(running.client, "few", 6)
        put_dataset(running.client, "many", 400)
        yield running


def follow(
    client: httpx.Client, name: str, after: int | None = None, stop_after: int = 10**9
) -> list[tuple[int, str, dict[str, Any]]]:
    """Return id, name and data of the events after one, at most so many."""
    events = read_events(client, f"/v1/experiments/{name}", after, stop_after)
    return [(int(event.id or 0), event.event, event.data) for event in events]


def test_events_are_complete_and_can_be_resumed(server: RunningServer) -> None:
    client = server.client
    with server.engine_held():
        made = start_experiment(
            client, name="story", dataset="few", seeds=[1, 2, 3], chunk_samples=2
        )
    events = follow(client, "story")
    assert [id for id, _, _ in events] == list(range(1, len(events) + 1))
    states = [data["state"] for _, name, data in events if name == "state"]
    assert states == ["queued", "running", "succeeded"]
    assert events[-1][1] == "state"
    last = events[-1][2]
    experiment = read_experiment(client, "story")
    assert last == {name: experiment[name] for name in ("state", "trials", "progress", "error")}
    assert experiment["last_event_id"] == events[-1][0]
    assert made["last_event_id"] >= 1
    found = read_trials(client, "story")
    for number in range(3):
        reported = [data for _, name, data in events if name == "trial" and data["trial"] == number]
        assert [data["state"] for data in reported] == ["running", "succeeded"]
        assert reported[-1] == found[number]
    for _, name, data in events:
        if name == "progress":
            assert data["trials"]["total"] == 3
            assert data["progress"]["samples"] == 18
            assert all(one["samples"] == 6 for one in data["running"])
    middle = events[2][0]
    assert follow(client, "story", middle) == events[3:]
    assert follow(client, "story", events[-1][0]) == []


def test_a_pause_and_a_cancel_are_events(server: RunningServer) -> None:
    client = server.client
    with server.engine_held() as engine:
        start_experiment(client, name="reported", dataset="many", seeds=[1, 2], chunk_samples=1)
        advance(client, engine, "reported", 1)
        assert change_state(client, "reported", "pause")["state"] == "paused"
    wait_until_quiet(client, "reported")
    change_state(client, "reported", "cancel")
    wait_until_ended(client, "reported")
    events = follow(client, "reported")
    states = [data["state"] for _, name, data in events if name == "state"]
    assert states == ["queued", "running", "paused", "cancelled"]
    reported = [(data["trial"], data["state"]) for _, name, data in events if name == "trial"]
    assert sorted(reported) == sorted(
        [(0, "running"), (0, "paused"), (0, "cancelled"), (1, "cancelled")]
    )


@pytest.mark.slow
def test_ids_continue_after_a_restart_behind_a_gap(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as first:
        put_dataset(first.client, "few", 6)
        start_experiment(first.client, name="before", dataset="few")
        wait_until_ended(first.client, "before")
        known = follow(first.client, "before")
        with first.engine_held() as engine:
            put_dataset(first.client, "many", 400)
            start_experiment(
                first.client, name="across", dataset="many", seeds=[1, 2], chunk_samples=1
            )
            advance(first.client, engine, "across", 1)
            change_state(first.client, "across", "pause")
            seen = follow(first.client, "across", stop_after=3)
    with experiment_server(tmp_path) as second:
        client = second.client
        change_state(client, "across", "resume")
        wait_until_ended(client, "across")
        later = follow(client, "across", seen[-1][0])
        gap = later[0]
        assert gap[1] == "gap"
        assert gap[2] == {"from": seen[-1][0] + 1, "to": gap[0], "missed": None}
        ids = [id for id, _, _ in later]
        assert ids == list(range(gap[0], gap[0] + len(later)))
        states = [data["state"] for _, name, data in later if name == "state"]
        assert states == ["paused", "running", "succeeded"]
        # Of an ended experiment, the last event is sent again under its old id.
        (reported,) = follow(client, "before", known[-2][0])
        assert reported == known[-1]
        gap, reported = follow(client, "before")
        assert (gap[1], reported) == ("gap", known[-1])
        assert follow(client, "before", known[-1][0]) == []
