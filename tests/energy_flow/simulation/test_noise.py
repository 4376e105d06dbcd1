"""Counter-based normal numbers: known answers, their law, and who draws which."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy_flow.simulation.noise import normals, philox
from tests.support.small_model import CELLS, QUIET, embeddings, make_drifting

DRAWS = 200_000
SIGMA = 5.0
"""A correct generator exceeds a five-sigma bound once in more than a million tests."""

KNOWN = [
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
"""From the known answers that come with Random123."""


def column(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def draw(count: int = DRAWS, step: int = 3, key: int = 5, seed: int = 7) -> torch.Tensor:
    """Return normal numbers of flows 0, 1, 2, …"""
    flow = torch.arange(count)
    seed_words = column([seed & 0xFFFFFFFF, seed >> 32]).unsqueeze(1).expand(2, count)
    full = torch.full_like(flow, step), torch.full_like(flow, key)
    return normals(flow, *full, seed_words, torch.float32)


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter: list[int], key: list[int], words: str) -> None:
    drawn = philox(column(counter).unsqueeze(1), column(key).unsqueeze(1))
    assert [f"{word:08x}" for word in drawn.squeeze(1).tolist()] == words.split()


def test_known_answers_together() -> None:
    counters = torch.stack([column(counter) for counter, _, _ in KNOWN], dim=1)
    keys = torch.stack([column(key) for _, key, _ in KNOWN], dim=1)
    drawn = philox(counters, keys).T.tolist()
    assert [" ".join(f"{word:08x}" for word in row) for row in drawn] == [k[2] for k in KNOWN]


def test_normals_follow_the_formula() -> None:
    counter = torch.stack([column([9, 2]), column([3, 3]), column([5, 5]), column([1, 1])])
    key = column([7, 11]).unsqueeze(1)
    r = philox(counter, key).numpy() >> 8
    u, v = (r + 1) * 2.0**-24, r * 2.0**-24
    first = np.sqrt(-2 * np.log(u[0]))
    expected = [
        first * np.cos(2 * np.pi * v[1]),
        first * np.sin(2 * np.pi * v[1]),
        np.sqrt(-2 * np.log(u[2])) * np.cos(2 * np.pi * v[3]),
    ]
    drawn = normals(column([9, 2]), column([3, 3]), column([5, 5]), key.expand(2, 2), torch.float32)
    # Rounded to float32 once.
    np.testing.assert_allclose(drawn.numpy(), np.stack(expected, axis=1), atol=5e-7)


def test_moments() -> None:
    g = draw().double()
    assert float(g.abs().max()) <= (48 * np.log(2)) ** 0.5, "u is never below 2⁻²⁴"
    # Standard errors of the mean, variance, skewness and kurtosis of n standard normals.
    for power, expected, error in ((1, 0.0, 1), (2, 1.0, 2), (3, 0.0, 15), (4, 3.0, 96)):
        moment = (g**power).mean(dim=0)
        bound = SIGMA * (error / DRAWS) ** 0.5
        assert bool(((moment - expected).abs() < bound).all()), power
    correlation = torch.corrcoef(g.T) - torch.eye(3, dtype=torch.float64)
    assert float(correlation.abs().max()) < SIGMA * DRAWS**-0.5


@pytest.mark.parametrize("other", [{"step": 4}, {"key": 6}, {"seed": 8}, {"seed": 7 + 2**32}])
def test_streams_do_not_correlate(other: dict[str, int]) -> None:
    mine, theirs = draw().double(), draw(**other).double()
    correlation = (mine * theirs).mean(dim=0).abs()
    assert float(correlation.max()) < SIGMA * DRAWS**-0.5


def test_neighbours_do_not_correlate() -> None:
    g = draw().double()
    for lag in (1, 2, 16):
        assert float((g[lag:] * g[:-lag]).mean(dim=0).abs().max()) < SIGMA * DRAWS**-0.5


def test_a_number_does_not_depend_on_its_place() -> None:
    g = draw(1000)
    flows = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    seed = column([7, 0]).unsqueeze(1)

    def at(flow: torch.Tensor) -> torch.Tensor:
        step, key = torch.full_like(flow, 3), torch.full_like(flow, 5)
        return normals(flow, step, key, seed.expand(2, len(flow)), torch.float32)

    assert torch.equal(at(flows), g[flows])
    for start, stop in ((0, 1), (1, 2), (3, 10), (997, 1000), (5, 38)):
        assert torch.equal(at(torch.arange(start, stop)), g[start:stop])


@pytest.mark.parametrize("on_z", [True, False])
def test_a_run_draws_by_flow_step_key_and_seed(on_z: bool) -> None:
    """With a still model the lengths of the first step are those of the noise alone."""
    seed, keys = 2**40 + 3, [9, 2**32 - 1]
    options = {**QUIET, "noise_std": 0.25, "noise_on_z": on_z, "max_steps": 1}
    ends = (
        make_drifting(0.0, 0.0, 0.0)
        .simulate(embeddings(2), options=options, seed=seed, sample_keys=keys)
        .trace.select(kind="terminate")
        .columns
    )
    words = column([seed & 0xFFFFFFFF, seed >> 32]).unsqueeze(1).expand(2, CELLS)
    flow = torch.arange(CELLS)
    zero = torch.zeros_like(flow)
    for sample, key in enumerate(keys):
        g = normals(flow, zero, torch.full_like(flow, key), words, torch.float64)
        if not on_z:
            g[:, 2] = 0
        here = ends["sample"] == sample
        assert ends["flow"][here].tolist() == list(range(CELLS))
        np.testing.assert_allclose(
            ends["length"][here], 0.25 * torch.linalg.vector_norm(g, dim=1), rtol=1e-5
        )
        if not on_z:
            assert (ends["plane"][here] == 0).all(), "z stays 0"


def test_variance_of_z_is_that_of_the_noise() -> None:
    options = {**QUIET, "noise_std": 0.25, "max_steps": 1}
    result = make_drifting(0.0, 0.0, 0.125).simulate(embeddings(200), options=options)
    variance = result.steps[0].z_displacement_variance
    assert variance is not None
    flows = 200 * CELLS
    assert abs(variance / 0.25**2 - 1) < SIGMA * (2 / flows) ** 0.5
