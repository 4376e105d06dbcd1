"""Clients share the engine: turns in the queue, shares of the pools, room in the queue."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from energy_flow.engine import Engine, RunListener, RunRequest
from energy_flow.engine.clients import Clients, has_room
from energy_flow.engine.estimate import flow_steps_bound
from energy_flow.engine.schedule import Run
from energy_flow.errors import QueueFull, RunCancelled
from tests.support.run_listener import RecordingListener, assert_equal
from tests.support.small_model import CELLS, make_untrained, small_config
from tests.support.waits import LIMIT_SECONDS

ENDED_AT_ONCE = {"max_steps": 1, "projection_age": 1}


class OrderedListener(RecordingListener):
    """Appends its name to a list when its run starts."""

    def __init__(self, name: str, order: list[str]) -> None:
        super().__init__()
        self._name = name
        self._order = order

    def started(self, entering_seconds: float) -> None:
        self._order.append(self._name)
        super().started(entering_seconds)


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """Hold the engine between two steps until the end of the block."""
    stands, go_on = threading.Event(), threading.Event()

    def stand() -> None:
        stands.set()
        go_on.wait(LIMIT_SECONDS)

    engine.call(stand)
    assert stands.wait(LIMIT_SECONDS)
    try:
        yield
    finally:
        go_on.set()


@contextmanager
def running(max_pool_samples: int, max_queued_flow_steps: int = 10**12) -> Iterator[Engine]:
    engine = Engine(
        max_pool_flows=max_pool_samples * CELLS, max_queued_flow_steps=max_queued_flow_steps
    )
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def send(
    engine: Engine, client: str, listener: RecordingListener | None = None, samples: int = 4
) -> RecordingListener:
    """Submit a run of a client, and return its listener."""
    listener = listener or RecordingListener()
    config = small_config(**ENDED_AT_ONCE)
    embeddings = np.full((samples, config.embedding_dim), 0.1, np.float32)
    model = engine.add_model(make_untrained()).digest
    request = RunRequest(
        f"run {id(listener)}",
        model,
        config,
        embeddings,
        0,
        range(samples),
        ("surface", "hits"),
        client=client,
    )
    engine.submit(request, listener)
    return listener


def test_one_run_does_not_wait_for_all_runs_of_another_client() -> None:
    order: list[str] = []
    with running(max_pool_samples=4) as engine:
        with held(engine):
            many = [send(engine, "many", OrderedListener("many", order)) for _ in range(9)]
            one = send(engine, "one", OrderedListener("one", order))
        one.result()
        for listener in many:
            listener.result()
    assert order.index("one") <= 1


def test_clients_take_turns_whatever_their_number_of_runs() -> None:
    order: list[str] = []
    with running(max_pool_samples=4) as engine:
        with held(engine):
            sent = [
                send(engine, client, OrderedListener(client, order))
                for client in ("a", "a", "a", "a", "b", "b", "c", "b", "b", "c")
            ]
        for listener in sent:
            listener.result()
    for first in range(0, 6, 3):
        assert sorted(order[first : first + 3]) == ["a", "b", "c"]


def test_runs_of_one_client_enter_in_the_order_of_arrival() -> None:
    order: list[str] = []
    names = [str(number) for number in range(6)]
    with running(max_pool_samples=4) as engine:
        with held(engine):
            sent = [send(engine, "a", OrderedListener(name, order)) for name in names]
        for listener in sent:
            listener.result()
    assert order == names


def test_results_do_not_depend_on_the_clients() -> None:
    with running(max_pool_samples=100) as engine:
        alone = send(engine, "a").result()
        with held(engine):
            sent = [send(engine, client, samples=4) for client in "bacbca"]
        for listener in sent:
            assert_equal(listener.result(), alone)


def make_run(client: str, bound: int = 1, samples: int = 1) -> Run:
    config = small_config()
    embeddings = np.zeros((samples, config.embedding_dim), np.float32)
    request = RunRequest("run", "digest", config, embeddings, 0, range(samples), client=client)
    return Run(request, make_untrained(), RunListener(), bound)


def enter_all(clients: Clients, runs: list[Run], flows: dict[str, int]) -> Counter[str]:
    """Let runs enter an endless pool, and return the flows of the clients."""
    now = Counter(flows)
    for run in clients.order(runs, flows):
        run.next_sample = run.samples
        now[run.request.client] += run.samples * CELLS
        clients.enter(run.request.client, run.samples * CELLS)
    return now


def test_a_client_alone_has_the_whole_pool_and_beside_others_as_much_as_they() -> None:
    seconds = 0.0
    clients = Clients(max_flows=3200, clock=lambda: seconds)
    runs = [make_run("flood", samples=3) for _ in range(100)]
    assert enter_all(clients, runs[:50], {}) == {"flood": 50 * 48}
    now = enter_all(clients, [make_run("steady", samples=25)], {"flood": 2400})
    assert now["steady"] == 400
    # The other one is in the pool: no more than it has.
    assert enter_all(clients, runs[50:], {"steady": 400})["flood"] == 8 * 48
    # It has left a moment ago, and may come back.
    seconds = 0.9
    runs = [make_run("flood", samples=3) for _ in range(100)]
    assert enter_all(clients, runs, {"flood": 384})["flood"] == 384
    seconds = 2.0
    assert enter_all(clients, runs, {"flood": 384})["flood"] == 384 + 100 * 48


def test_a_part_of_the_pool_is_for_everyone() -> None:
    clients = Clients(max_flows=3200)
    enter_all(clients, [], {"small": 1})
    runs = [make_run("many") for _ in range(100)]
    assert enter_all(clients, runs, {"small": 1})["many"] == 3200 // 32 // CELLS * CELLS


def test_a_client_without_flows_may_always_send() -> None:
    clients = Clients(max_flows=3200)
    enter_all(clients, [], {"small": 1})
    assert enter_all(clients, [make_run("large", samples=100)], {"small": 1})["large"] == 1600


def test_room_in_the_queue_is_shared_among_those_who_wait() -> None:
    full = [make_run("a", 10) for _ in range(10)]
    assert has_room(full[:9], "a", 10, limit=100)
    assert not has_room(full, "a", 1, limit=100)
    # Another one finds room, and then each has a half.
    assert has_room(full, "b", 40, limit=100)
    waiting = [*full[:4], make_run("b", 40)]
    assert has_room(waiting, "a", 10, limit=100)
    assert has_room(waiting, "b", 10, limit=100)
    assert not has_room(waiting, "a", 20, limit=100)
    # There is an end to it.
    waiting = [*full, *(make_run(f"client {number}", 10) for number in range(10))]
    assert not has_room(waiting, "last", 1, limit=100)
    # Whatever its size, a run is accepted if nothing waits.
    assert has_room([], "a", 1000, limit=100)


def test_a_client_with_a_full_queue_leaves_room_for_others() -> None:
    config = small_config(**ENDED_AT_ONCE)
    bound = flow_steps_bound(config, 4)
    with running(max_pool_samples=4, max_queued_flow_steps=4 * bound) as engine:
        with held(engine):
            sent = [send(engine, "many") for _ in range(4)]
            with pytest.raises(QueueFull):
                send(engine, "many")
            with pytest.raises(QueueFull):
                engine.require_room("many")
            engine.require_room("one")
            sent.append(send(engine, "one"))
        for listener in sent:
            listener.result()
        engine.require_room("many")


def test_a_discarded_run_frees_its_place_without_results() -> None:
    with running(max_pool_samples=4) as engine:
        listener = RecordingListener()
        config = small_config(max_steps=10**6, projection_age=10**6, noise_std=0.001)
        config = config.with_options({"convergence.enabled": False, "displacement_scale": 1e-9})
        embeddings = np.zeros((4, config.embedding_dim), np.float32)
        model = engine.add_model(make_untrained()).digest
        engine.submit(RunRequest("left", model, config, embeddings, 0, range(4)), listener)
        assert listener.begun.wait(LIMIT_SECONDS)
        engine.cancel("left", discard=True)
        with pytest.raises(RunCancelled):
            listener.result()
        assert listener.chunks == []
        send(engine, "next").result()
