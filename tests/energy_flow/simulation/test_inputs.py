"""Embeddings, sample keys and seeds that are accepted, and refusals of all others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow.errors import EmbeddingError, EnergyFlowError
from energy_flow.simulation.inputs import check_embeddings, check_keys, check_seed
from tests.support.small_model import make_untrained

WIDTH = 8
LARGEST = float(np.finfo(np.float32).max)
ROW = [0.5] * WIDTH


def with_value(value: Any, row: int = 1, column: int = 3) -> list[list[Any]]:
    """Three sound rows, but for one number."""
    rows: list[list[Any]] = [list(ROW) for _ in range(3)]
    rows[row][column] = value
    return rows


def refused(embeddings: Any) -> EmbeddingError:
    """Return the refusal of embeddings, which is also that of a processor."""
    with pytest.raises(EmbeddingError) as refusal:
        check_embeddings(embeddings, WIDTH)
    with pytest.raises(EmbeddingError) as again:
        make_untrained().simulate(embeddings)
    assert str(again.value) == str(refusal.value)
    assert isinstance(refusal.value, EnergyFlowError)
    assert isinstance(refusal.value, ValueError)
    return refusal.value


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        1e39,
        -1e300,
        10**400,
        None,
        "0.5",
        [0.5],
        0.5j,
        {"a": 1},
    ],
    ids=lambda value: repr(value)[:9],
)
def test_the_first_bad_number_is_reported_with_its_index(value: Any) -> None:
    (fault,) = refused(with_value(value)).faults
    assert fault.loc == ("embeddings", 1, 3)
    assert fault.msg


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.longdouble, np.float16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_arrays_that_are_not_finite(kind: type[Any], value: float) -> None:
    (fault,) = refused(np.array(with_value(value), dtype=kind)).faults
    assert fault.loc == ("embeddings", 1, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_tensors_that_are_not_finite(dtype: torch.dtype, value: float) -> None:
    (fault,) = refused(torch.tensor(with_value(value), dtype=dtype)).faults
    assert fault.loc == ("embeddings", 1, 3)


@pytest.mark.parametrize("value", [1e39, -1e300, 2 * LARGEST])
def test_numbers_beyond_float32_are_distinguished_from_infinite_ones(value: float) -> None:
    for given in (
        with_value(value),
        np.array(with_value(value)),
        torch.tensor(with_value(value), dtype=torch.float64),
    ):
        (fault,) = refused(given).faults
        assert fault.loc == ("embeddings", 1, 3)
        assert "float32" in fault.msg
        assert "finite" not in fault.msg


@pytest.mark.parametrize(
    "value",
    [0, -0.0, 1e-45, 1e-300, LARGEST, -LARGEST, 3, 2**63, 2**70, 10**30],
    ids=repr,
)
def test_numbers_that_float32_can_take(value: float) -> None:
    taken = check_embeddings(with_value(value), WIDTH)
    assert taken.dtype == np.float32
    assert taken.shape == (3, WIDTH)
    with np.errstate(under="ignore"):
        assert taken[1, 3] == np.float32(value)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float64])
def test_kinds_of_arrays(kind: type[Any]) -> None:
    taken = check_embeddings(np.arange(2 * WIDTH).reshape(2, WIDTH).astype(kind), WIDTH)
    assert taken.tolist() == [list(range(WIDTH)), list(range(WIDTH, 2 * WIDTH))]


@pytest.mark.parametrize(
    "kind", [torch.int32, torch.float16, torch.bfloat16, torch.float64], ids=str
)
def test_kinds_of_tensors(kind: torch.dtype) -> None:
    taken = check_embeddings(torch.arange(2 * WIDTH).reshape(2, WIDTH).to(kind), WIDTH)
    assert taken.tolist() == [list(range(WIDTH)), list(range(WIDTH, 2 * WIDTH))]


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((2, WIDTH), dtype=bool),
        np.zeros((2, WIDTH), dtype=complex),
        np.full((2, WIDTH), "a"),
        np.full((2, WIDTH), None),
        np.zeros((2, WIDTH), dtype="datetime64[s]"),
        torch.zeros((2, WIDTH), dtype=torch.bool),
        torch.zeros((2, WIDTH), dtype=torch.complex64),
        "embeddings",
        b"embeddings",
        3.0,
        None,
        {"a": [1]},
        {1.0, 2.0},
        object(),
    ],
    ids=lambda given: f"{type(given).__name__} {getattr(given, 'dtype', '')}",
)
def test_values_that_are_no_matrix_of_numbers(given: Any) -> None:
    assert refused(given).faults[0].loc[0] == "embeddings"


def test_ragged_rows_are_reported_with_their_index() -> None:
    (fault,) = refused([ROW, ROW, ROW[:-1]]).faults
    assert fault.loc == ("embeddings", 2)
    assert fault.got == WIDTH - 1
    assert str(WIDTH) in fault.msg
    (fault,) = refused([ROW, 0.5]).faults
    assert fault.loc == ("embeddings", 1)
    (fault,) = refused([ROW, []]).faults
    assert fault.loc == ("embeddings", 1)


@pytest.mark.parametrize("shape", [(2, 7), (2, 9), (8,), (1, 2, 8), (), (2, 0)])
def test_wrong_shapes_are_reported(shape: tuple[int, ...]) -> None:
    for given in (np.zeros(shape), torch.zeros(shape), np.zeros(shape).tolist()):
        message = str(refused(given))
        assert "embeddings" in message
        assert str(WIDTH) in message or shape == ()


@pytest.mark.parametrize("given", [[], np.zeros((0, WIDTH)), torch.zeros((0, WIDTH))])
def test_an_empty_batch_is_refused(given: Any) -> None:
    assert refused(given).faults[0].loc[0] == "embeddings"


def test_embeddings_of_the_caller_are_not_changed_or_retained() -> None:
    given = np.ones((2, WIDTH), dtype=np.float32)
    make_untrained().simulate(given)
    assert (given == 1).all()
    given.setflags(write=False)
    make_untrained().simulate(given)


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ([1], ("sample_keys",)),
        ([1, 2, 3], ("sample_keys",)),
        ([], ("sample_keys",)),
        ([0, -1], ("sample_keys", 1)),
        ([0, 2**32], ("sample_keys", 1)),
        ([0.0, 1], ("sample_keys", 0)),
        (["0", 1], ("sample_keys", 0)),
        ([True, 1], ("sample_keys", 0)),
        ([None, 1], ("sample_keys", 0)),
    ],
)
def test_sample_keys_that_are_refused(keys: list[Any], where: tuple[str | int, ...]) -> None:
    with pytest.raises(EmbeddingError) as refusal:
        make_untrained().simulate(np.ones((2, WIDTH)), sample_keys=keys)
    assert refusal.value.faults[0].loc == where


def test_accepted_sample_keys() -> None:
    assert check_keys(None, 3) == (0, 1, 2)
    assert check_keys([5, 5], 2) == (5, 5)
    assert check_keys(np.array([0, 2**32 - 1]), 2) == (0, 2**32 - 1)  # type: ignore[arg-type]
    with pytest.raises(EmbeddingError) as refusal:
        check_keys([-1, 7, 2**32], 2)
    assert len(refusal.value.faults) == 3, "the wrong number and both bad ones"


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, "1", True, math.nan])
def test_seeds_that_are_refused(seed: Any) -> None:
    with pytest.raises(EmbeddingError, match="seed"):
        make_untrained().simulate(np.ones((1, WIDTH)), seed=seed)


@pytest.mark.parametrize("seed", [0, 2**63 - 1, np.int64(5)])
def test_accepted_seeds(seed: Any) -> None:
    assert check_seed(seed) == int(seed)
    assert type(check_seed(seed)) is int
