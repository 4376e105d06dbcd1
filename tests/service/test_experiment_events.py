"""What an experiment tells while it is carried out: in order, resumable, also over a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from energy_flow.client.events import EventParser
from tests.service.experiments_of import (
    act,
    advance,
    ended,
    look,
    put_dataset,
    quiet,
    start,
    trials,
)
from tests.service.servers import RunningServer, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("events")) as running:
        put_dataset(running.client, "few", 6)
        put_dataset(running.client, "many", 400)
        yield running


def follow(
    client: httpx.Client, name: str, after: int | None = None, stop_after: int = 10**9
) -> list[tuple[int, str, dict[str, Any]]]:
    """Id, name and data of the events after one, until the stream ends or there are enough."""
    headers = {} if after is None else {"last-event-id": str(after)}
    parser, found = EventParser(), []
    with client.stream("GET", f"/v1/experiments/{name}/events", headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        for piece in stream.iter_bytes():
            for event in parser.feed(piece):
                data = orjson.loads(orjson.dumps(event.data))
                found.append((int(event.id or 0), event.event, data))
                if len(found) == stop_after:
                    return found
    return found


def test_events_tell_the_whole_story_and_can_be_resumed(server: RunningServer) -> None:
    client = server.client
    with server.engine_held():
        made = start(client, name="story", dataset="few", seeds=[1, 2, 3], chunk_samples=2)
    events = follow(client, "story")
    assert [id for id, _, _ in events] == list(range(1, len(events) + 1))
    states = [data["state"] for _, name, data in events if name == "state"]
    assert states == ["queued", "running", "succeeded"]
    assert events[-1][1] == "state"
    last = events[-1][2]
    experiment = look(client, "story")
    assert last == {name: experiment[name] for name in ("state", "trials", "progress", "error")}
    assert experiment["last_event_id"] == events[-1][0]
    assert made["last_event_id"] >= 1
    found = trials(client, "story")
    for number in range(3):
        told = [data for _, name, data in events if name == "trial" and data["trial"] == number]
        assert [data["state"] for data in told] == ["running", "succeeded"]
        assert told[-1] == found[number]
    for _, name, data in events:
        if name == "progress":
            assert data["trials"]["total"] == 3
            assert data["progress"]["samples"] == 18
            assert all(one["samples"] == 6 for one in data["running"])
    middle = events[2][0]
    assert follow(client, "story", middle) == events[3:]
    assert follow(client, "story", events[-1][0]) == []


@pytest.mark.usefixtures("no_patience", "small_pool")
def test_a_pause_and_a_cancel_are_told(server: RunningServer) -> None:
    client = server.client
    with server.engine_held() as engine:
        start(client, name="told", dataset="many", seeds=[1, 2], chunk_samples=1)
        advance(client, engine, "told", 1)
        assert act(client, "told", "pause")["state"] == "paused"
    quiet(client, "told")
    act(client, "told", "cancel")
    ended(client, "told")
    events = follow(client, "told")
    states = [data["state"] for _, name, data in events if name == "state"]
    assert states == ["queued", "running", "paused", "cancelled"]
    told = [(data["trial"], data["state"]) for _, name, data in events if name == "trial"]
    assert sorted(told) == sorted(
        [(0, "running"), (0, "paused"), (0, "cancelled"), (1, "cancelled")]
    )


@pytest.mark.usefixtures("no_patience", "small_pool")
def test_ids_go_on_over_a_restart_behind_a_gap(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        put_dataset(first.client, "few", 6)
        start(first.client, name="before", dataset="few")
        ended(first.client, "before")
        known = follow(first.client, "before")
        with first.engine_held() as engine:
            put_dataset(first.client, "many", 400)
            start(first.client, name="across", dataset="many", seeds=[1, 2], chunk_samples=1)
            advance(first.client, engine, "across", 1)
            act(first.client, "across", "pause")
            seen = follow(first.client, "across", stop_after=3)
    with serving(tmp_path) as second:
        client = second.client
        act(client, "across", "resume")
        ended(client, "across")
        later = follow(client, "across", seen[-1][0])
        gap = later[0]
        assert gap[1] == "gap"
        assert gap[2] == {"from": seen[-1][0] + 1, "to": gap[0], "missed": None}
        ids = [id for id, _, _ in later]
        assert ids == list(range(gap[0], gap[0] + len(later)))
        states = [data["state"] for _, name, data in later if name == "state"]
        assert states == ["paused", "running", "succeeded"]
        # Of one that had ended, the last event is told again, under its old id.
        (told,) = follow(client, "before", known[-2][0])
        assert told == known[-1]
        gap, told = follow(client, "before")
        assert (gap[1], told) == ("gap", known[-1])
        assert follow(client, "before", known[-1][0]) == []
