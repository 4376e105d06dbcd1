"""Intervals of figures over resampled rows.

The percentile bootstrap of Efron, "Bootstrap methods: another look at the jackknife" (1979). All
variants are resampled alike, so that the interval of a change is that of pairs.

Shape legend: V variants, B rows, E width of a target, R resamples of some of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from energy_flow.ablation.result import Interval
from energy_flow.choices import ValidationMetric
from energy_flow.errors import RunCancelled
from energy_flow.training.retrieval import RowFigures, r_squared

Figures = Mapping[ValidationMetric, Interval]

AT_ONCE = 100
"""Resamples that are computed at once."""
LOW, HIGH = 2.5, 97.5
"""Percentiles between which an interval of 95 % lies."""

_Values = dict[ValidationMetric, NDArray[np.float64]]


def compare_figures(
    measured: Sequence[RowFigures],
    target_BE: NDArray[np.float32],
    resamples: int,
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[tuple[Figures, Figures]]:
    """Return the figures of each variant, and how they differ from those of the first.

    Args:
        measured: of V variants.
        target_BE: targets of the rows.
        resamples: how many.
        seed: of the resampling.
        should_stop: whether to give up; called before each ``AT_ONCE`` resamples.

    Raises:
        RunCancelled: it was to give up.
    """
    rows = len(target_BE)
    centred = target_BE.astype(np.float64)
    centred -= centred.mean(axis=0)
    # Only rows with equal targets share a number.
    ids = np.unique(target_BE, axis=0, return_inverse=True)[1].reshape(-1)
    all_rows = np.ones((1, rows))
    whole = _evaluate(measured, centred, all_rows, _has_variation(ids, all_rows))
    drawn: list[list[_Values]] = [[] for _ in measured]
    for counts in _draw_counts(rows, resamples, seed):
        if should_stop():
            raise RunCancelled("the ablation was cancelled while its intervals were computed")
        varies = _has_variation(ids, counts)
        for values, one in zip(drawn, _evaluate(measured, centred, counts, varies), strict=True):
            # R² is not defined for equal targets, and its value by convention is no sample of it.
            one[ValidationMetric.R2] = one[ValidationMetric.R2][varies]
            values.append(one)
    samples = [_join(values) for values in drawn]
    return [
        (
            {name: _interval(whole[v][name], samples[v][name]) for name in ValidationMetric},
            {
                name: _interval(
                    whole[v][name] - whole[0][name], samples[v][name] - samples[0][name]
                )
                for name in ValidationMetric
            },
        )
        for v in range(len(measured))
    ]


def _draw_counts(rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each row was drawn in some of the resamples, [R, B]."""
    generator = np.random.Generator(np.random.Philox(seed))
    share = np.full(rows, 1.0 / rows)
    for first in range(0, resamples, AT_ONCE):
        count = min(AT_ONCE, resamples - first)
        yield generator.multinomial(rows, share, size=count).astype(np.float64)


def _has_variation(ids_B: NDArray[np.int64], counts_RB: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether the rows that were drawn have more than one target, [R]."""
    # Exact, unlike a sum of squares, which rounding keeps from being 0.
    is_drawn_RB = counts_RB > 0
    first_R = ids_B[is_drawn_RB.argmax(axis=1)]
    varies_R: NDArray[np.bool_] = (is_drawn_RB & (ids_B != first_R[:, None])).any(axis=1)
    return varies_R


def _evaluate(
    measured: Sequence[RowFigures],
    centred_BE: NDArray[np.float64],
    counts_RB: NDArray[np.float64],
    varies_R: NDArray[np.bool_],
) -> list[_Values]:
    """Return every figure of some resamples for each variant, [R] each."""
    rows = counts_RB.shape[1]
    squares_B = (centred_BE * centred_BE).sum(axis=1)
    mean_RE = counts_RB @ centred_BE / rows
    # Σ ‖y - mean‖² = Σ ‖y‖² - B ‖mean‖².
    variation_R = counts_RB @ squares_B - rows * (mean_RE * mean_RE).sum(axis=1)
    variation_R = np.where(varies_R, variation_R, 0.0)
    return [
        {
            ValidationMetric.COSINE: counts_RB @ one.cosine / rows,
            ValidationMetric.TOP_1: counts_RB @ (one.rank <= 1) / rows,
            ValidationMetric.TOP_10: counts_RB @ (one.rank <= 10) / rows,
            ValidationMetric.R2: r_squared(counts_RB @ one.squared_error, variation_R),
        }
        for one in measured
    ]


def _join(parts: Sequence[_Values]) -> _Values:
    return {name: np.concatenate([part[name] for part in parts]) for name in ValidationMetric}


def _interval(value: NDArray[np.float64], samples_R: NDArray[np.float64]) -> Interval:
    if not len(samples_R):
        return Interval(float(value[0]), float(value[0]), float(value[0]))
    low, high = np.percentile(samples_R, (LOW, HIGH))
    return Interval(float(value[0]), float(low), float(high))
