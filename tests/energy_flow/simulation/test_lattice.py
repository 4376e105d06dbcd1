"""``EnergyLattice``: cells, walls and planes as arithmetic on positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energy_flow.simulation.lattice import EnergyLattice, fold, nearest_plane

SHAPES = [(2, 2), (4, 4), (3, 5), (20, 20), (28, 31), (100, 100)]
FOLDED = 1e-5
"""Folding adds and subtracts numbers up to 40 in float32, each to about 2e-6."""


def cells(lattice: EnergyLattice, x: list[float], y: list[float]) -> list[int]:
    columns = (torch.tensor(values, dtype=torch.float32) for values in (x, y))
    numbers: list[int] = lattice.cell_of(*columns).tolist()
    return numbers


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_rounding_quantization_accuracy(width: int, height: int) -> None:
    """The cell of a position is the nearest one, a tie is the lower one's."""
    lattice = EnergyLattice(width, height, 4)
    rng = np.random.default_rng(0)
    position = rng.uniform(-1, 1, (20_000, 2)).astype(np.float32)
    cell = lattice.cell_of(*torch.from_numpy(position).unbind(1)).numpy()
    centre = lattice.positions_of(torch.from_numpy(cell)).numpy()[:, :2]
    spacing = 2.0 / (np.array([width, height]) - 1)
    # A position may be up to 2⁻¹² of a cell beyond the middle: a tie is assigned to the lower cell.
    reach = spacing * (0.5 + 2.0**-12) + 1e-6
    assert (np.abs(position - centre) <= reach).all()
    exact = (position.astype(np.float64) + 1) / 2 * (np.array([width, height]) - 1)
    clear = np.abs(exact - np.floor(exact) - 0.5).min(axis=1) > 2.0**-11
    nearest = np.floor(exact + 0.5).astype(int)
    np.testing.assert_array_equal(cell[clear], (nearest[:, 1] * width + nearest[:, 0])[clear])


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_cells_are_found_from_their_positions(width: int, height: int) -> None:
    lattice = EnergyLattice(width, height, 4)
    cell = torch.arange(lattice.surface_cells)
    position = lattice.positions_of(cell)
    assert position.dtype == torch.float32
    assert position.shape == (width * height, 3)
    assert bool((position[:, 2] == 0).all())
    assert torch.equal(lattice.cell_of(position[:, 0], position[:, 1]), cell)
    assert position[0, :2].tolist() == [-1.0, -1.0]
    assert position[-1, :2].tolist() == [1.0, 1.0]
    assert position[width - 1, :2].tolist() == [1.0, -1.0], "x runs fastest"


@pytest.mark.parametrize("noise", [-1e-6, -1e-7, 0.0, 1e-7, 1e-6])
def test_ties_fall_to_the_lower_cell_whatever_the_rounding(noise: float) -> None:
    lattice = EnergyLattice(5, 5, 4)
    ties = [-0.75 + noise, -0.25 + noise, 0.25 + noise, 0.75 + noise]
    assert cells(lattice, ties, [-1.0] * 4) == [0, 1, 2, 3]
    assert cells(lattice, [-1.0] * 4, ties) == [0, 5, 10, 15]


def test_just_beyond_a_tie_is_the_upper_cell() -> None:
    lattice = EnergyLattice(5, 5, 4)
    beyond = 2.0**-11 * 0.5
    assert cells(lattice, [-0.75 + beyond, 0.75 + beyond], [-1.0] * 2) == [1, 4]


def test_positions_on_and_beyond_the_walls_have_cells() -> None:
    lattice = EnergyLattice(4, 3, 4)
    x = [-1.0, 1.0, -1.0, 1.0, -5.0, 5.0]
    y = [-1.0, -1.0, 1.0, 1.0, 5.0, -5.0]
    assert cells(lattice, x, y) == [0, 3, 8, 11, 8, 3]


@given(st.floats(-1, 1, width=32))
def test_folding_does_not_change_positions_inside(q: float) -> None:
    inside = torch.tensor([q], dtype=torch.float32)
    assert fold(inside).numpy().tobytes() == inside.numpy().tobytes()


@given(st.floats(-20, 20, width=32))
def test_folding_is_a_mirror_however_far(q: float) -> None:
    folded = float(fold(torch.tensor([q], dtype=torch.float32)))
    assert -1 <= folded <= 1
    expected = 2 / math.pi * math.asin(math.sin(math.pi / 2 * q))
    # The formula with sines is steep at the walls, so the mirror is unrolled there instead.
    unrolled = q
    while abs(unrolled) > 1:
        unrolled = math.copysign(2.0, unrolled) - unrolled
    assert folded == pytest.approx(unrolled, abs=FOLDED)
    assert folded == pytest.approx(expected, abs=1e-3)


def test_folding_known_values() -> None:
    q = torch.tensor([1.5, -1.5, 2.0, 3.0, -3.0, 3.5, -4.0, 5.0, 1.0, -1.0])
    assert fold(q).tolist() == [0.5, -0.5, 0.0, -1.0, 1.0, -0.5, 0.0, 1.0, 1.0, -1.0]


def test_the_middle_belongs_to_the_lower_plane() -> None:
    z = torch.tensor([-1.0, -1e-6, -0.0, 0.0, 1e-6, 1.0])
    assert nearest_plane(z).tolist() == [0, 0, 0, 0, 1, 1]
