"""The tally: scores folded into surfaces, in both aggregation modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from energy_flow.choices import AggregationMode
from energy_flow.simulation.span_allocator import Span
from energy_flow.simulation.tally.tally import Scores, Surfaces, Tally, importance

CELLS = 6
SLOTS = 3
ROUNDING = 2e-6
"""Energies are below 1 and float32 sums of a few hundred of them are good to about this."""

Columns = dict[str, NDArray[Any]]


def random_scores(count: int, seed: int, slots: int = SLOTS) -> Columns:
    """Return scores in random cells, sorted by slot as flows are; some cells stay empty."""
    rng = np.random.default_rng(seed)
    return {
        "slot": np.sort(rng.integers(0, slots, count)),
        "plane": rng.integers(0, 2, count),
        "cell": rng.integers(0, CELLS - 1, count),
        "energy": rng.uniform(-1, 1, count).astype(np.float32),
        "weight": rng.uniform(0, 3, count).astype(np.float32),
    }


def joined(*parts: Columns) -> Columns:
    """Return the scores of several steps as those of one step, sorted by slot."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(whole["slot"], kind="stable")
    return {name: column[order] for name, column in whole.items()}


def tallied(steps: Sequence[Columns], legacy: bool) -> Surfaces:
    """Return the outputs of a tally after some steps."""
    tally = Tally.empty(CELLS, torch.float32, torch.device("cpu")).resize(SLOTS)
    for columns in steps:
        tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
        mode = AggregationMode.LEGACY if legacy else AggregationMode.WEIGHTED_V2
        aggregation = torch.full((len(columns["slot"]),), mode.code)
        tally = tally.add(Scores(**tensors, aggregation=aggregation))
    return tally.read([Span(0, SLOTS)])


def expected_mean(columns: Columns, here: NDArray[np.bool_], legacy: bool) -> float:
    """Return the outputs by their definition, in float64."""
    energy = columns["energy"][here].astype(np.float64)
    weight = columns["weight"][here].astype(np.float64)
    if not here.any():
        return 0.0
    if legacy:
        return float((weight * energy).sum() / weight.sum()) if weight.sum() else 0.0
    share = np.exp(weight - weight.max())
    return float((share * energy).sum() / share.sum())


def assert_equal(mine: Surfaces, other: Surfaces, factor: int = 1) -> None:
    torch.testing.assert_close(mine.surface, other.surface, atol=ROUNDING, rtol=0)
    torch.testing.assert_close(mine.planes, other.planes, atol=ROUNDING, rtol=0)
    assert torch.equal(mine.hits, factor * other.hits)


@pytest.mark.parametrize("legacy", [False, True])
def test_follows_the_definition(legacy: bool) -> None:
    steps = [random_scores(count, seed) for seed, count in enumerate((1, 40, 3, 200))]
    surfaces, scores = tallied(steps, legacy), joined(*steps)
    for slot in range(SLOTS):
        for cell in range(CELLS):
            at = (scores["slot"] == slot) & (scores["cell"] == cell)
            both = expected_mean(scores, at, legacy)
            assert float(surfaces.surface[slot, cell]) == pytest.approx(both, abs=ROUNDING)
            for plane in (0, 1):
                here = at & (scores["plane"] == plane)
                alone = expected_mean(scores, here, legacy)
                assert float(surfaces.planes[slot, plane, cell]) == pytest.approx(
                    alone, abs=ROUNDING
                )
                assert int(surfaces.hits[slot, plane, cell]) == here.sum()
    assert int(surfaces.hits[:, :, CELLS - 1].sum()) == 0
    assert not surfaces.surface[:, CELLS - 1].any()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("copies", [2, 5])
def test_weighted_aggregation_invariance(copies: int, legacy: bool) -> None:
    """Duplicating every score changes nothing but the hits, whenever the copies arrive."""
    steps = [random_scores(count, seed) for seed, count in enumerate((30, 100))]
    once = tallied(steps, legacy)
    again = tallied([step for step in steps for _ in range(copies)], legacy)
    assert_equal(again, once, copies)
    together = tallied([joined(*[step] * copies) for step in steps], legacy)
    assert_equal(together, once, copies)


@pytest.mark.parametrize("legacy", [False, True])
def test_when_scores_arrive_does_not_matter(legacy: bool) -> None:
    steps = [random_scores(count, seed) for seed, count in enumerate((50, 1, 120))]
    whole = tallied([joined(*steps)], legacy)
    assert_equal(tallied(steps, legacy), whole)
    assert_equal(tallied(steps[::-1], legacy), whole)


def test_importances_may_be_large() -> None:
    """The running maximum keeps eʷ in range: old flows have importances in the hundreds."""
    scores = random_scores(60, 3)
    for factor in (200.0, 1000.0):
        steps = [{**scores, "weight": scores["weight"] * np.float32(factor)}]
        mine = tallied(steps, legacy=False).surface
        assert bool(torch.isfinite(mine).all())
        for slot in range(SLOTS):
            at = (scores["slot"] == slot) & (scores["cell"] == 1)
            assert float(mine[slot, 1]) == pytest.approx(
                expected_mean(steps[0], at, legacy=False), abs=ROUNDING
            )


def test_legacy_without_weight_is_zero() -> None:
    scores = random_scores(20, 4)
    nothing = {**scores, "weight": np.zeros(20, np.float32), "energy": np.zeros(20, np.float32)}
    surfaces = tallied([nothing], legacy=True)
    assert not surfaces.surface.any()
    assert not surfaces.planes.any()
    assert int(surfaces.hits.sum()) == 20


def test_weighted_without_weight_is_the_plain_mean() -> None:
    scores = {**random_scores(60, 4), "weight": np.zeros(60, np.float32)}
    surfaces = tallied([scores], legacy=False)
    here = (scores["slot"] == 0) & (scores["cell"] == 2)
    assert here.sum() > 1
    mean = float(scores["energy"][here].mean())
    assert float(surfaces.surface[0, 2]) == pytest.approx(mean, abs=ROUNDING)


def test_slots_do_not_touch_each_other() -> None:
    tally = Tally.empty(CELLS, torch.float32, torch.device("cpu")).resize(SLOTS)
    scores = random_scores(60, 5)
    tensors = {name: torch.from_numpy(column) for name, column in scores.items()}
    aggregation = torch.where(
        tensors["slot"] == 1, AggregationMode.LEGACY.code, AggregationMode.WEIGHTED_V2.code
    )
    mixed = tally.add(Scores(**tensors, aggregation=aggregation))
    for slot in range(SLOTS):
        alone = tallied([scores], legacy=slot == 1)
        assert torch.equal(mixed.read([Span(slot, 1)]).surface[0], alone.surface[slot])
    cleared = mixed.clear([Span(1, 1)])
    assert not cleared.read([Span(1, 1)]).hits.any()
    assert not cleared.read([Span(1, 1)]).surface.any()
    assert torch.equal(cleared.read([Span(0, 1)]).surface, mixed.read([Span(0, 1)]).surface)
    assert torch.equal(cleared.read([Span(2, 1)]).planes, mixed.read([Span(2, 1)]).planes)
    grown = mixed.resize(7).resize(SLOTS)
    assert torch.equal(grown.read([Span(0, SLOTS)]).planes, mixed.read([Span(0, SLOTS)]).planes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_are_those_of_the_cells(dtype: torch.dtype) -> None:
    tally = Tally.empty(CELLS, dtype, torch.device("cpu"))
    added = tally.resize(SLOTS).bytes - tally.bytes
    assert added == SLOTS * CELLS * Tally.cell_bytes(dtype)
    members = [getattr(tally, member.name) for member in fields(tally)]
    assert tally.bytes == sum(one.nbytes for one in members if isinstance(one, torch.Tensor))


def test_importance() -> None:
    energy = torch.tensor([0.5, -0.5, 0.25, 0.0])
    distance = torch.tensor([0.0, 1.0, 0.25, 0.5])
    age = torch.tensor([0, 10, 5, 3])
    expected = [0.5, 0.5 / 2 * 2, 0.25 / 1.25 * 1.5, 0.0]
    assert importance(energy, distance, age).tolist() == pytest.approx(expected, abs=ROUNDING)
