"""How an experiment is watched while connections break, without a network."""

from __future__ import annotations

import asyncio
import json
import tomllib
from typing import Any

import httpx
import pytest

from energy_flow.client import (
    PATIENT,
    AsyncFlowClient,
    ExperimentEvent,
    FlowClientError,
    NotFound,
    Retry,
    ServerUnavailable,
    ServerUnreachable,
    StorageFull,
)
from service.cli.experiment.display import Lines
from service.cli.experiment.watch import Watch
from tests.client.scripted import ATTEMPTS, QUICK, BrokenStream, Recorder, client_for, problem

TRIALS = {
    "total": 4,
    "queued": 2,
    "running": 1,
    "paused": 0,
    "succeeded": 1,
    "failed": 0,
    "cancelled": 0,
}
PROGRESS = {
    "samples": 32,
    "samples_done": 10,
    "fraction": 0.3125,
    "flow_steps": 700,
    "seconds_left": 12.5,
}
TRIAL = {
    "trial": 1,
    "state": "running",
    "seed": 3,
    "parameters": {"noise_std": 0.1},
    "run_id": "r1",
    "samples": 8,
    "samples_done": 2,
    "metrics": None,
    "started_at": None,
    "ended_at": None,
    "warnings": [],
}


def experiment_document(state: str = "running", **members: Any) -> dict[str, Any]:
    return {
        "experiment_id": "e1",
        "name": "noise",
        "kind": "simulate",
        "state": state,
        "created_at": "2025-01-01T00:00:00Z",
        "started_at": None,
        "ended_at": None,
        "model": {"name": "default", "digest": "d", "trained": False, "coord_version": 2},
        "dataset": {"name": "words", "digest": "d", "rows": [0, 8]},
        "seeds": [0, 3],
        "fields": ["noise_std"],
        "trials": TRIALS,
        "progress": PROGRESS,
        "last_event_id": 1,
        "error": None,
        "warnings": [],
        **members,
    }


def there(state: str = "running") -> httpx.Response:
    return httpx.Response(200, json=experiment_document(state))


def wire(number: int, event: str, data: Any) -> bytes:
    return f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n".encode()


RUNNING = wire(1, "state", {"state": "running", "trials": TRIALS, "progress": PROGRESS})
STARTED = wire(2, "trial", TRIAL)
MOVED = wire(
    3,
    "progress",
    {
        "trials": TRIALS,
        "progress": PROGRESS,
        "running": [{"trial": 1, "samples": 8, "samples_done": 4}],
    },
)
ENDED = wire(4, "state", {"state": "succeeded", "trials": TRIALS, "progress": PROGRESS})


def test_events_have_types() -> None:
    server = Recorder(there(), httpx.Response(200, content=STARTED + MOVED + ENDED))
    with client_for(server) as client:
        running, started, moved, ended = client.experiments.watch("noise")
    assert server.requests[1].url.path == "/v1/experiments/noise/events"
    # What was told before is not told again.
    assert server.requests[1].headers["last-event-id"] == "1"
    assert (running.id, running.event, running.state) == ("1", "state", "running")
    assert running.trials is not None
    assert (running.trials.total, running.trials.ended) == (4, 1)
    assert running.progress is not None
    assert running.progress.seconds_left == 12.5
    assert started.trial is not None
    assert (started.trial.trial, started.trial.parameters) == (1, {"noise_std": 0.1})
    # A trial's state is not the experiment's.
    assert started.state is None
    assert [(one.trial, one.samples_done) for one in moved.running] == [(1, 4)]
    assert ended.state == "succeeded"


def broken_watch() -> Recorder:
    return Recorder(
        there(),
        httpx.Response(200, stream=BrokenStream(STARTED + MOVED[:20])),
        httpx.ConnectError("refused"),
        httpx.Response(502, text="bad gateway"),
        problem(503, {"Retry-After": "0"}),
        httpx.Response(200, content=MOVED + ENDED),
    )


PERSISTENT = Retry(attempts=None, first_wait=0.001, longest_wait=0.002)


def test_a_watch_goes_on_after_everything_that_a_restart_brings() -> None:
    server = broken_watch()
    told: list[FlowClientError | None] = []
    with client_for(server) as client:
        watch = client.experiments.watch("noise", retry=PERSISTENT, on_connection=told.append)
        events = [event.event for event in watch]
    assert events == ["state", "trial", "progress", "state"]
    assert [request.headers.get("last-event-id") for request in server.requests[1:]] == [
        "1",
        *["2"] * 4,
    ]
    assert [type(error) for error in told[:2]] == [ServerUnreachable, ServerUnreachable]
    assert isinstance(told[3], ServerUnavailable)
    assert told[4:] == [None]


def test_where_events_were_missed_the_experiment_is_read_anew() -> None:
    gap = wire(9, "gap", {"missed": 7})
    server = Recorder(
        there(),
        httpx.Response(200, content=STARTED + gap),
        httpx.ConnectError("refused"),
        there("succeeded"),
    )
    with client_for(server) as client:
        watch = client.experiments.watch("noise", retry=PERSISTENT)
        events = [(event.event, event.state) for event in watch]
    assert events == [
        ("state", "running"),
        ("trial", None),
        ("gap", None),
        ("state", "succeeded"),
    ]


def test_a_watch_can_begin_earlier() -> None:
    server = Recorder(there(), httpx.Response(200, content=RUNNING + ENDED))
    with client_for(server) as client:
        watch = client.experiments.watch("noise", last_event_id="0")
        assert [event.id for event in watch] == ["1", "4"]
    assert server.requests[1].headers["last-event-id"] == "0"


def test_a_watch_of_what_has_ended_ends_at_once() -> None:
    server = Recorder(there("failed"))
    with client_for(server) as client:
        assert [event.state for event in client.experiments.watch("noise")] == ["failed"]


def test_a_watch_tells_at_once_that_there_is_nothing_to_watch() -> None:
    with client_for(Recorder(problem(404))) as client, pytest.raises(NotFound):
        next(client.experiments.watch("noise"))
    nobody = Recorder(httpx.ConnectError("refused"))
    with client_for(nobody) as client, pytest.raises(ServerUnreachable):
        next(client.experiments.watch("noise"))
    assert len(nobody.requests) == 1


def test_a_watch_ends_when_the_experiment_is_gone_or_the_server_stays_away() -> None:
    removed = Recorder(there(), httpx.Response(200, content=STARTED), problem(404))
    with client_for(removed) as client, pytest.raises(NotFound):
        list(client.experiments.watch("noise", retry=PERSISTENT))
    away = Recorder(there(), *(httpx.ConnectError("refused") for _ in range(9)))
    with client_for(away) as client, pytest.raises(ServerUnreachable):
        list(client.experiments.watch("noise", retry=QUICK))
    assert len(away.requests) == 1 + 1 + ATTEMPTS


def test_patience_is_measured_in_time_not_in_tries() -> None:
    assert PATIENT.wait(10_000, 1.0, tried_for=10.0) == 1.0
    assert PATIENT.wait(10_000, tried_for=10.0) == PATIENT.longest_wait
    assert PATIENT.away_seconds is not None
    assert PATIENT.wait(0, 1.0, tried_for=PATIENT.away_seconds) is None


def test_waiting_bears_a_gateway_without_a_server() -> None:
    server = Recorder(
        there(), httpx.Response(502, text="bad gateway"), httpx.ConnectError("refused"),
        there("succeeded"),
    )  # fmt: skip
    with client_for(server) as client:
        assert client.experiments.wait("noise", retry=PERSISTENT).state == "succeeded"
    # Not before it was ever there.
    nobody = Recorder(httpx.ConnectError("refused"))
    with client_for(nobody) as client, pytest.raises(ServerUnreachable):
        client.experiments.wait("noise", retry=PERSISTENT)


def test_a_patient_client_does_nothing_twice() -> None:
    server = Recorder(httpx.ConnectError("refused"))
    with client_for(server, PERSISTENT) as client, pytest.raises(ServerUnreachable):
        client.experiments.pause("noise")
    broke = httpx.RemoteProtocolError("server disconnected")
    server = Recorder(broke, httpx.Response(201, json=experiment_document("queued")))
    with client_for(server) as client:
        assert client.experiments.create("noise", "words").state == "queued"
    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert (len(server.requests), len(keys)) == (2, 1)
    assert json.loads(server.requests[0].content) == {"name": "noise", "dataset": "words"}


def test_dotted_keys_of_toml_are_dotted_names() -> None:
    document = tomllib.loads(
        """
        name = "noise"
        dataset = "words"
        options = { max_steps = 8, spawn.max_children = 2 }
        [sweep]
        count = 5
        [sweep.random]
        noise_std = { low = 0.01, high = 1.0, log = true }
        spawn.threshold = { low = 0.1, high = 0.5 }
        spawn.mode = ["off", "threshold"]
        "convergence.window" = [4, 8]
        """
    )
    server = Recorder(httpx.Response(201, json=experiment_document("queued")))
    with client_for(server) as client:
        client.experiments.create_from(document)
    sent = json.loads(server.requests[0].content)
    assert sent["options"] == {"max_steps": 8, "spawn": {"max_children": 2}}
    assert sent["sweep"] == {
        "count": 5,
        "random": {
            "noise_std": {"low": 0.01, "high": 1.0, "log": True},
            "spawn.threshold": {"low": 0.1, "high": 0.5},
            "spawn.mode": ["off", "threshold"],
            "convergence.window": [4, 8],
        },
    }


def test_a_pause_by_the_server_says_why() -> None:
    error = {"title": "Disk full", "status": 507, "detail": "no room"}
    server = Recorder(httpx.Response(200, json=experiment_document("paused", error=error)))
    with client_for(server) as client:
        assert isinstance(client.experiments.get("noise").problem, StorageFull)


def failed_trial(number: int) -> dict[str, Any]:
    error = {"title": "Invalid input", "status": 422, "detail": "not finite"}
    return {**TRIAL, "trial": number, "state": "failed", "error": error}


def test_the_command_tells_what_went_wrong_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = {"title": "Disk full", "status": 507, "detail": "no room"}
    told = {"trials": TRIALS, "progress": PROGRESS}
    stream = (
        wire(2, "state", {"state": "paused", "error": full, **told})
        + wire(3, "state", {"state": "running", "error": None, **told})
        + wire(4, "trial", failed_trial(0))
        + wire(9, "gap", {"missed": 5})
    )
    failed = [0]

    def serve(request: httpx.Request) -> httpx.Response:
        match request.url.path.rpartition("/")[2]:
            case "events":
                # From here on more has failed than anybody wants to read.
                failed[:] = range(25)
                return httpx.Response(200, content=stream)
            case "trials":
                items = [failed_trial(number) for number in failed]
                return httpx.Response(200, json={"items": items, "next_cursor": None})
            case _:
                return there("running" if len(failed) == 1 else "failed")

    with client_for(serve) as client:
        ended = Watch(client, client.experiments.get("noise"), Lines()).carry_out()
    assert ended.state == "failed"
    lines = capsys.readouterr().err.splitlines()
    assert (
        "paused by the server: 507 Disk full: no room; go on with: "
        "energy-flow experiment resume noise --url http://server"
    ) in lines
    failures = [line for line in lines if line.startswith("failed: ")]
    assert failures[0] == "failed: trial 0 (noise_std=0.1, seed 3): 422 Invalid input: not finite"
    assert len(failures) == 21
    assert "further trials" in failures[-1]
    assert lines[-1].startswith("noise failed: ")


def test_results_are_read_page_by_page() -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        first = int(request.url.params.get("cursor", 0))
        page = {
            "experiment_id": "e1",
            "name": "noise",
            "state": "succeeded",
            "columns": ["trial", "created", "error"],
            "rows": [{"trial": first, "created": 5}, {"trial": first + 1, "error": "no"}],
            "next_cursor": str(first + 2) if first < 2 else None,
        }
        return httpx.Response(200, json=page)

    with client_for(serve) as client:
        results = client.experiments.results("noise")
    assert len(results) == 4
    assert results["trial"] == [0, 1, 2, 3]
    assert results["created"] == [5, None, 5, None]
    with pytest.raises(KeyError):
        results["nonsense"]
    assert list(results.to_pandas().columns) == ["trial", "created", "error"]


def test_the_asynchronous_client_watches_in_the_same_way() -> None:
    server = broken_watch()

    async def converse() -> list[ExperimentEvent]:
        transport = httpx.MockTransport(server)
        async with AsyncFlowClient("http://server", transport=transport) as client:
            return [event async for event in client.experiments.watch("noise", retry=PERSISTENT)]

    events = asyncio.run(converse())
    assert [event.event for event in events] == ["state", "trial", "progress", "state"]
