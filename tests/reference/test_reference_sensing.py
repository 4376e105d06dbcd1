"""What flows sense in the reference, compared with numbers that can be calculated by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .cases import Weights, drifting_weights, make_config, random_weights
from .layers import Float32, Float64
from .networks import Networks, Proposal
from .results import ReferenceSample
from .ring import Kind
from .rules import read_rules
from .sensing import Sensing, slopes_along_x, slopes_along_y
from .simulator import simulate

F = np.float32

# Five cells are 0.5 apart along x and three are 1 apart along y.
ENERGIES = [
    [1.0, 3.0, 8.0, 8.0, 4.0],
    [-1.0, 0.0, 2.0, 6.0, 6.0],
    [5.0, 5.0, 5.0, 5.0, 5.0],
]


def make_identity_config(**changes: Any) -> dict[str, Any]:
    """A lattice whose initial energies are the embedding."""
    return make_config(
        **{
            "lattice_width": 5,
            "lattice_height": 3,
            "embedding_dim": 15,
            "mapper": "identity",
            "sensing": "gradient",
            **changes,
        }
    )


def sense(x: float, y: float, z: float = 0.0, **changes: Any) -> list[float]:
    rules = read_rules(make_identity_config(**changes), 0)
    position = np.array([x, y, z], F)
    numbers: list[float] = Sensing(rules, np.array(ENERGIES, F)).at(position).tolist()
    return numbers


def test_slopes() -> None:
    values = np.array(ENERGIES)
    assert slopes_along_x(values).tolist() == [
        [1.0, 3.5, 2.5, -2.0, -2.0],
        [0.5, 1.5, 3.0, 2.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ]
    assert slopes_along_y(values).tolist() == [
        [-1.0, -1.5, -3.0, -1.0, 1.0],
        [2.0, 1.0, -1.5, -1.5, 0.5],
        [3.0, 2.5, 1.5, -0.5, -0.5],
    ]
    # Of two cells each has the other and itself as neighbours.
    assert slopes_along_x(np.array([[1.0, 4.0]])).tolist() == [[1.5, 1.5]]
    assert slopes_along_y(np.array([[1.0], [4.0]])).tolist() == [[1.5], [1.5]]


def test_at_the_centre_of_a_cell_its_own_numbers_are_sensed() -> None:
    assert sense(-1, -1) == [1, 1, -1]
    assert sense(0.5, 0) == [6, 2, -1.5]
    assert sense(1, 0) == [6, 0, 0.5]
    assert sense(-0.5, 1) == [5, 0, 2.5]
    assert sense(1, 1) == [5, 0, -0.5]


def test_between_cells_four_are_interpolated() -> None:
    # A quarter of the way from cell 2 to cell 3 along x, and half way between rows 0 and 1:
    # weights 3/8, 1/8, 3/8, 1/8 of g = 8, 8, 2, 6, g_x = 2.5, -2, 3, 2, g_y = -3, -1, -1.5, -1.5.
    assert sense(0.125, -0.5) == [5.5, 2.0625, -2.0]
    # Beside a wall, 1/4 of the way from cell 3 to 4 and from row 1 to 2:
    # weights 9/16, 3/16, 3/16, 1/16 of g = 6, 6, 5, 5, g_x = 2, 0, 0, 0, g_y = -1.5, .5, -.5, -.5.
    assert sense(0.625, 0.25) == [5.75, 1.125, -0.875]


def test_z_is_not_sensed() -> None:
    assert sense(0.125, -0.5, -0.75) == sense(0.125, -0.5, 1.0) == [5.5, 2.0625, -2.0]


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.0), (-0.5, -0.5), (0.25, 0.0), (1.0, 1.0)])
def test_what_is_sensed_is_continuous(x: float, y: float) -> None:
    before = sense(float(np.nextafter(F(x), F(-1))), float(np.nextafter(F(y), F(-1))))
    # No field differs by more than 7 between two cells, which are at least 0.5 apart.
    assert sense(x, y) == pytest.approx(before, abs=4 * 7 / 0.5 * 2**-23)


def test_without_sensing_there_is_nothing() -> None:
    assert sense(0.5, 0.0, sensing="none") == []


# Whole runs


def run(config: dict[str, Any], weights: Weights, energies: Any = ENERGIES) -> ReferenceSample:
    embeddings = np.array(energies, np.float64).reshape(1, -1)
    return simulate(config, weights, embeddings, seed=0)[0]


def make_drifting(config: dict[str, Any], drift: tuple[float, float, float]) -> Weights:
    """Flows that all drift by the same, with energies that depend on all that a flow knows."""
    weights = random_weights(config, seed=4, spread=1.0)
    constant = drifting_weights(config, drift)
    for name in ("carrier.displacement_head.2.weight", "carrier.displacement_head.2.bias"):
        weights[name] = constant[name]
    return weights


def propose(
    config: dict[str, Any],
    weights: Weights,
    position: tuple[float, float, float],
    energy: np.float32,
    sensed: Float64,
    hidden: Float32,
) -> Proposal:
    networks = Networks(read_rules(config, 0), weights)
    return networks.propose(np.array(position, F), energy, sensed, hidden)


def test_initial_energies_are_sensed_in_every_step_and_by_children() -> None:
    # One step moves by (0.125, 0.5, 0), long enough for one child of each flow.
    config = make_identity_config(
        max_steps=2, projection_age=2, max_displacement=1.0, spawn__mode="threshold"
    )
    weights = make_drifting(config, (0.125, 0.5, 0.0))
    # An eighth of the energies, whose slopes are an eighth too, saturates no gate.
    sample = run(config, weights, np.array(ENERGIES) / 8)
    ends = {record.flow: record for record in sample.records if record.kind == Kind.TERMINATE}
    births = [record for record in sample.records if record.kind == Kind.SPAWN]

    # Flow 2 starts in cell (2, 0) and then lies at (0.125, -0.5).
    start, still = (0.0, -1.0, 0.0), np.zeros((1, 4), F)
    here, there = np.array([8, 2.5, -3]) / 8, np.array([5.5, 2.0625, -2]) / 8
    first = propose(config, weights, start, F(1), here, still)
    second = propose(config, weights, (0.125, -0.5, 0), first.energy, there, first.hidden)
    assert ends[2].energy == second.energy
    # Its child starts where it did, and senses there what it had sensed.
    (child,) = (record for record in births if record.parent == 2)
    assert (child.x, child.y, child.energy) == (0.0, -1.0, float(first.energy))
    born = propose(config, weights, start, first.energy, here, first.hidden)
    assert ends[child.flow].energy == born.energy
    assert abs(born.energy - second.energy) > 0.01

    # Each of the three numbers counts, so a wrong one would differ.
    for axis in range(3):
        other = here + 0.125 * (np.arange(3) == axis)
        changed = propose(config, weights, start, first.energy, other, first.hidden)
        assert abs(changed.energy - born.energy) > 0.001


def test_sensing_without_weight_changes_nothing() -> None:
    config = make_identity_config(noise_std=0.2, spawn__mode="threshold")
    weights = random_weights(config, seed=4)
    sensing = run(config, weights)
    narrow = {**weights, "neuron.layers.0.weight": weights["neuron.layers.0.weight"][:, :4]}
    plain = run({**config, "sensing": "none"}, narrow)
    assert sensing.records != plain.records
    weights["neuron.layers.0.weight"][:, 4:] = 0
    assert run(config, weights).records == plain.records


def test_equal_energies_have_no_slopes() -> None:
    config = make_identity_config(noise_std=0.2)
    weights = random_weights(config, seed=4)
    flat = np.full((3, 5), 0.75)
    sample = run(config, weights, flat)
    weights["neuron.layers.0.weight"][:, 5:] *= -3
    assert run(config, weights, flat).records == sample.records
    weights["neuron.layers.0.weight"][:, 4] *= -3
    assert run(config, weights, flat).records != sample.records


def test_width_of_the_first_layer() -> None:
    config = make_identity_config()
    weights = random_weights(config)
    assert weights["neuron.layers.0.weight"].shape == (4, 7)
    with pytest.raises(ValueError, match=r"neuron\.layers\.0\.weight"):
        run({**config, "sensing": "none"}, weights)
