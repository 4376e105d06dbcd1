"""Many runs in one pool: each comes out as it does alone, and none harms another."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from energy_flow import FlowConfig, FlowProcessor, SimulationResult
from energy_flow.engine import Engine
from energy_flow.errors import (
    CapacityError,
    ConfigError,
    DeadlineExceeded,
    DeviceMemoryError,
    EnergyFlowError,
    EngineUnavailable,
    NonFiniteError,
    QueueFull,
    RunCancelled,
    RunPaused,
)
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.pool import Entrant, FlowState
from energy_flow.simulation.step import Observer
from tests.energy_flow.listening import OUTPUTS, SECONDS, Heard, check_equal, send
from tests.energy_flow.small import LIVELY, small_config, untrained

WIDTH = 8
ENDLESS = {
    "max_steps": 10**6,
    "projection_age": 10**6,
    "convergence.enabled": False,
    "noise_std": 0.001,
    "spawn.mode": "off",
    "displacement_scale": 1e-9,
}
"""Options of a run that goes on until somebody ends it."""
OPTIONS: list[dict[str, Any]] = [
    {},
    dict(LIVELY),
    {"noise_std": 0.1, "spawn.mode": "percentile"},
    {"max_steps": 3, "projection_age": 2},
    {"aggregation_mode": "legacy", "trace.capacity": 20},
    {"convergence.enabled": False, "spawn.mode": "off", "boundary": "clamp"},
    {"precision": "bfloat16"},
    {"trace.capacity": 0, "convergence.window": 2},
]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    engine.start()
    yield engine
    engine.stop()


def rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def check_empty(engine: Engine) -> None:
    def empty() -> bool:
        status = engine.status()
        return not status.queued_runs and not status.admitted_flow_steps

    until(empty)
    assert engine.status().active_flows == 0


def test_runs_that_share_a_pool_equal_runs_alone(engine: Engine) -> None:
    chance = random.Random(0)
    processor = untrained()
    sent = []
    for number in range(60):
        options, count = chance.choice(OPTIONS), chance.choice([1, 2, 8, 700])
        name = f"run {number}"
        heard = send(engine, processor, rows(count, number), options, name=name, seed=number)
        sent.append((heard, options, count))
        if chance.random() < 0.2:
            engine.cancel(f"run {chance.randrange(number + 1)}")
        time.sleep(chance.random() * 0.01)
    equal = 0
    for number, (heard, options, count) in enumerate(sent):
        assert heard.over.wait(SECONDS)
        if isinstance(heard.error, RunCancelled):
            continue
        alone = processor.simulate(
            rows(count, number), options=options, seed=number, outputs=OUTPUTS
        )
        check_equal(heard.result(), alone)
        equal += 1
    assert equal >= 30
    check_empty(engine)


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """The engine takes runs and does nothing with them until the block ends."""
    go_on = threading.Event()
    engine.call(lambda: go_on.wait(SECONDS))
    try:
        yield
    finally:
        go_on.set()


def test_runs_that_enter_together_equal_runs_alone(engine: Engine) -> None:
    processor = untrained()
    with held(engine):
        sent = [
            send(engine, processor, rows(1 + number % 3, number), options, seed=number)
            for number, options in enumerate(OPTIONS)
        ]
        wrong = send(engine, processor, rows(2)[:, 1:])
    for number, (heard, options) in enumerate(zip(sent, OPTIONS, strict=True)):
        embeddings = rows(1 + number % 3, number)
        alone = processor.simulate(embeddings, options=options, seed=number, outputs=OUTPUTS)
        check_equal(heard.result(), alone)
    with pytest.raises(EnergyFlowError, match=r"\(2, 8\) were to come, not \(2, 7\)"):
        wrong.result()
    check_empty(engine)


class Picky(FlowProcessor):
    """A model that cannot start runs of one seed."""

    def enter_all(self, state: FlowState, entrants: Sequence[Entrant]) -> FlowState:
        if any(entrant.seed == 13 for entrant in entrants):
            raise RuntimeError("not this one")
        return super().enter_all(state, entrants)


def test_a_run_that_cannot_enter_fails_alone(engine: Engine) -> None:
    processor = Picky(small_config())
    with held(engine):
        sent = [send(engine, processor, rows(2), seed=seed) for seed in (12, 13, 14)]
    for heard, seed in zip(sent, (12, 13, 14), strict=True):
        if seed == 13:
            with pytest.raises(EnergyFlowError, match="not this one"):
                heard.result()
        else:
            alone = processor.simulate(rows(2), seed=seed, outputs=OUTPUTS)
            check_equal(heard.result(), alone)
    check_empty(engine)


def test_a_large_run_comes_in_chunks_and_lets_small_ones_pass(engine: Engine) -> None:
    processor = untrained()
    order: list[str] = []
    small: list[Heard] = []

    class Noted(Heard):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def ended(self, error: EnergyFlowError | None) -> None:
            order.append(self.name)
            super().ended(error)

    class Large(Noted):
        def started(self, entering_seconds: float) -> None:
            super().started(entering_seconds)
            for number in range(3):
                heard = Noted(f"small {number}")
                small.append(send(engine, processor, rows(1, number), name=heard.name, heard=heard))

    large = Large("large")
    result = send(engine, processor, rows(6000), name="large", heard=large).result()
    for heard in small:
        heard.result()
    assert sorted(order) == ["large", "small 0", "small 1", "small 2"]
    assert order[-1] == "large"
    assert len(large.chunks) > 1
    firsts = [first for first, _ in large.chunks]
    assert firsts == sorted(firsts)
    assert [sample.sample for sample in result.samples] == list(range(6000))


def test_cancelling_keeps_what_the_run_had_and_leaves_others_alone(engine: Engine) -> None:
    processor = untrained()
    doomed = send(engine, processor, rows(3), ENDLESS, name="doomed")
    other = send(engine, processor, rows(5, 1), dict(LIVELY), name="other")
    assert doomed.begun.wait(SECONDS)
    until(lambda: doomed.steps >= 3)
    assert engine.cancel("doomed")
    assert doomed.over.wait(SECONDS)
    assert isinstance(doomed.error, RunCancelled)
    (_, kept), *_ = doomed.chunks
    assert kept.metrics.counters.steps >= 3
    assert kept.metrics.counters.completed < kept.metrics.counters.created
    alone = processor.simulate(rows(5, 1), options=dict(LIVELY), outputs=OUTPUTS)
    check_equal(other.result(), alone)
    assert not engine.cancel("doomed")
    check_empty(engine)


def test_a_paused_run_ends_what_it_has_begun_and_goes_on_from_there(engine: Engine) -> None:
    count, options = 11, dict(LIVELY)
    expected = untrained().simulate(rows(count), options=options, outputs=OUTPUTS)
    parts: list[SimulationResult] = []
    for first in range(0, count, 3):
        heard = send(
            engine,
            untrained(),
            rows(count),
            options,
            streams=True,
            first_sample=first,
            chunk_samples=3,
            heard=PausedAtOnce(engine),
        )
        assert heard.over.wait(SECONDS)
        ((begun, result),) = heard.chunks
        assert begun == first
        assert len(result.samples) == min(3, count - first)
        # Of the last chunk there is nothing left to pause.
        assert isinstance(heard.error, RunPaused) == (first + 3 < count)
        parts.append(result)
    check_equal(SimulationResult.concatenate(parts), expected)
    check_empty(engine)


class PausedAtOnce(Heard):
    """Pauses its run when the first chunk has begun."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def started(self, entering_seconds: float) -> None:
        super().started(entering_seconds)
        self._engine.pause("run")


def test_a_run_that_waits_can_be_paused(engine: Engine) -> None:
    endless = send(engine, untrained(), rows(1), ENDLESS, name="endless", heard=Reluctant())
    assert engine.pause("endless")
    assert endless.over.wait(SECONDS)
    assert isinstance(endless.error, RunPaused)
    assert not endless.chunks
    assert not endless.begun.is_set()
    assert not engine.pause("endless")
    check_empty(engine)


class Reluctant(Heard):
    """Takes no chunk."""

    def accepts(self) -> bool:
        return False


def test_a_deadline_ends_a_run(engine: Engine) -> None:
    heard = send(engine, untrained(), rows(2), ENDLESS, deadline=time.monotonic() + 0.2)
    with pytest.raises(DeadlineExceeded):
        heard.result()
    check_empty(engine)


def test_a_run_that_breaks_fails_alone(engine: Engine) -> None:
    broken = FlowProcessor(small_config())
    with torch.no_grad():
        broken.carrier.get_parameter("displacement_head.2.bias").fill_(torch.nan)
    failing = send(engine, broken, rows(2), name="broken")
    other = send(engine, untrained(), rows(2), name="other")
    with pytest.raises(NonFiniteError) as told:
        failing.result()
    assert (told.value.sample, told.value.flow, told.value.step) == (0, 0, 0)
    check_equal(other.result(), untrained().simulate(rows(2), outputs=OUTPUTS))
    check_empty(engine)


class Cramped(FlowProcessor):
    """A model on a device that holds no more than so many flows."""

    room = 0

    def step(self, state: FlowState, observe: Observer | None = None) -> FlowState:
        if state.active_flows > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return super().step(state, observe)


def test_out_of_memory_splits_the_work_once(engine: Engine) -> None:
    processor = Cramped(small_config())
    processor.room = 100
    options = {"spawn.mode": "off"}
    heard = send(engine, processor, rows(8), options)
    result = heard.result()
    assert engine.status().out_of_memory_splits == 1
    processor.room = 10**9
    check_equal(result, processor.simulate(rows(8), options=options, outputs=OUTPUTS))
    check_empty(engine)


def test_only_the_run_that_cannot_fit_fails(engine: Engine) -> None:
    processor = Cramped(small_config())
    processor.room = 40
    options = {"spawn.mode": "off"}
    large = send(engine, processor, rows(8), options, name="large")
    small = send(engine, processor, rows(2), options, name="small")
    with pytest.raises(DeviceMemoryError):
        large.result()
    processor.room = 10**9
    check_equal(small.result(), processor.simulate(rows(2), options=options, outputs=OUTPUTS))
    check_empty(engine)


def test_a_bug_in_a_step_fails_its_runs_and_the_engine_goes_on(engine: Engine) -> None:
    class Buggy(FlowProcessor):
        def step(self, state: FlowState, observe: Observer | None = None) -> FlowState:
            raise RuntimeError("a bug")

    with pytest.raises(EnergyFlowError, match="a bug"):
        send(engine, Buggy(small_config()), rows(2)).result()
    send(engine, untrained(), rows(2)).result()
    check_empty(engine)


def test_a_listener_that_breaks_costs_its_own_run(engine: Engine) -> None:
    class Broken(Heard):
        def started(self, entering_seconds: float) -> None:
            raise RuntimeError("broken listener")

    heard = send(engine, untrained(), rows(2), ENDLESS, heard=Broken())
    with pytest.raises(RunCancelled):
        heard.result()
    send(engine, untrained(), rows(2)).result()


@dataclass
class Source:
    """Embeddings made when they are read."""

    rows: int
    reads: int = 0
    fails_at: int = 10**9

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        self.reads += 1
        if stop > self.fails_at:
            raise OSError("the disk is gone")
        return np.stack([rows(1, row)[0] for row in range(start, stop)])


def test_embeddings_are_read_a_part_at_a_time(engine: Engine) -> None:
    source = Source(1200)
    result = send(engine, untrained(), source, streams=True).result()
    assert source.reads > 1
    whole = untrained().simulate(source.read(0, 1200), outputs=OUTPUTS)
    check_equal(result, whole)


def test_a_source_that_fails_fails_its_run(engine: Engine) -> None:
    heard = send(engine, untrained(), Source(1200, fails_at=600), streams=True)
    with pytest.raises(EnergyFlowError, match="the disk is gone"):
        heard.result()
    check_empty(engine)


def test_chunks_wait_for_a_listener_that_is_behind(engine: Engine) -> None:
    class Behind(Heard):
        ready = threading.Event()

        def accepts(self) -> bool:
            return not self.chunks or self.ready.is_set()

    heard = Behind()
    send(engine, untrained(), rows(3000), streams=True, heard=heard)
    until(lambda: heard.chunks)
    send(engine, untrained(), rows(1), name="other").result()
    assert not heard.over.is_set()
    heard.ready.set()
    assert len(heard.result().samples) == 3000


def test_what_does_not_fit_is_refused() -> None:
    config = FlowConfig.from_dict(small_config().to_dict())
    processor = FlowProcessor(config)
    one = footprint(config, 1)
    engine = Engine(memory_limit_bytes=one.total + 10 * (one.state + one.trace))
    engine.start()
    try:
        with pytest.raises(ConfigError, match="one sample needs"):
            send(engine, processor, rows(1), {"trace.capacity": 10**8})
        with pytest.raises(CapacityError) as told:
            send(engine, processor, rows(10_000))
        assert told.value.needed_bytes > told.value.available_bytes
        heard = send(engine, processor, rows(300), streams=True)
        assert len(heard.result().samples) == 300
    finally:
        engine.stop()


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    engine = Engine(max_queued_flow_steps=1)
    engine.start()
    try:
        blocker = send(engine, untrained(), rows(4000), ENDLESS, name="blocker")
        assert blocker.begun.wait(SECONDS)
        # The pool is full of the first run's samples, so this one has to wait.
        send(engine, untrained(), rows(4000), ENDLESS, name="first in the queue")
        with pytest.raises(QueueFull) as told:
            send(engine, untrained(), rows(4000), ENDLESS, name="second")
        assert told.value.retry_after_seconds >= 1
    finally:
        engine.stop()


def test_draining_finishes_what_has_started_and_gives_back_the_rest() -> None:
    engine = Engine()
    engine.start()
    running = send(engine, untrained(), rows(3), dict(LIVELY), name="running")
    assert running.begun.wait(SECONDS)
    engine.drain(SECONDS)
    running.result()
    with pytest.raises(EngineUnavailable):
        send(engine, untrained(), rows(1))

    engine = Engine()
    engine.start()
    endless = send(engine, untrained(), rows(3), ENDLESS, name="endless")
    assert endless.begun.wait(SECONDS)
    engine.drain(0.2)
    with pytest.raises(EngineUnavailable):
        endless.result()
    assert engine.status().state == "stopped"


def test_calls_run_on_the_engines_thread(engine: Engine) -> None:
    names = {engine.call(lambda: threading.current_thread().name).result() for _ in range(3)}
    assert names == {"energy-flow-engine"}
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda: 1 // 0).result()


def test_the_estimate_bounds_what_a_run_takes(engine: Engine) -> None:
    processor = untrained()
    estimate = engine.estimate(processor.config, 8)
    result = send(engine, processor, rows(8)).result()
    assert estimate.flows == result.metrics.counters.initial
    assert estimate.flow_steps_bound >= result.metrics.counters.flow_steps
    assert estimate.predicted_bytes > result.memory.state_bytes
