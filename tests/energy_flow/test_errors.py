"""Exceptions cross the boundary between two processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from energy_flow.errors import (
    CapacityError,
    ConfigError,
    DamagedTrainingError,
    EnergyFlowError,
    Fault,
    MemoryInUse,
    ModelNotLoaded,
    NonFiniteError,
    QueueFull,
    RunCancelled,
)

ERRORS = (
    CapacityError(10, 5, "the model"),
    ConfigError(Fault(("a", "b"), "must be positive", -1), Fault((), "is refused")),
    DamagedTrainingError(Path("state.json"), "it has changed", "restore it"),
    MemoryInUse(10, 5, "the run"),
    ModelNotLoaded("abc"),
    NonFiniteError(1, 2, 3),
    QueueFull(2.5),
    RunCancelled("run r was cancelled"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_arrives_with_its_message_and_attributes(error: EnergyFlowError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
