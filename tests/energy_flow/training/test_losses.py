"""Loss terms against slow references and known answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from energy_flow.training.config import InfoNCETerm, Losses, SurfaceTerm
from energy_flow.training.losses import Answers, info_nce, surface_agreement, terms, total

ROWS, WIDTH, CELLS = 5, 7, 6


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def answers(**others: Any) -> Answers:
    """Random answers; every row's own target is the candidate of its number."""
    target = random(ROWS, WIDTH, seed=2)
    weights = random(WIDTH, CELLS, seed=3)
    fields: dict[str, Any] = {
        "embedding_BE": random(ROWS, WIDTH, seed=1),
        "target_BE": target,
        "surface_BS": random(ROWS, CELLS, seed=4),
        "energies": lambda embedding: torch.tanh(embedding @ weights),
        "candidates_KE": target,
        "own_B": torch.arange(ROWS),
        "same_BK": torch.eye(ROWS, dtype=torch.bool),
    }
    return Answers(**(fields | others))


def cosine_of(one: Tensor, other: Tensor) -> float:
    a, b = one.numpy(), other.numpy()
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def slow_info_nce(told: Answers, temperature: float) -> float:
    sums = []
    for row in range(ROWS):
        own = int(told.own_B[row])
        scores = {
            number: cosine_of(told.embedding_BE[row], candidate) / temperature
            for number, candidate in enumerate(told.candidates_KE)
            if number == own or not bool(told.same_BK[row, number])
        }
        sums.append(math.log(sum(map(math.exp, scores.values()))) - scores[own])
    return sum(sums) / ROWS


def test_cosine_and_mse() -> None:
    told = answers()
    pairs = list(zip(told.embedding_BE, told.target_BE, strict=True))
    found = terms(Losses.model_validate({"cosine": {}, "mse": {}}), told)
    assert float(found["cosine"]) == pytest.approx(
        sum(1 - cosine_of(*pair) for pair in pairs) / ROWS
    )
    squares = [(one - other) ** 2 for one, other in pairs]
    assert float(found["mse"]) == pytest.approx(float(sum(map(sum, squares))) / (ROWS * WIDTH))


def test_an_answer_that_is_right_costs_nothing() -> None:
    told = answers(embedding_BE=3.0 * random(ROWS, WIDTH, seed=2))
    found = terms(Losses.model_validate({"cosine": {}, "mse": {}}), told)
    assert float(found["cosine"]) == pytest.approx(0.0, abs=1e-12)
    assert float(found["mse"]) > 0


def test_surface_agreement() -> None:
    told = answers()
    wanted = told.energies(told.target_BE)
    pairs = zip(told.surface_BS, wanted, strict=True)
    assert float(surface_agreement(told, SurfaceTerm())) == pytest.approx(
        sum(1 - cosine_of(*pair) for pair in pairs) / ROWS
    )


@pytest.mark.parametrize("detached", [True, False])
def test_only_a_target_that_is_not_detached_carries_gradients(detached: bool) -> None:
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    surface = random(ROWS, CELLS, seed=4).requires_grad_()
    told = answers(energies=lambda x: torch.tanh(scale * x[:, :CELLS]), surface_BS=surface)
    torch.autograd.backward(surface_agreement(told, SurfaceTerm(detach_target=detached)))
    assert surface.grad is not None
    assert (scale.grad is None) == detached


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_info_nce(temperature: float) -> None:
    told = answers()
    found = info_nce(told, InfoNCETerm(temperature=temperature))
    assert float(found) == pytest.approx(slow_info_nce(told, temperature))


def test_info_nce_of_answers_that_tell_nothing() -> None:
    """Where all candidates are equally near, it is the logarithm of their number."""
    told = answers(
        embedding_BE=torch.ones((ROWS, WIDTH), dtype=torch.float64),
        candidates_KE=torch.eye(WIDTH, dtype=torch.float64)[:ROWS],
    )
    assert float(info_nce(told, InfoNCETerm())) == pytest.approx(math.log(ROWS))


def test_info_nce_among_more_candidates_than_rows() -> None:
    told = answers(
        candidates_KE=random(9, WIDTH, seed=6),
        own_B=torch.tensor([8, 0, 3, 3, 5]),
        same_BK=torch.zeros((ROWS, 9), dtype=torch.bool),
    )
    assert float(info_nce(told, InfoNCETerm())) == pytest.approx(slow_info_nce(told, 0.05))


def test_equal_targets_do_not_count_as_others() -> None:
    same = torch.eye(ROWS, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    told = answers(same_BK=same)
    found = float(info_nce(told, InfoNCETerm()))
    assert found == pytest.approx(slow_info_nce(told, 0.05))
    assert found < float(info_nce(answers(), InfoNCETerm()))


def test_gradient_of_info_nce() -> None:
    same = torch.eye(ROWS, dtype=torch.bool)
    same[1, 2] = True

    def loss(embedding: Tensor) -> Tensor:
        return info_nce(answers(embedding_BE=embedding, same_BK=same), InfoNCETerm())

    assert torch.autograd.gradcheck(loss, (random(ROWS, WIDTH).requires_grad_(),))


def test_terms_are_weighted_and_those_that_are_absent_cost_nothing() -> None:
    losses = Losses.model_validate({"cosine": {"weight": 2.0}, "info_nce": {"weight": 0.5}})
    found = terms(losses, answers())
    assert set(found) == {"cosine", "info_nce"}
    expected = 2.0 * float(found["cosine"]) + 0.5 * float(found["info_nce"])
    assert float(total(losses, found)) == pytest.approx(expected)
