"""The engine's thread survives what fails on it, or reports that it cannot go on."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowConfig, FlowProcessor
from energy_flow.engine import Engine, ReplayRequest
from energy_flow.errors import (
    DeviceMemoryError,
    EnergyFlowError,
    EngineFailed,
    EngineUnavailable,
    RunCancelled,
)
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step import Observer
from tests.support.run_listener import OUTPUTS, RecordingListener, assert_equal, submit
from tests.support.small_model import make_untrained, small_config
from tests.support.waits import LIMIT_SECONDS, until

TOO_MUCH = 2**50
"""Numbers for which no machine has memory."""
ASSERT = "CUDA error: device-side assert triggered\nCompile with TORCH_USE_CUDA_DSA"
EXITS = (SystemExit, KeyboardInterrupt, GeneratorExit)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    engine.start()
    yield engine
    engine.stop()


def rows(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32)


class Faulty(FlowProcessor):
    """A model whose steps call a function first."""

    def __init__(self, config: FlowConfig, before_step: Callable[[FlowState], object]) -> None:
        super().__init__(config)
        self.before_step = before_step

    def step(self, state: FlowState, observe: Observer | None = None) -> FlowState:
        self.before_step(state)
        return super().step(state, observe)


def raising(error: BaseException) -> Callable[[FlowState], object]:
    def fail(_state: FlowState) -> None:
        raise error

    return fail


def check_goes_on(engine: Engine) -> None:
    assert len(submit(engine, make_untrained(), rows(2), name="next").result().samples) == 2
    status = engine.status()
    assert (status.state, status.failure) == ("running", None)


def check_failed(engine: Engine, reason: str) -> None:
    until(lambda: engine.status().state == "failed")
    assert reason in str(engine.status().failure)
    with pytest.raises(EngineUnavailable, match="the engine has failed"):
        submit(engine, make_untrained(), rows(1), name="late")
    with pytest.raises(EngineUnavailable, match="the engine has failed"):
        engine.call(lambda: None)
    engine.drain(LIMIT_SECONDS)
    assert engine.status().state == "failed"


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(TOO_MUCH), lambda: np.empty(TOO_MUCH * 2**7)],
    ids=["torch", "numpy"],
)
def test_memory_that_really_runs_out_splits_the_work(
    engine: Engine, allocate: Callable[[], object]
) -> None:
    def cramped(state: FlowState) -> None:
        if state.active_flows > 100:
            allocate()

    processor = Faulty(small_config(), cramped)
    options = {"spawn.mode": "off"}
    result = submit(engine, processor, rows(8), options).result()
    assert engine.status().out_of_memory_splits == 1
    assert_equal(result, make_untrained().simulate(rows(8), options=options, outputs=OUTPUTS))


def test_the_work_is_split_after_the_tensors_of_the_failed_step_are_gone(engine: Engine) -> None:
    held: list[weakref.ref[Any]] = []
    alive_at_the_next_step: list[bool] = []

    def cramped(state: FlowState) -> None:
        alive_at_the_next_step.append(any(one() is not None for one in held))
        if state.active_flows > 100:
            large = torch.ones(1000)
            cycle: list[Any] = [large]
            cycle.append(cycle)
            held.extend([weakref.ref(large), weakref.ref(state.flows.flow_id)])
            torch.empty(TOO_MUCH)

    submit(engine, Faulty(small_config(), cramped), rows(8), {"spawn.mode": "off"}).result()
    assert len(held) == 2
    assert alive_at_the_next_step.count(True) == 0


def test_a_run_that_never_fits_has_a_clear_reason(engine: Engine) -> None:
    processor = Faulty(small_config(), lambda _: torch.empty(TOO_MUCH))
    with pytest.raises(DeviceMemoryError, match="do not fit in the device's memory"):
        submit(engine, processor, rows(4)).result()
    check_goes_on(engine)


def test_memory_that_runs_out_in_a_replay_has_a_clear_reason(engine: Engine) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def fail(_state: FlowState) -> None:
        tensor = torch.ones(4)
        held.append(weakref.ref(tensor))
        torch.empty(TOO_MUCH)

    processor = Faulty(small_config(), fail)
    model = engine.add_model(processor)
    replay = engine.replay(ReplayRequest(model.digest, model.config, rows(1)[0], 0, 0, 0))
    with pytest.raises(DeviceMemoryError, match="ran out of memory"):
        replay.result(LIMIT_SECONDS)
    assert held[0]() is None
    check_goes_on(engine)


def test_results_that_cannot_be_read_fail_their_run_only(engine: Engine) -> None:
    class Unreadable(FlowProcessor):
        def build_result(self, *_arguments: Any) -> Any:
            raise RuntimeError("a bug in the results")

    with pytest.raises(EnergyFlowError, match="a bug in the results"):
        submit(engine, Unreadable(small_config()), rows(2)).result()
    check_goes_on(engine)


@pytest.mark.parametrize("kind", EXITS)
def test_an_exit_in_a_listener_ends_its_run_only(engine: Engine, kind: type[BaseException]) -> None:
    class Leaving(RecordingListener):
        def started(self, entering_seconds: float) -> None:
            raise kind

    listener = submit(engine, make_untrained(), rows(2), listener=Leaving())
    with pytest.raises(RunCancelled):
        listener.result()
    check_goes_on(engine)


def test_a_listener_that_fails_when_it_is_asked_ends_its_run_only(engine: Engine) -> None:
    class Failing(RecordingListener):
        def accepts(self) -> bool:
            raise RuntimeError("a bug")

    with pytest.raises(RunCancelled):
        submit(engine, make_untrained(), rows(2), listener=Failing()).result()
    check_goes_on(engine)


@pytest.mark.parametrize("kind", EXITS)
def test_an_exit_in_a_call_reaches_its_caller(engine: Engine, kind: type[BaseException]) -> None:
    def leave() -> None:
        raise kind

    with pytest.raises(kind):
        engine.call(leave).result(LIMIT_SECONDS)
    check_goes_on(engine)


def test_a_fault_outside_a_run_ends_the_runs_and_the_engine_goes_on() -> None:
    faults = [RuntimeError("a bug in the instruments"), MemoryError()]

    def measure(_seconds: float) -> None:
        if faults:
            raise faults.pop()

    engine = Engine(on_step=measure)
    engine.start()
    try:
        for _ in range(2):
            with pytest.raises(EngineFailed, match=r"outside the run .*submit the run again"):
                submit(engine, make_untrained(), rows(2)).result()
        check_goes_on(engine)
    finally:
        engine.stop()


def test_a_lost_device_ends_everything_with_the_reason(engine: Engine) -> None:
    in_the_pool, asked = threading.Event(), threading.Event()

    def lose(_state: FlowState) -> None:
        in_the_pool.set()
        assert asked.wait(LIMIT_SECONDS)
        raise RuntimeError(ASSERT)

    class Waiting(RecordingListener):
        def accepts(self) -> bool:
            return False

    active = submit(engine, Faulty(small_config(), lose), rows(2), name="active")
    assert in_the_pool.wait(LIMIT_SECONDS)
    queued = submit(engine, make_untrained(), rows(2), name="queued", listener=Waiting())
    call = engine.call(lambda: None)
    asked.set()
    with pytest.raises(EngineFailed, match=r"device cpu was lost: .*device-side assert"):
        active.result()
    # It may be submitted to another engine.
    with pytest.raises(EngineUnavailable, match="device-side assert"):
        queued.result()
    with pytest.raises(EngineUnavailable):
        call.result(LIMIT_SECONDS)
    check_failed(engine, "device-side assert")


def test_a_device_that_a_job_finds_lost_fails_the_engine(engine: Engine) -> None:
    def lose() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        engine.call(lose).result(LIMIT_SECONDS)
    check_failed(engine, "illegal memory access")


@pytest.mark.parametrize("kind", EXITS)
def test_an_exit_of_the_thread_fails_the_engine(engine: Engine, kind: type[BaseException]) -> None:
    active = submit(engine, Faulty(small_config(), raising(kind("leaving"))), rows(2))
    with pytest.raises(EngineFailed, match="leaving"):
        active.result()
    check_failed(engine, kind.__name__)


def test_a_thread_that_fails_again_and_again_gives_up() -> None:
    class Leaky(Engine):
        """An engine with a bug in every round."""

        def _publish(self) -> None:
            raise RuntimeError("a bug in every round")

    engine = Leaky()
    engine.start()
    check_failed(engine, "a bug in every round")
