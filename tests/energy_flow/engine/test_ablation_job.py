"""An ablation in the turns of an engine, beside runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from threading import Event
from typing import Any

import numpy as np
import pytest

from energy_flow.ablation import AblationRun, ablate
from energy_flow.engine import AblationRequest, Engine
from energy_flow.errors import DataError, EngineUnavailable, ModelNotLoaded, NonFiniteError
from energy_flow.training.data import Pairs
from tests.support.run_listener import OUTPUTS, assert_equal, submit
from tests.support.small_model import LIVELY, embeddings, make_untrained, make_varied
from tests.support.small_training import pairs
from tests.support.waits import LIMIT_SECONDS

RESAMPLES = 100


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    engine.start()
    yield engine
    engine.stop()


def request(
    engine: Engine,
    data: Pairs,
    on_turn: Callable[[AblationRun], None] = lambda run: None,
    **options: Any,
) -> AblationRequest:
    processor = make_varied()
    digest = engine.add_model(processor).digest
    config = processor.config.with_options({**LIVELY, **options})
    return AblationRequest(digest, config, data, RESAMPLES, on_turn)


def test_runs_beside_an_ablation_equal_runs_alone(engine: Engine) -> None:
    turns: list[int] = []
    measured = engine.ablate(request(engine, pairs(150), lambda run: turns.append(run.done)))
    listeners = [
        submit(engine, make_untrained(), embeddings(9, seed), name=f"run {seed}", seed=seed)
        for seed in range(6)
    ]
    for seed, listener in enumerate(listeners):
        alone = make_untrained().simulate(embeddings(9, seed), seed=seed, outputs=OUTPUTS)
        assert_equal(listener.result(), alone)
    measurements = measured.result(LIMIT_SECONDS)
    assert turns == sorted(turns)
    assert turns[-1] == 150 * len(measurements.variants)
    expected = ablate(
        make_varied(),
        pairs(150),
        config=make_varied().config.with_options(LIVELY),
        resamples=RESAMPLES,
    )
    assert measurements.result().to_dict() == expected.to_dict()


def test_an_ablation_is_cancelled(engine: Engine) -> None:
    begun, go_on = Event(), Event()

    def wait(run: AblationRun) -> None:
        begun.set()
        go_on.wait(LIMIT_SECONDS)

    measured = engine.ablate(request(engine, pairs(200), wait))
    assert begun.wait(LIMIT_SECONDS)
    assert measured.cancel()
    go_on.set()
    with pytest.raises(CancelledError):
        measured.result(LIMIT_SECONDS)
    # The engine continues.
    assert engine.call(lambda: 7).result(LIMIT_SECONDS) == 7


def test_a_failure_after_a_cancellation_leaves_the_engine_working(engine: Engine) -> None:
    begun, go_on = Event(), Event()

    def fail(run: AblationRun) -> None:
        begun.set()
        go_on.wait(LIMIT_SECONDS)
        raise ValueError("the caller failed")

    measured = engine.ablate(request(engine, pairs(200), fail))
    assert begun.wait(LIMIT_SECONDS)
    assert measured.cancel()
    go_on.set()
    assert engine.call(lambda: 7).result(LIMIT_SECONDS) == 7


def test_an_ablation_ends_with_the_engine(engine: Engine) -> None:
    begun = Event()
    measured = engine.ablate(request(engine, pairs(300), lambda run: begun.set()))
    assert begun.wait(LIMIT_SECONDS)
    engine.stop()
    with pytest.raises(EngineUnavailable, match="stopped"):
        measured.result(LIMIT_SECONDS)


def test_a_number_that_is_not_finite_is_reported(engine: Engine) -> None:
    rows = np.full((4, 8), np.finfo(np.float32).max)
    measured = engine.ablate(request(engine, Pairs.of(rows, rows)))
    with pytest.raises(NonFiniteError):
        measured.result(LIMIT_SECONDS)


def test_what_does_not_suit_is_refused_at_once(engine: Engine) -> None:
    fitting = request(engine, pairs(4))
    narrow = Pairs.of(np.zeros((3, 8)), np.zeros((3, 5)))
    with pytest.raises(DataError, match="targets"):
        engine.ablate(request(engine, narrow))
    engine.unload_model(fitting.model, fitting.config)
    with pytest.raises(ModelNotLoaded):
        engine.ablate(fitting)
