"""The tally: scores folded into surfaces, in all aggregation modes."""

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
from energy_flow.simulation.tally.importance import importance
from energy_flow.simulation.tally.tally import Scores, Surfaces, Tally

WIDTH, HEIGHT = 3, 2
CELLS = WIDTH * HEIGHT
BACKGROUND = 0.1
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
        "position": _positions(rng, count),
        "energy": rng.uniform(-1, 1, count).astype(np.float32),
        "weight": rng.uniform(0, 3, count).astype(np.float32),
    }


def _positions(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Return positions of which some are at cell centres, at walls and at planes."""
    position = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
    position[::3, 2] = rng.choice((-1.0, 1.0), len(position[::3]))
    position[::5, 0] = rng.choice((-1.0, 0.0, 1.0), len(position[::5]))
    position[::7, 1] = rng.choice((-1.0, 1.0), len(position[::7]))
    return position


def joined(*parts: Columns) -> Columns:
    """Return the scores of several steps as those of one step, sorted by slot."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(whole["slot"], kind="stable")
    return {name: column[order] for name, column in whole.items()}


def empty_tally(dtype: torch.dtype = torch.float32) -> Tally:
    return Tally.empty(WIDTH, CELLS, dtype, torch.device("cpu"))


def add_all(steps: Sequence[Columns], mode: AggregationMode) -> Tally:
    """Return a tally after some steps."""
    tally = empty_tally().resize(SLOTS)
    for columns in steps:
        tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
        aggregation = torch.full((len(columns["slot"]),), mode.code)
        tally = tally.add(Scores(**tensors, aggregation=aggregation), {mode})
    return tally


def tallied(steps: Sequence[Columns], legacy: bool) -> Surfaces:
    """Return the outputs of a tally after some steps."""
    mode = AggregationMode.LEGACY if legacy else AggregationMode.WEIGHTED_V2
    return add_all(steps, mode).read([Span(0, SLOTS)], [None])


def deposited(steps: Sequence[Columns], background: float = BACKGROUND) -> Surfaces:
    """Return the outputs of a tally of soft deposits after some steps."""
    return add_all(steps, AggregationMode.SPLAT).read([Span(0, SLOTS)], [background])


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


def assert_same_bits(mine: torch.Tensor, other: torch.Tensor) -> None:
    """Compare bytes: 0 and -0 are equal numbers, but they are not the same result."""
    assert mine.numpy().tobytes() == other.numpy().tobytes()


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
                assert bool(surfaces.reached[slot, plane, cell]) == here.any()
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


def expected_deposits(columns: Columns, slot: int, background: float) -> tuple[Any, Any, Any]:
    """Return the surface, planes and reached cells of a slot by their definition, in float64."""
    shares = np.zeros((2, HEIGHT, WIDTH))
    energies = np.zeros((2, HEIGHT, WIDTH))
    for row in np.flatnonzero(columns["slot"] == slot):
        x, y, z = columns["position"][row].astype(np.float64)
        factor = np.exp(min(float(columns["weight"][row]), 2.0))
        for iy in range(HEIGHT):
            for ix in range(WIDTH):
                k_x = max(0.0, 1 - abs((x + 1) / 2 * (WIDTH - 1) - ix))
                k_y = max(0.0, 1 - abs((y + 1) / 2 * (HEIGHT - 1) - iy))
                for plane, zeta in enumerate(((1 - z) / 2, (1 + z) / 2)):
                    shares[plane, iy, ix] += k_x * k_y * zeta * factor
                    energies[plane, iy, ix] += k_x * k_y * zeta * factor * columns["energy"][row]
    both = shares.sum(0)
    return (
        energies.sum(0) / np.where(both + background > 0, both + background, 1),
        energies / np.where(shares + background > 0, shares + background, 1),
        shares > 0,
    )


@pytest.mark.parametrize("background", [0.0, BACKGROUND, 3.0])
def test_soft_deposits_follow_the_definition(background: float) -> None:
    steps = [random_scores(count, seed) for seed, count in enumerate((1, 12, 3, 60))]
    for parts in (steps[:1], steps[:3], steps):
        surfaces, scores = deposited(parts, background), joined(*parts)
        for slot in range(SLOTS):
            surface, planes, reached = expected_deposits(scores, slot, background)
            flat = surfaces.surface[slot].numpy().reshape(HEIGHT, WIDTH)
            np.testing.assert_allclose(flat, surface, atol=ROUNDING)
            of_planes = surfaces.planes[slot].numpy().reshape(2, HEIGHT, WIDTH)
            np.testing.assert_allclose(of_planes, planes, atol=ROUNDING)
            found = surfaces.reached[slot].numpy().reshape(2, HEIGHT, WIDTH)
            np.testing.assert_array_equal(found, reached)
            assert int(surfaces.hits[slot].sum()) == int((scores["slot"] == slot).sum())


def test_hits_of_soft_deposits_are_those_of_the_nearest_cells() -> None:
    steps = [random_scores(count, seed) for seed, count in enumerate((40, 70))]
    assert torch.equal(deposited(steps).hits, tallied(steps, legacy=False).hits)


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
    scores = random_scores(60, 5)
    tensors = {name: torch.from_numpy(column) for name, column in scores.items()}
    modes = tuple(AggregationMode)
    aggregation = torch.tensor([mode.code for mode in modes])[tensors["slot"]]
    mixed = empty_tally().resize(SLOTS).add(Scores(**tensors, aggregation=aggregation), set(modes))
    backgrounds = [BACKGROUND if mode is AggregationMode.SPLAT else None for mode in modes]
    spans = [Span(slot, 1) for slot in range(SLOTS)]
    together = mixed.read(spans, backgrounds)
    for slot, mode in enumerate(modes):
        alone = add_all([scores], mode).read([spans[slot]], [backgrounds[slot]])
        for name in ("surface", "planes", "hits", "reached"):
            assert_same_bits(getattr(together, name)[slot], getattr(alone, name)[0])

    def read(tally: Tally, slot: int) -> Surfaces:
        return tally.read([spans[slot]], [backgrounds[slot]])

    for gone in range(SLOTS):
        cleared = mixed.clear([spans[gone]])
        for slot in range(SLOTS):
            if slot == gone:
                assert not read(cleared, slot).hits.any()
                assert not read(cleared, slot).reached.any()
                assert not read(cleared, slot).surface.any()
            else:
                assert_same_bits(read(cleared, slot).planes, read(mixed, slot).planes)
    grown = mixed.resize(7).resize(SLOTS)
    assert_same_bits(grown.read(spans, backgrounds).planes, together.planes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_are_those_of_the_cells(dtype: torch.dtype) -> None:
    tally = empty_tally(dtype)
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
