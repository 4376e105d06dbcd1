"""Figures of retrieval against a slow search and known values."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow.training.retrieval import retrieval


def random(rows: int, width: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


def slow_ranks(predicted: NDArray[np.float32], target: NDArray[np.float32]) -> list[int]:
    def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
        one, other = one.astype(np.float64), other.astype(np.float64)
        return float(one @ other / np.sqrt((one @ one) * (other @ other)))

    return [
        1 + sum(cosine(row, other) > cosine(row, target[number]) for other in target)
        for number, row in enumerate(predicted)
    ]


def test_against_a_slow_search() -> None:
    target = random(40, 6, seed=1)
    predicted = target + 0.7 * random(40, 6, seed=2)
    found, ranks = retrieval(predicted, target), slow_ranks(predicted, target)
    assert found.rows == 40
    assert found.top_1 == sum(rank == 1 for rank in ranks) / 40
    assert found.top_10 == sum(rank <= 10 for rank in ranks) / 40
    assert found.median_rank == float(np.median(ranks))
    assert 0 < found.top_1 < found.top_10 < 1


def test_r2_against_its_definition() -> None:
    target = 3.0 + random(40, 6, seed=1) * np.linspace(0.1, 2, 6, dtype=np.float32)
    predicted = target + 0.7 * random(40, 6, seed=2)
    means = target.astype(np.float64).mean(axis=0)
    unexplained = total = 0.0
    for row, own in zip(predicted.astype(np.float64), target.astype(np.float64), strict=True):
        unexplained += sum((row - own) ** 2)
        total += sum((own - means) ** 2)
    assert retrieval(predicted, target).r2 == pytest.approx(1 - unexplained / total)


def test_r2_of_known_predictions() -> None:
    target = random(30, 5, seed=1)
    mean = np.broadcast_to(target.astype(np.float64).mean(axis=0), target.shape)
    assert retrieval(target, target).r2 == 1.0
    # The means are rounded to float32.
    assert retrieval(mean.astype(np.float32), target).r2 == pytest.approx(0.0, abs=1e-9)
    assert retrieval(-target, target).r2 < 0


def test_r2_of_targets_that_are_all_the_same() -> None:
    same = np.full((7, 3), 0.1, dtype=np.float32)
    assert retrieval(same, same).r2 == 1.0
    assert retrieval(same + np.float32(0.5), same).r2 == 0.0


def test_targets_themselves_are_found_whatever_their_length() -> None:
    target = random(30, 5, seed=1)
    lengths = np.linspace(0.1, 9, 30, dtype=np.float32)[:, None]
    found = retrieval(target * lengths, target)
    assert found.cosine == pytest.approx(1.0)
    assert (found.top_1, found.top_10, found.median_rank) == (1.0, 1.0, 1.0)


def test_equal_targets_do_not_count_against_each_other() -> None:
    target = np.repeat(random(4, 5, seed=1), 3, axis=0)
    assert retrieval(target, target).top_1 == 1.0


def test_the_opposite_is_found_last() -> None:
    target = random(30, 5, seed=1)
    found = retrieval(-target, target)
    assert found.cosine == pytest.approx(-1.0)
    assert found.median_rank == 30.0


def test_predictions_of_zeros_have_no_cosine() -> None:
    found = retrieval(np.zeros((3, 4), dtype=np.float32), random(3, 4, seed=1))
    assert found.cosine == 0.0
