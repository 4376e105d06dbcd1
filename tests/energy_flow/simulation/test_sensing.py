"""What flows sense: the initial energies of their sample where they are, and their slopes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from energy_flow.simulation.rules.sensing import make_fields, sense
from tests.support.small_model import LIVELY, OUTPUTS, bits, find_differences, make_with_mapper

WIDTH, HEIGHT, SAMPLES = 4, 3, 2
ROUNDING = 1e-6


def slope(values: NDArray[Any], at: int) -> float:
    """Return half the difference of the neighbours; the ends are their own neighbours."""
    return float(values[min(at + 1, len(values) - 1)] - values[max(at - 1, 0)]) / 2


def expected(energy_HW: NDArray[Any], x: float, y: float) -> NDArray[Any]:
    """Return what is sensed at one place, as a sum over all cells."""
    found = np.zeros(3)
    for iy in range(HEIGHT):
        for ix in range(WIDTH):
            k_x = max(0.0, 1 - abs((x + 1) / 2 * (WIDTH - 1) - ix))
            k_y = max(0.0, 1 - abs((y + 1) / 2 * (HEIGHT - 1) - iy))
            of_cell = (
                energy_HW[iy, ix],
                slope(energy_HW[iy], ix),
                slope(energy_HW[:, ix], iy),
            )
            found += k_x * k_y * np.array(of_cell)
    return found


def test_follows_the_definition() -> None:
    rng = np.random.default_rng(0)
    energy = rng.uniform(-1, 1, (SAMPLES, HEIGHT * WIDTH))
    position = rng.uniform(-1, 1, (40, 3))
    position[:4, :2] = [(-1, -1), (1, 1), (1, -1), (1 / 3, 0)]
    sample = np.sort(rng.integers(0, SAMPLES, 40))
    fields = make_fields(torch.from_numpy(energy), WIDTH)
    found = sense(
        fields, torch.from_numpy(sample), torch.from_numpy(position), WIDTH, HEIGHT
    ).numpy()
    for row in range(40):
        field = energy[sample[row]].reshape(HEIGHT, WIDTH)
        x, y, _ = position[row]
        np.testing.assert_allclose(found[row], expected(field, x, y), atol=ROUNDING)


def test_gradients_go_to_positions_and_energies() -> None:
    generator = torch.Generator().manual_seed(1)
    energy = torch.rand((SAMPLES, HEIGHT * WIDTH), generator=generator, dtype=torch.float64)
    position = torch.rand((6, 3), generator=generator, dtype=torch.float64) * 2 - 1
    sample = torch.tensor([0, 0, 0, 1, 1, 1])

    def sensed(energy: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        return sense(make_fields(energy, WIDTH), sample, position, WIDTH, HEIGHT)

    assert torch.autograd.gradcheck(sensed, (energy.requires_grad_(), position.requires_grad_()))


@pytest.mark.parametrize("kind", ["identity of both planes", "mlp with sensing"])
def test_samples_sense_their_own_field_in_a_shared_pool(kind: str) -> None:
    """Samples enter and leave the pool between steps, so that rows of the fields move."""
    processor = make_with_mapper(kind)
    rng = np.random.default_rng(2)
    width = processor.config.embedding_dim
    runs = [rng.standard_normal((rows, width)).astype(np.float32) for rows in (2, 1, 3)]
    options = [{**LIVELY, "max_steps": steps, "projection_age": steps} for steps in (3, 9, 6)]
    configs = [processor.config.with_options(one) for one in options]
    state = processor.empty(configs[0])
    cohorts = []
    for number, rows in enumerate(runs):
        keys = [10 * number + row for row in range(len(rows))]
        state = processor.add_cohort(state, rows, configs[number], 7, keys)
        cohorts.append(state.cohorts[-1])
        state = processor.step(state)
    results = {}
    while state.cohorts:
        for cohort in [one for one in state.cohorts if not one.active_flows]:
            results[cohort] = processor.finish(state, cohort, OUTPUTS)
            state = state.without_cohorts([cohort])
        if state.active_flows:
            state = processor.step(state)
    for number, cohort in enumerate(cohorts):
        keys = [10 * number + row for row in range(len(runs[number]))]
        alone = processor.simulate(
            runs[number], options=options[number], seed=7, sample_keys=keys, outputs=OUTPUTS
        )
        for row in range(len(keys)):
            assert find_differences(bits(results[cohort], row), bits(alone, row)) == []
