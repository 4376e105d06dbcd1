"""Loss terms against slow references and known values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from energy_flow.choices import ComparedOutput, names_of
from energy_flow.training.losses import Losses, Predictions
from energy_flow.training.losses.info_nce import InfoNCETerm
from energy_flow.training.losses.r2 import R2Term
from energy_flow.training.losses.surface import SurfaceTerm
from tests.support.small_training import pairs

ROWS, WIDTH, CELLS, PLANES = 5, 8, 4, 2
SPREAD = 3.5
ON = names_of(ComparedOutput)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def predictions(**others: Any) -> Predictions:
    """Random predictions; the own target of row n is candidate n."""
    target = random(ROWS, WIDTH, seed=2)
    weights = random(WIDTH, CELLS, seed=3)
    fields: dict[str, Any] = {
        "embedding_BO": random(ROWS, WIDTH, seed=1),
        "target_BO": target,
        "target_spread": SPREAD,
        "surface_BS": random(ROWS, CELLS, seed=4),
        "planes_BPS": random(ROWS, PLANES, CELLS, seed=5),
        "input_mapper": lambda embedding: torch.tanh(embedding @ weights),
        "candidates_KO": target,
        "own_B": torch.arange(ROWS),
        "same_BK": torch.eye(ROWS, dtype=torch.bool),
    }
    return Predictions(**(fields | others))


def cosine_of(one: Tensor, other: Tensor) -> float:
    a, b = one.numpy(), other.numpy()
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def slow_info_nce(given: Predictions, temperature: float) -> float:
    sums = []
    for row in range(ROWS):
        own = int(given.own_B[row])
        scores = {
            number: cosine_of(given.embedding_BO[row], candidate) / temperature
            for number, candidate in enumerate(given.candidates_KO)
            if number == own or not bool(given.same_BK[row, number])
        }
        sums.append(math.log(sum(map(math.exp, scores.values()))) - scores[own])
    return sum(sums) / ROWS


def test_cosine_and_mse() -> None:
    given = predictions()
    pairs = list(zip(given.embedding_BO, given.target_BO, strict=True))
    found = Losses.model_validate({"cosine": {}, "mse": {}}).values(given)
    assert float(found["cosine"]) == pytest.approx(
        sum(1 - cosine_of(*pair) for pair in pairs) / ROWS
    )
    squares = [(one - other) ** 2 for one, other in pairs]
    assert float(found["mse"]) == pytest.approx(float(sum(map(sum, squares))) / (ROWS * WIDTH))


def test_the_cosine_of_a_prediction_in_the_right_direction_is_zero() -> None:
    given = predictions(embedding_BO=3.0 * random(ROWS, WIDTH, seed=2))
    found = Losses.model_validate({"cosine": {}, "mse": {}}).values(given)
    assert float(found["cosine"]) == pytest.approx(0.0, abs=1e-12)
    assert float(found["mse"]) > 0


@pytest.mark.parametrize("on", ON)
def test_r2_is_the_squared_distance_by_the_spread_of_the_targets(on: str) -> None:
    given = predictions()
    predicted = given.embedding_BO if on == "embedding" else given.planes_BPS.reshape(ROWS, WIDTH)
    found = Losses.model_validate({"r2": {"on": on}, "mse": {"on": on}}).values(given)
    squares = [float(((p - y) ** 2).sum()) for p, y in zip(predicted, given.target_BO, strict=True)]
    assert float(found["r2"]) == pytest.approx(sum(squares) / ROWS / SPREAD)
    assert float(found["mse"]) == pytest.approx(sum(squares) / (ROWS * WIDTH))


def test_planes_are_compared_with_z0_first() -> None:
    target = random(ROWS, WIDTH, seed=2)
    given = predictions(planes_BPS=torch.stack((target[:, :CELLS], target[:, CELLS:]), dim=1))
    found = Losses.model_validate({"mse": {"on": "planes"}, "r2": {"on": "planes"}}).values(given)
    assert [float(value) for value in found.values()] == [0.0, 0.0]


def test_predicting_the_mean_target_of_the_rows_to_train_on_has_a_loss_of_one() -> None:
    rows = pairs(30)
    target = torch.from_numpy(rows.targets).double()
    given = predictions(
        embedding_BO=target.mean(dim=0).expand_as(target),
        target_BO=target,
        target_spread=rows.target_spread,
    )
    assert float(R2Term().value(given)) == pytest.approx(1.0)


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("name", ["mse", "r2"])
def test_gradients_against_finite_differences(name: str, on: str) -> None:
    losses = Losses.model_validate({name: {"on": on, "weight": 0.7}})

    def loss(embedding: Tensor, planes: Tensor) -> Tensor:
        given = predictions(embedding_BO=embedding, planes_BPS=planes)
        return losses.total(losses.values(given))

    inputs = (random(ROWS, WIDTH, seed=1), random(ROWS, PLANES, CELLS, seed=5))
    assert torch.autograd.gradcheck(loss, tuple(one.requires_grad_() for one in inputs))


def test_surface() -> None:
    given = predictions()
    wanted = given.input_mapper(given.target_BO)
    pairs = zip(given.surface_BS, wanted, strict=True)
    assert float(SurfaceTerm().value(given)) == pytest.approx(
        sum(1 - cosine_of(*pair) for pair in pairs) / ROWS
    )


@pytest.mark.parametrize("detached", [True, False])
def test_only_a_target_that_is_not_detached_carries_gradients(detached: bool) -> None:
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    surface = random(ROWS, CELLS, seed=4).requires_grad_()
    given = predictions(input_mapper=lambda x: torch.tanh(scale * x[:, :CELLS]), surface_BS=surface)
    torch.autograd.backward(SurfaceTerm(detach_target=detached).value(given))
    assert surface.grad is not None
    assert (scale.grad is None) == detached


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_info_nce(temperature: float) -> None:
    given = predictions()
    found = InfoNCETerm(temperature=temperature).value(given)
    assert float(found) == pytest.approx(slow_info_nce(given, temperature))


def test_info_nce_of_predictions_that_are_equally_near_to_all_candidates() -> None:
    """It is the logarithm of their number."""
    given = predictions(
        embedding_BO=torch.ones((ROWS, WIDTH), dtype=torch.float64),
        candidates_KO=torch.eye(WIDTH, dtype=torch.float64)[:ROWS],
    )
    assert float(InfoNCETerm().value(given)) == pytest.approx(math.log(ROWS))


def test_info_nce_among_more_candidates_than_rows() -> None:
    given = predictions(
        candidates_KO=random(9, WIDTH, seed=6),
        own_B=torch.tensor([8, 0, 3, 3, 5]),
        same_BK=torch.zeros((ROWS, 9), dtype=torch.bool),
    )
    assert float(InfoNCETerm().value(given)) == pytest.approx(slow_info_nce(given, 0.05))


def test_equal_targets_do_not_count_as_others() -> None:
    same = torch.eye(ROWS, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    given = predictions(same_BK=same)
    found = float(InfoNCETerm().value(given))
    assert found == pytest.approx(slow_info_nce(given, 0.05))
    assert found < float(InfoNCETerm().value(predictions()))


def test_gradient_of_info_nce() -> None:
    same = torch.eye(ROWS, dtype=torch.bool)
    same[1, 2] = True

    def loss(embedding: Tensor) -> Tensor:
        return InfoNCETerm().value(predictions(embedding_BO=embedding, same_BK=same))

    assert torch.autograd.gradcheck(loss, (random(ROWS, WIDTH).requires_grad_(),))


def test_terms_are_weighted_and_absent_terms_are_not_computed() -> None:
    losses = Losses.model_validate({"cosine": {"weight": 2.0}, "info_nce": {"weight": 0.5}})
    found = losses.values(predictions())
    assert set(found) == {"cosine", "info_nce"}
    expected = 2.0 * float(found["cosine"]) + 0.5 * float(found["info_nce"])
    assert float(losses.total(found)) == pytest.approx(expected)
