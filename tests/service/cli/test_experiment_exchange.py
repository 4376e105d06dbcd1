"""Watching an experiment while connections break, without a network."""

from __future__ import annotations

import asyncio
import json
import tomllib
from typing import Any

import httpx
import pytest

from energy_flow.client import (
    PATIENT,
    ExperimentEvent,
    FlowClientError,
    NotFound,
    Retry,
    ServerUnavailable,
    ServerUnreachable,
    StorageFull,
)
from energy_flow.testing import (
    QUICK_RETRY,
    BrokenStream,
    InProcessServer,
    ScriptedServer,
    encode_event,
    problem_answer,
)
from service.cli.experiment.display import Lines
from service.cli.experiment.watch import Watch

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


RUNNING = encode_event(1, "state", {"state": "running", "trials": TRIALS, "progress": PROGRESS})
STARTED = encode_event(2, "trial", TRIAL)
MOVED = encode_event(
    3,
    "progress",
    {
        "trials": TRIALS,
        "progress": PROGRESS,
        "running": [{"trial": 1, "samples": 8, "samples_done": 4}],
    },
)
ENDED = encode_event(4, "state", {"state": "succeeded", "trials": TRIALS, "progress": PROGRESS})


def test_events_have_types() -> None:
    server = ScriptedServer(there(), httpx.Response(200, content=STARTED + MOVED + ENDED))
    with server.client() as client:
        running, started, moved, ended = client.experiments.watch("noise")
    assert server.requests[1].url.path == "/v1/experiments/noise/events"
    # Events before the state that was read are not requested.
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


def broken_watch() -> ScriptedServer:
    return ScriptedServer(
        there(),
        httpx.Response(200, stream=BrokenStream(STARTED + MOVED[:20])),
        httpx.ConnectError("refused"),
        httpx.Response(502, text="bad gateway"),
        problem_answer(503, {"Retry-After": "0"}),
        httpx.Response(200, content=MOVED + ENDED),
    )


PERSISTENT = Retry(attempts=None, first_wait=0.001, longest_wait=0.002)


def test_a_watch_continues_after_every_failure_of_a_restart() -> None:
    server = broken_watch()
    reported: list[FlowClientError | None] = []
    with server.client() as client:
        watch = client.experiments.watch("noise", retry=PERSISTENT, on_connection=reported.append)
        events = [event.event for event in watch]
    assert events == ["state", "trial", "progress", "state"]
    assert [request.headers.get("last-event-id") for request in server.requests[1:]] == [
        "1",
        *["2"] * 4,
    ]
    assert [type(error) for error in reported[:2]] == [ServerUnreachable, ServerUnreachable]
    assert isinstance(reported[3], ServerUnavailable)
    assert reported[4:] == [None]


def test_after_a_gap_the_experiment_is_read_again() -> None:
    gap = encode_event(9, "gap", {"missed": 7})
    server = ScriptedServer(
        there(),
        httpx.Response(200, content=STARTED + gap),
        httpx.ConnectError("refused"),
        there("succeeded"),
    )
    with server.client() as client:
        watch = client.experiments.watch("noise", retry=PERSISTENT)
        events = [(event.event, event.state) for event in watch]
    assert events == [
        ("state", "running"),
        ("trial", None),
        ("gap", None),
        ("state", "succeeded"),
    ]


def test_a_watch_can_begin_earlier() -> None:
    server = ScriptedServer(there(), httpx.Response(200, content=RUNNING + ENDED))
    with server.client() as client:
        watch = client.experiments.watch("noise", last_event_id="0")
        assert [event.id for event in watch] == ["1", "4"]
    assert server.requests[1].headers["last-event-id"] == "0"


def test_a_watch_of_an_ended_experiment_ends_at_once() -> None:
    server = ScriptedServer(there("failed"))
    with server.client() as client:
        assert [event.state for event in client.experiments.watch("noise")] == ["failed"]


def test_a_watch_without_experiment_or_server_fails_at_once() -> None:
    with ScriptedServer(problem_answer(404)).client() as client, pytest.raises(NotFound):
        next(client.experiments.watch("noise"))
    unreachable = ScriptedServer(httpx.ConnectError("refused"))
    with unreachable.client() as client, pytest.raises(ServerUnreachable):
        next(client.experiments.watch("noise"))
    assert len(unreachable.requests) == 1


def test_a_watch_ends_if_the_experiment_is_removed_or_the_server_is_unreachable() -> None:
    removed = ScriptedServer(there(), httpx.Response(200, content=STARTED), problem_answer(404))
    with removed.client() as client, pytest.raises(NotFound):
        list(client.experiments.watch("noise", retry=PERSISTENT))
    away = ScriptedServer(there(), *(httpx.ConnectError("refused") for _ in range(9)))
    with away.client() as client, pytest.raises(ServerUnreachable):
        list(client.experiments.watch("noise", retry=QUICK_RETRY))
    assert len(away.requests) - 2 == QUICK_RETRY.attempts


def test_patience_is_limited_by_time_not_by_attempts() -> None:
    assert PATIENT.wait(10_000, 1.0, tried_for=10.0) == 1.0
    assert PATIENT.wait(10_000, tried_for=10.0) == PATIENT.longest_wait
    assert PATIENT.away_seconds is not None
    assert PATIENT.wait(0, 1.0, tried_for=PATIENT.away_seconds) is None


def test_wait_continues_while_only_a_gateway_answers() -> None:
    server = ScriptedServer(
        there(), httpx.Response(502, text="bad gateway"), httpx.ConnectError("refused"),
        there("succeeded"),
    )  # fmt: skip
    with server.client() as client:
        assert client.experiments.wait("noise", retry=PERSISTENT).state == "succeeded"
    # Not if it was never reached.
    unreachable = ScriptedServer(httpx.ConnectError("refused"))
    with unreachable.client() as client, pytest.raises(ServerUnreachable):
        client.experiments.wait("noise", retry=PERSISTENT)


def test_a_patient_client_repeats_only_what_is_safe() -> None:
    server = ScriptedServer(httpx.ConnectError("refused"))
    with server.client(PERSISTENT) as client, pytest.raises(ServerUnreachable):
        client.experiments.pause("noise")
    broke = httpx.RemoteProtocolError("server disconnected")
    server = ScriptedServer(broke, httpx.Response(201, json=experiment_document("queued")))
    with server.client() as client:
        assert client.experiments.create("noise", "words").state == "queued"
    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert (len(server.requests), len(keys)) == (2, 1)
    assert json.loads(server.requests[0].content) == {"name": "noise", "dataset": "words"}


def test_dotted_keys_of_toml_become_dotted_names() -> None:
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
    server = ScriptedServer(httpx.Response(201, json=experiment_document("queued")))
    with server.client() as client:
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


def test_a_pause_by_the_server_has_a_reason() -> None:
    error = {"title": "Disk full", "status": 507, "detail": "no room"}
    server = ScriptedServer(httpx.Response(200, json=experiment_document("paused", error=error)))
    with server.client() as client:
        assert isinstance(client.experiments.get("noise").problem, StorageFull)


def failed_trial(number: int) -> dict[str, Any]:
    error = {"title": "Invalid input", "status": 422, "detail": "not finite"}
    return {**TRIAL, "trial": number, "state": "failed", "error": error}


def test_the_command_reports_causes_and_next_steps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = {"title": "Disk full", "status": 507, "detail": "no room"}
    counts = {"trials": TRIALS, "progress": PROGRESS}
    stream = (
        encode_event(2, "state", {"state": "paused", "error": full, **counts})
        + encode_event(3, "state", {"state": "running", "error": None, **counts})
        + encode_event(4, "trial", failed_trial(0))
        + encode_event(9, "gap", {"missed": 5})
    )
    failed = [0]

    def serve(request: httpx.Request) -> httpx.Response:
        match request.url.path.rpartition("/")[2]:
            case "events":
                # From here on more trials have failed than are listed.
                failed[:] = range(25)
                return httpx.Response(200, content=stream)
            case "trials":
                items = [failed_trial(number) for number in failed]
                return httpx.Response(200, json={"items": items, "next_cursor": None})
            case _:
                return there("running" if len(failed) == 1 else "failed")

    with InProcessServer(serve).client() as client:
        ended = Watch(client, client.experiments.get("noise"), Lines()).run()
    assert ended.state == "failed"
    lines = capsys.readouterr().err.splitlines()
    assert (
        "paused by the server: 507 Disk full: no room; resume with: "
        "energy-flow experiment resume noise --url http://server"
    ) in lines
    failures = [line for line in lines if line.startswith("failed: ")]
    assert failures[0] == "failed: trial 0 (noise_std=0.1, seed 3): 422 Invalid input: not finite"
    assert len(failures) == 21
    assert failures[-1] == (
        "failed: more trials; see them with: "
        "energy-flow experiment results noise --url http://server"
    )
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

    with InProcessServer(serve).client() as client:
        results = client.experiments.results("noise")
    assert len(results) == 4
    assert results["trial"] == [0, 1, 2, 3]
    assert results["created"] == [5, None, 5, None]
    with pytest.raises(KeyError):
        results["nonsense"]
    assert list(results.to_pandas().columns) == ["trial", "created", "error"]


def test_the_asynchronous_client_watches_in_the_same_way() -> None:
    server = broken_watch()

    async def use() -> list[ExperimentEvent]:
        async with server.async_client() as client:
            return [event async for event in client.experiments.watch("noise", retry=PERSISTENT)]

    events = asyncio.run(use())
    assert [event.event for event in events] == ["state", "trial", "progress", "state"]
