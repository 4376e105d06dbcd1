"""A sample's result depends on its own inputs alone: bitwise, in any batch and any order."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_flow import SimulationResult
from tests.support.repository import ROOT
from tests.support.run_options import any_options
from tests.support.small_model import (
    CELLS,
    LIVELY,
    MAPPERS,
    OUTPUTS,
    bits,
    embeddings,
    find_differences,
    make_varied,
    make_with_mapper,
)

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "noise": {},
    "quiet": {"noise_std": 0.0},
    "percentile": {"spawn.mode": "percentile", "spawn.percentile": 60.0},
    "legacy": {"aggregation_mode": "legacy"},
    "splat": {"aggregation_mode": "splat"},
    "splat without background": {"aggregation_mode": "splat", "background": 0.0},
    "field": {"field_strength": 1.5},
    "tight": {"max_active_flows": CELLS + 3, "trace.capacity": 30},
    "earliest": {"trace.capacity": 30, "trace.keep": "earliest", "trace.kinds": ["terminate"]},
    "converging": {"convergence.enabled": True, "convergence.threshold": 0.3},
    "clamp": {"boundary": "clamp", "spawn.mode": "off", "min_displacement": 0.1},
}
COUNT = 9
KEYS = [40, 0, 2**32 - 1, 7, 7, 12, 13, 5, 1]


def simulate(rows: list[int], options: Mapping[str, Any]) -> SimulationResult:
    """These rows of the batch, with their keys, in this order."""
    keys = [KEYS[row] for row in rows]
    x = embeddings(COUNT)[rows]
    return make_varied().simulate(
        x, options={**LIVELY, **options}, seed=11, sample_keys=keys, outputs=OUTPUTS
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_alone_in_any_batch_and_in_any_order(variant: str, precision: str) -> None:
    options = {**VARIANTS[variant], "precision": precision}
    whole = simulate(list(range(COUNT)), options)
    assert whole.warnings == () or variant in ("clamp", "splat without background")
    for row in (0, 4, 8):
        assert find_differences(bits(simulate([row], options), 0), bits(whole, row)) == []
    for rows in ([8, 3, 5, 0, 1, 7, 2, 6, 4], [4, 3]):
        part = simulate(rows, options)
        for place, row in enumerate(rows):
            assert find_differences(bits(part, place), bits(whole, row)) == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", MAPPERS)
def test_alone_in_any_batch_with_any_mapper(kind: str, precision: str) -> None:
    processor = make_with_mapper(kind)
    x = np.random.default_rng(3).standard_normal((COUNT, processor.config.embedding_dim))
    options = {**LIVELY, "precision": precision, "field_strength": -0.8}

    def run(rows: list[int]) -> SimulationResult:
        keys = [KEYS[row] for row in rows]
        return processor.simulate(x[rows], options=options, sample_keys=keys, outputs=OUTPUTS)

    whole = run(list(range(COUNT)))
    assert whole.outputs["embedding"].shape == (COUNT, processor.config.output_width)
    for rows in ([0], [8], [7, 3, 5, 0, 1]):
        part = run(rows)
        for place, row in enumerate(rows):
            assert find_differences(bits(part, place), bits(whole, row)) == []


def test_variants_differ() -> None:
    """Otherwise the test above would show less than it seems to."""
    results = {name: str(bits(simulate([0], options), 0)) for name, options in VARIANTS.items()}
    assert len(set(results.values())) == len(VARIANTS)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_batches_beyond_a_block(precision: str) -> None:
    """Some thousands of flows pass through blocks of every height."""
    x = embeddings(130)
    options = {**LIVELY, "precision": precision}
    whole = make_varied().simulate(x, options=options, outputs=OUTPUTS)
    assert max(step.active for step in whole.steps) > 2048
    for row in (0, 63, 64, 65, 129):
        alone = make_varied().simulate(
            x[row : row + 1], options=options, sample_keys=[row], outputs=OUTPUTS
        )
        assert find_differences(bits(alone, 0), bits(whole, row)) == []


@settings(max_examples=12)
@given(
    options=any_options(),
    rows=st.lists(st.integers(0, COUNT - 1), min_size=2, max_size=6),
    precision=st.sampled_from(("float32", "bfloat16")),
)
def test_any_options_in_any_batch(options: dict[str, Any], rows: list[int], precision: str) -> None:
    options["precision"] = precision
    batch = simulate(rows, options)
    place = len(rows) - 1
    assert find_differences(bits(batch, place), bits(simulate([rows[place]], options), 0)) == []


def test_the_same_run_again() -> None:
    first = simulate([0, 1, 2], {})
    second = simulate([0, 1, 2], {})
    for row in range(3):
        assert find_differences(bits(first, row), bits(second, row)) == []


def test_equal_keys_and_embeddings_are_equal_samples() -> None:
    x = embeddings(1)[[0, 0]]
    result = make_varied().simulate(x, options=LIVELY, sample_keys=[3, 3], outputs=OUTPUTS)
    assert find_differences(bits(result, 0), bits(result, 1)) == []


def _digest(result: SimulationResult) -> str:
    digest = hashlib.sha256()
    for row in range(len(result.samples)):
        for name, value in bits(result, row).items():
            digest.update(name.encode() + value)
    return digest.hexdigest()


def print_digests(threads: int) -> None:
    """Print a digest of the results in each precision; a new process calls it."""
    torch.set_num_threads(threads)
    for precision in ("float32", "bfloat16"):
        sys.stdout.write(_digest(simulate([5, 2, 0], {"precision": precision})) + "\n")


@pytest.mark.slow
def test_a_fresh_process_computes_the_same_bits() -> None:
    program = (
        "from tests.energy_flow.simulation.test_independence import print_digests; "
        f"print_digests({torch.get_num_threads()})"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == [
        _digest(simulate([5, 2, 0], {"precision": precision}))
        for precision in ("float32", "bfloat16")
    ]
