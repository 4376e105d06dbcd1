"""Many runs in one pool: each has the results that it has alone, also if others fail."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
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
from energy_flow.simulation.cohort import CohortRequest
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step import Observer
from tests.support.run_listener import OUTPUTS, RecordingListener, assert_equal, submit
from tests.support.small_model import LIVELY, make_untrained, small_config
from tests.support.waits import LIMIT_SECONDS, until

WIDTH = 8
ENDLESS = {
    "max_steps": 10**6,
    "projection_age": 10**6,
    "convergence.enabled": False,
    "noise_std": 0.001,
    "spawn.mode": "off",
    "displacement_scale": 1e-9,
}
"""Options of a run that does not end by itself."""
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


def check_empty(engine: Engine) -> None:
    def empty() -> bool:
        status = engine.status()
        return not status.queued_runs and not status.admitted_flow_steps

    until(empty)
    assert engine.status().active_flows == 0


@pytest.mark.slow
def test_runs_that_share_a_pool_equal_runs_alone(engine: Engine) -> None:
    chance = random.Random(0)
    processor = make_untrained()
    sent = []
    for number in range(60):
        options, count = chance.choice(OPTIONS), chance.choice([1, 2, 8, 700])
        name = f"run {number}"
        listener = submit(engine, processor, rows(count, number), options, name=name, seed=number)
        sent.append((listener, options, count))
        if chance.random() < 0.2:
            engine.cancel(f"run {chance.randrange(number + 1)}")
        time.sleep(chance.random() * 0.01)
    equal = 0
    for number, (listener, options, count) in enumerate(sent):
        assert listener.over.wait(LIMIT_SECONDS)
        if isinstance(listener.error, RunCancelled):
            continue
        alone = processor.simulate(
            rows(count, number), options=options, seed=number, outputs=OUTPUTS
        )
        assert_equal(listener.result(), alone)
        equal += 1
    assert equal >= 30
    check_empty(engine)


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """Hold the engine until the end of the block; it accepts runs meanwhile."""
    go_on = threading.Event()
    engine.call(lambda: go_on.wait(LIMIT_SECONDS))
    try:
        yield
    finally:
        go_on.set()


def test_runs_that_enter_together_equal_runs_alone(engine: Engine) -> None:
    processor = make_untrained()
    with held(engine):
        sent = [
            submit(engine, processor, rows(1 + number % 3, number), options, seed=number)
            for number, options in enumerate(OPTIONS)
        ]
        wrong = submit(engine, processor, rows(2)[:, 1:])
    for number, (listener, options) in enumerate(zip(sent, OPTIONS, strict=True)):
        embeddings = rows(1 + number % 3, number)
        alone = processor.simulate(embeddings, options=options, seed=number, outputs=OUTPUTS)
        assert_equal(listener.result(), alone)
    with pytest.raises(EnergyFlowError, match=r"shape \(2, 8\) were expected, not \(2, 7\)"):
        wrong.result()
    check_empty(engine)


class Picky(FlowProcessor):
    """Return a model that cannot start runs of one seed."""

    def add_cohorts(self, state: FlowState, requests: Sequence[CohortRequest]) -> FlowState:
        if any(request.seed == 13 for request in requests):
            raise RuntimeError("not this one")
        return super().add_cohorts(state, requests)


def test_a_run_that_cannot_enter_does_not_affect_others(engine: Engine) -> None:
    processor = Picky(small_config())
    with held(engine):
        sent = [submit(engine, processor, rows(2), seed=seed) for seed in (12, 13, 14)]
    for listener, seed in zip(sent, (12, 13, 14), strict=True):
        if seed == 13:
            with pytest.raises(EnergyFlowError, match="not this one"):
                listener.result()
        else:
            alone = processor.simulate(rows(2), seed=seed, outputs=OUTPUTS)
            assert_equal(listener.result(), alone)
    check_empty(engine)


@pytest.mark.slow
def test_a_large_run_enters_in_chunks_and_small_runs_pass_it(engine: Engine) -> None:
    processor = make_untrained()
    order: list[str] = []
    small: list[RecordingListener] = []

    class Noted(RecordingListener):
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
                listener = Noted(f"small {number}")
                small.append(
                    submit(
                        engine, processor, rows(1, number), name=listener.name, listener=listener
                    )
                )

    large = Large("large")
    result = submit(engine, processor, rows(6000), name="large", listener=large).result()
    for listener in small:
        listener.result()
    assert sorted(order) == ["large", "small 0", "small 1", "small 2"]
    assert order[-1] == "large"
    assert len(large.chunks) > 1
    firsts = [first for first, _ in large.chunks]
    assert firsts == sorted(firsts)
    assert [sample.sample for sample in result.samples] == list(range(6000))


def test_small_runs_enter_the_reserve_while_a_large_one_waits(engine: Engine) -> None:
    processor = make_untrained()
    first = submit(engine, processor, rows(1500), ENDLESS, name="first", chunk_samples=500)
    until(lambda: engine.status().active_samples == 1500)
    second = submit(engine, processor, rows(1024), ENDLESS, name="second", chunk_samples=512)
    # There is room for a chunk of the third run, which is only for complete runs and the second.
    third = submit(engine, processor, rows(20), ENDLESS, name="third", chunk_samples=10)
    small = submit(engine, processor, rows(3), dict(LIVELY), name="small")
    alone = processor.simulate(rows(3), options=dict(LIVELY), outputs=OUTPUTS)
    assert_equal(small.result(), alone)
    assert first.begun.is_set()
    assert not second.begun.is_set()
    assert not third.begun.is_set()
    engine.cancel("first")
    assert second.begun.wait(LIMIT_SECONDS)
    assert third.begun.wait(LIMIT_SECONDS)


def test_a_large_run_is_not_starved_by_small_ones(engine: Engine) -> None:
    processor = make_untrained()
    later: list[RecordingListener] = []

    class Large(RecordingListener):
        passed_by = -1

        def started(self, entering_seconds: float) -> None:
            self.passed_by = sum(run.begun.is_set() for run in later)
            super().started(entering_seconds)

    small = [
        submit(engine, processor, rows(100), ENDLESS, name=f"small {number}")
        for number in range(20)
    ]
    until(lambda: engine.status().active_samples == 2000)
    large = Large()
    submit(engine, processor, rows(1024), ENDLESS, name="large", chunk_samples=512, listener=large)
    later += [
        submit(engine, processor, rows(100), ENDLESS, name=f"later {number}")
        for number in range(20)
    ]
    for number, run in enumerate(small):
        engine.cancel(f"small {number}")
        assert run.over.wait(LIMIT_SECONDS)
        if large.begun.is_set():
            break
    assert large.begun.is_set()
    assert large.passed_by == 0


def test_cancelling_keeps_the_results_and_does_not_affect_others(engine: Engine) -> None:
    processor = make_untrained()
    doomed = submit(engine, processor, rows(3), ENDLESS, name="doomed")
    other = submit(engine, processor, rows(5, 1), dict(LIVELY), name="other")
    assert doomed.begun.wait(LIMIT_SECONDS)
    until(lambda: doomed.steps >= 3)
    assert engine.cancel("doomed")
    assert doomed.over.wait(LIMIT_SECONDS)
    assert isinstance(doomed.error, RunCancelled)
    (_, kept), *_ = doomed.chunks
    assert kept.metrics.counters.steps >= 3
    assert kept.metrics.counters.completed < kept.metrics.counters.created
    alone = processor.simulate(rows(5, 1), options=dict(LIVELY), outputs=OUTPUTS)
    assert_equal(other.result(), alone)
    assert not engine.cancel("doomed")
    check_empty(engine)


def test_a_paused_run_completes_started_chunks_and_continues_after_them(engine: Engine) -> None:
    count, options = 11, dict(LIVELY)
    expected = make_untrained().simulate(rows(count), options=options, outputs=OUTPUTS)
    parts: list[SimulationResult] = []
    for first in range(0, count, 3):
        listener = submit(
            engine,
            make_untrained(),
            rows(count),
            options,
            streams=True,
            first_sample=first,
            chunk_samples=3,
            listener=PausedAtOnce(engine),
        )
        assert listener.over.wait(LIMIT_SECONDS)
        ((begun, result),) = listener.chunks
        assert begun == first
        assert len(result.samples) == min(3, count - first)
        # Of the last chunk there is nothing left to pause.
        assert isinstance(listener.error, RunPaused) == (first + 3 < count)
        parts.append(result)
    assert_equal(SimulationResult.concatenate(parts), expected)
    check_empty(engine)


class PausedAtOnce(RecordingListener):
    """Pauses its run when the first chunk has begun."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def started(self, entering_seconds: float) -> None:
        super().started(entering_seconds)
        self._engine.pause("run")


def test_a_run_that_waits_can_be_paused(engine: Engine) -> None:
    endless = submit(
        engine, make_untrained(), rows(1), ENDLESS, name="endless", listener=Reluctant()
    )
    assert engine.pause("endless")
    assert endless.over.wait(LIMIT_SECONDS)
    assert isinstance(endless.error, RunPaused)
    assert not endless.chunks
    assert not endless.begun.is_set()
    assert not engine.pause("endless")
    check_empty(engine)


class Reluctant(RecordingListener):
    """Refuses chunks."""

    def accepts(self) -> bool:
        return False


def test_a_deadline_ends_a_run(engine: Engine) -> None:
    listener = submit(engine, make_untrained(), rows(2), ENDLESS, deadline=time.monotonic() + 0.2)
    with pytest.raises(DeadlineExceeded):
        listener.result()
    check_empty(engine)


def test_a_failed_run_does_not_affect_others(engine: Engine) -> None:
    broken = FlowProcessor(small_config())
    with torch.no_grad():
        broken.carrier.get_parameter("displacement_head.2.bias").fill_(torch.nan)
    failing = submit(engine, broken, rows(2), name="broken")
    other = submit(engine, make_untrained(), rows(2), name="other")
    with pytest.raises(NonFiniteError) as refusal:
        failing.result()
    assert (refusal.value.sample, refusal.value.flow, refusal.value.step) == (0, 0, 0)
    assert_equal(other.result(), make_untrained().simulate(rows(2), outputs=OUTPUTS))
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
    listener = submit(engine, processor, rows(8), options)
    result = listener.result()
    assert engine.status().out_of_memory_splits == 1
    processor.room = 10**9
    assert_equal(result, processor.simulate(rows(8), options=options, outputs=OUTPUTS))
    check_empty(engine)


def test_only_the_run_that_cannot_fit_fails(engine: Engine) -> None:
    processor = Cramped(small_config())
    processor.room = 40
    options = {"spawn.mode": "off"}
    large = submit(engine, processor, rows(8), options, name="large")
    small = submit(engine, processor, rows(2), options, name="small")
    with pytest.raises(DeviceMemoryError):
        large.result()
    processor.room = 10**9
    assert_equal(small.result(), processor.simulate(rows(2), options=options, outputs=OUTPUTS))
    check_empty(engine)


def test_a_bug_in_a_step_fails_its_runs_and_the_engine_continues(engine: Engine) -> None:
    class Buggy(FlowProcessor):
        def step(self, state: FlowState, observe: Observer | None = None) -> FlowState:
            raise RuntimeError("a bug")

    with pytest.raises(EnergyFlowError, match="a bug"):
        submit(engine, Buggy(small_config()), rows(2)).result()
    submit(engine, make_untrained(), rows(2)).result()
    check_empty(engine)


def test_a_failing_listener_ends_its_own_run_only(engine: Engine) -> None:
    class Broken(RecordingListener):
        def started(self, entering_seconds: float) -> None:
            raise RuntimeError("broken listener")

    listener = submit(engine, make_untrained(), rows(2), ENDLESS, listener=Broken())
    with pytest.raises(RunCancelled):
        listener.result()
    submit(engine, make_untrained(), rows(2)).result()


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
    result = submit(engine, make_untrained(), source, streams=True).result()
    assert source.reads > 1
    whole = make_untrained().simulate(source.read(0, 1200), outputs=OUTPUTS)
    assert_equal(result, whole)


def test_a_failing_source_fails_its_run(engine: Engine) -> None:
    listener = submit(engine, make_untrained(), Source(1200, fails_at=600), streams=True)
    with pytest.raises(EnergyFlowError, match="the disk is gone"):
        listener.result()
    check_empty(engine)


def test_chunks_wait_for_a_slow_listener(engine: Engine) -> None:
    class Behind(RecordingListener):
        ready = threading.Event()

        def accepts(self) -> bool:
            return not self.chunks or self.ready.is_set()

    listener = Behind()
    submit(engine, make_untrained(), rows(3000), streams=True, listener=listener)
    until(lambda: listener.chunks)
    submit(engine, make_untrained(), rows(1), name="other").result()
    assert not listener.over.is_set()
    listener.ready.set()
    assert len(listener.result().samples) == 3000


def test_runs_that_do_not_fit_are_refused() -> None:
    config = FlowConfig.from_dict(small_config().to_dict())
    processor = FlowProcessor(config)
    one = footprint(config, 1)
    engine = Engine(memory_limit_bytes=one.total + 10 * (one.state + one.trace))
    engine.start()
    try:
        with pytest.raises(ConfigError, match="one sample needs"):
            submit(engine, processor, rows(1), {"trace.capacity": 10**8})
        with pytest.raises(CapacityError) as refusal:
            submit(engine, processor, rows(10_000))
        assert refusal.value.needed_bytes > refusal.value.available_bytes
        listener = submit(engine, processor, rows(300), streams=True)
        assert len(listener.result().samples) == 300
    finally:
        engine.stop()


def test_a_full_queue_refuses_and_names_the_time_of_a_retry() -> None:
    engine = Engine(max_queued_flow_steps=1)
    engine.start()
    try:
        blocker = submit(engine, make_untrained(), rows(4000), ENDLESS, name="blocker")
        assert blocker.begun.wait(LIMIT_SECONDS)
        # The pool is full of the first run's samples, so this one has to wait.
        submit(engine, make_untrained(), rows(4000), ENDLESS, name="first in the queue")
        with pytest.raises(QueueFull) as refusal:
            submit(engine, make_untrained(), rows(4000), ENDLESS, name="second")
        assert refusal.value.retry_after_seconds >= 1
    finally:
        engine.stop()


def test_draining_completes_started_runs_and_ends_the_others() -> None:
    engine = Engine()
    engine.start()
    running = submit(engine, make_untrained(), rows(3), dict(LIVELY), name="running")
    assert running.begun.wait(LIMIT_SECONDS)
    engine.drain(LIMIT_SECONDS)
    running.result()
    with pytest.raises(EngineUnavailable):
        submit(engine, make_untrained(), rows(1))

    engine = Engine()
    engine.start()
    endless = submit(engine, make_untrained(), rows(3), ENDLESS, name="endless")
    assert endless.begun.wait(LIMIT_SECONDS)
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
    processor = make_untrained()
    estimate = engine.estimate(processor.config, 8)
    result = submit(engine, processor, rows(8)).result()
    assert estimate.flows == result.metrics.counters.initial
    assert estimate.flow_steps_bound >= result.metrics.counters.flow_steps
    assert estimate.predicted_bytes > result.memory.state_bytes
