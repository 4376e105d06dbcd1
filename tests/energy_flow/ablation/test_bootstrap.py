"""Intervals over rows: against plain loops, and against a known distribution."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow.ablation.bootstrap import compare_figures
from energy_flow.choices import ValidationMetric
from energy_flow.training.retrieval import RowFigures, retrieval

ROWS, WIDTH = 30, 3


def predictions(seed: int, error: float, rows: int = ROWS) -> NDArray[np.float32]:
    """Return the targets with errors of a size."""
    noise = np.random.default_rng(seed).standard_normal((rows, WIDTH))
    return (targets(rows) + error * noise).astype(np.float32)


def targets(rows: int = ROWS) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((rows, WIDTH)).astype(np.float32)


def resample(rows: int, resamples: int, seed: int) -> list[list[int]]:
    """Return the rows of each resample, as the bootstrap draws how often each of them counts."""
    generator = np.random.Generator(np.random.Philox(seed))
    counts = generator.multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    return [[row for row in range(rows) for _ in range(count[row])] for count in counts]


def figures_by_loops(
    predicted: NDArray[np.float32], chosen: list[int], ranks: NDArray[np.int64]
) -> dict[str, float]:
    """Return the figures of some rows, one number after the other."""
    true = targets().astype(float)
    mean = [sum(true[row][axis] for row in chosen) / len(chosen) for axis in range(WIDTH)]
    cosine = squared = variation = 0.0
    for row in chosen:
        p, y = predicted[row].astype(float), true[row]
        dot = sum(p[axis] * y[axis] for axis in range(WIDTH))
        lengths = sum(v * v for v in p) ** 0.5 * sum(v * v for v in y) ** 0.5
        cosine += dot / lengths / len(chosen)
        squared += sum((p[axis] - y[axis]) ** 2 for axis in range(WIDTH))
        variation += sum((y[axis] - mean[axis]) ** 2 for axis in range(WIDTH))
    return {
        "cosine": cosine,
        "top_1": sum(ranks[row] == 1 for row in chosen) / len(chosen),
        "top_10": sum(ranks[row] <= 10 for row in chosen) / len(chosen),
        "r2": 1 - squared / variation,
    }


@pytest.mark.parametrize("resamples", [7, 60])
def test_intervals_equal_those_of_plain_loops(resamples: int) -> None:
    variants = [predictions(1, 0.5), predictions(2, 1.5)]
    measured = [RowFigures.of(one, targets()) for one in variants]
    found = compare_figures(measured, targets(), resamples, seed=3)
    drawn = [
        [figures_by_loops(one, chosen, rows.rank) for chosen in resample(ROWS, resamples, 3)]
        for one, rows in zip(variants, measured, strict=True)
    ]
    for name in ValidationMetric:
        for place, (figures, changes) in enumerate(found):
            values = [sample[name] for sample in drawn[place]]
            differences = [
                own[name] - first[name] for own, first in zip(drawn[place], drawn[0], strict=True)
            ]
            for interval, samples in ((figures[name], values), (changes[name], differences)):
                low, high = np.percentile(samples, (2.5, 97.5))
                # Sums in another order.
                assert interval.low == pytest.approx(low, abs=1e-12)
                assert interval.high == pytest.approx(high, abs=1e-12)


def test_the_figures_are_those_of_all_rows() -> None:
    predicted = predictions(1, 0.8)
    ((figures, _),) = compare_figures([RowFigures.of(predicted, targets())], targets(), 20, seed=0)
    expected = retrieval(predicted, targets()).to_dict()
    for name, figure in figures.items():
        assert figure.value == pytest.approx(expected[name], rel=1e-12)
        assert figure.low <= figure.value <= figure.high


def test_identical_variants_differ_by_exactly_nothing() -> None:
    one = RowFigures.of(predictions(1, 0.8), targets())
    _, (_, changes) = compare_figures([one, one], targets(), 250, seed=0)
    for change in changes.values():
        assert (change.value, change.low, change.high) == (0.0, 0.0, 0.0)


def test_resamples_in_parts_are_those_at_once() -> None:
    # More than are computed at once, and no multiple of them.
    one = RowFigures.of(predictions(1, 0.8), targets())
    ((many, _),) = compare_figures([one], targets(), 230, seed=0)
    values = [one.cosine[chosen].mean() for chosen in resample(ROWS, 230, 0)]
    low, high = np.percentile(values, (2.5, 97.5))
    assert many[ValidationMetric.COSINE].low == pytest.approx(low, abs=1e-12)
    assert many[ValidationMetric.COSINE].high == pytest.approx(high, abs=1e-12)


def rows_with_cosines(cosine: NDArray[np.float64]) -> RowFigures:
    ones = np.ones(len(cosine), dtype=np.int64)
    return RowFigures(cosine, ones, np.ones(len(cosine)))


def test_an_interval_of_95_percent_contains_the_true_change_about_that_often() -> None:
    rows, trials, change = 150, 300, 0.03
    generator = np.random.default_rng(5)
    hits = 0
    for trial in range(trials):
        # The variants share what is difficult about a row, as those of one model do.
        difficulty = generator.normal(0.5, 0.2, rows)
        other = difficulty + generator.normal(change, 0.1, rows)
        measured = [rows_with_cosines(difficulty), rows_with_cosines(other)]
        found = compare_figures(measured, targets(rows), 200, seed=trial)[1][1]
        interval = found[ValidationMetric.COSINE]
        hits += interval.low <= change <= interval.high
    # Three standard deviations of 300 draws are 0.038; few resamples make it a little less.
    assert 0.90 <= hits / trials <= 0.985


def test_intervals_of_changes_are_narrower_than_those_of_the_figures() -> None:
    generator = np.random.default_rng(6)
    difficulty = generator.normal(0.5, 0.2, 150)
    measured = [rows_with_cosines(difficulty), rows_with_cosines(difficulty + 0.01)]
    (figures, _), (_, changes) = compare_figures(measured, targets(150), 200, seed=0)
    figure, change = figures[ValidationMetric.COSINE], changes[ValidationMetric.COSINE]
    # Every row changes by the same, so nothing of the change is left to chance.
    assert change.high - change.low < 1e-9 < figure.high - figure.low
