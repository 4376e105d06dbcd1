"""``FlowProcessor``: start, step, finish, simulate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor, SimulationResult
from energy_flow.errors import EmbeddingError
from energy_flow.telemetry.ledger import StepMetrics
from tests.support.small_model import (
    LIVELY,
    OUTPUTS,
    bits,
    embeddings,
    find_differences,
    finish,
    make_drifting,
    make_untrained,
    make_varied,
    small_config,
    step_to_end,
)


def test_flow_processor_runs_minimal() -> None:
    processor = FlowProcessor(small_config())
    result = processor.simulate(embeddings(2), outputs=OUTPUTS)
    shapes = {name: (value.shape, value.dtype.name) for name, value in result.outputs.items()}
    assert set(shapes) == set(OUTPUTS)
    assert (
        shapes.items()
        >= {
            "surface": ((2, 4, 4), "float32"),
            "planes": ((2, 2, 4, 4), "float32"),
            "hits": ((2, 2, 4, 4), "int32"),
            "embedding": ((2, 8), "float32"),
        }.items()
    )
    assert all(np.isfinite(value).all() for value in result.outputs.values())
    counters = result.metrics.counters
    assert counters.initial == 2 * 16
    assert counters.created == counters.completed + counters.stalled
    assert result.outputs["hits"].sum() == counters.completed
    assert result.seed == 0
    assert result.sample_keys == (0, 1)
    assert "2 samples" in result.summary()


def test_the_smallest_lattice_runs() -> None:
    processor = FlowProcessor(small_config(lattice_width=2, lattice_height=2, lattice_depth=2))
    result = processor.simulate(embeddings(1), outputs=("hits",))
    assert result.outputs["hits"].shape == (1, 2, 2, 2)
    assert result.outputs["hits"].sum() == result.metrics.counters.completed > 0


def test_width_and_height_are_not_mixed_up() -> None:
    processor = FlowProcessor(small_config(lattice_width=3, lattice_height=5))
    result = processor.simulate(embeddings(2), options=LIVELY, outputs=OUTPUTS)
    assert result.outputs["surface"].shape == (2, 5, 3)
    assert result.outputs["planes"].shape == result.outputs["hits"].shape == (2, 2, 5, 3)
    ends = result.trace.select(kind="terminate").columns
    hits = np.zeros((2, 2, 5, 3), dtype=int)
    ix = np.clip(np.floor((ends["x"] + 1.0) / 2.0 * 2 + 0.5 - 2.0**-12), 0, 2).astype(int)
    iy = np.clip(np.floor((ends["y"] + 1.0) / 2.0 * 4 + 0.5 - 2.0**-12), 0, 4).astype(int)
    np.add.at(hits, (ends["sample"], ends["plane"], iy, ix), 1)
    np.testing.assert_array_equal(result.outputs["hits"], hits)


def test_stepping_by_hand_is_simulating() -> None:
    x = embeddings(3)
    whole = make_varied().simulate(x, options=LIVELY, seed=5, outputs=OUTPUTS)
    state = make_varied().start(x, options=LIVELY, seed=5)
    (cohort,) = state.cohorts
    result = finish(make_varied(), step_to_end(make_varied(), state), cohort)
    for row in range(3):
        assert find_differences(bits(result, row), bits(whole, row)) == []


def test_on_step_is_called_at_every_step() -> None:
    reported: list[StepMetrics] = []
    result = make_varied().simulate(embeddings(2), options=LIVELY, on_step=reported.append)
    assert tuple(reported) == result.steps
    assert [step.step for step in reported] == list(range(result.metrics.counters.steps))
    assert reported[-1].active == 0


@pytest.mark.parametrize("kind", ["list", "float64", "tensor", "float64 tensor", "columns"])
def test_kinds_of_embeddings(kind: str) -> None:
    x = embeddings(2)
    given: dict[str, Any] = {
        "list": x.tolist(),
        "float64": x.astype(np.float64),
        "tensor": torch.from_numpy(x),
        "float64 tensor": torch.from_numpy(x).double().requires_grad_(),
        "columns": np.asfortranarray(x),
    }
    expected = make_untrained().simulate(x, outputs=OUTPUTS)
    result = make_untrained().simulate(given[kind], outputs=OUTPUTS)
    assert find_differences(bits(result, 1), bits(expected, 1)) == []


def test_only_requested_outputs_are_returned() -> None:
    result = make_untrained().simulate(embeddings(1), outputs=("hits", "hits"))
    assert list(result.outputs) == ["hits"]
    assert dict(make_untrained().simulate(embeddings(1), outputs=()).outputs) == {}
    assert list(make_untrained().simulate(embeddings(1)).outputs) == ["surface"]


def test_unknown_outputs_are_refused_together() -> None:
    with pytest.raises(EmbeddingError) as refusal:
        make_untrained().simulate(embeddings(1), outputs=("surfaces", "hits", "plane"))
    assert [fault.got for fault in refusal.value.faults] == ["surfaces", "plane"]
    assert f"{', '.join(OUTPUTS)}; did you mean 'surface'?" in str(refusal.value)


def test_cells_without_hits_hold_zero() -> None:
    result = make_varied().simulate(embeddings(4), options=LIVELY, outputs=OUTPUTS)
    planes, hits = result.outputs["planes"], result.outputs["hits"]
    empty = hits == 0
    assert empty.any()
    assert (planes[empty] == 0).all()
    assert (result.outputs["surface"][empty.all(axis=1)] == 0).all()


def test_seed_and_keys_decide_the_noise() -> None:
    x = embeddings(1)
    base = bits(make_varied().simulate(x, options=LIVELY, seed=1, sample_keys=[7]), 0)

    def again(seed: int, key: int) -> list[str]:
        result = make_varied().simulate(x, options=LIVELY, seed=seed, sample_keys=[key])
        return find_differences(bits(result, 0), base)

    assert again(1, 7) == []
    assert "trace x" in again(2, 7)
    assert "trace x" in again(1, 8)
    assert "trace x" in again(1 + 2**32, 7), "the high word of the seed counts"
    assert "trace x" in again(2**63 - 1, 2**32 - 1)


def test_a_config_seed_is_the_default() -> None:
    x = embeddings(1)
    mine = make_varied().simulate(x, options={**LIVELY, "seed": 9})
    theirs = make_varied().simulate(x, options=LIVELY, seed=9)
    assert mine.seed == theirs.seed == 9
    assert find_differences(bits(mine, 0), bits(theirs, 0)) == []


def test_a_deterministic_run_has_no_noise_and_its_own_seed() -> None:
    x = embeddings(2)
    options = {**LIVELY, "deterministic": True}
    del options["noise_std"]
    first = make_varied().simulate(x, options=options, seed=1, sample_keys=[3, 4])
    quiet = make_varied().simulate(x, options={**LIVELY, "noise_std": 0.0})
    assert first.seed == 0
    assert find_differences(bits(first, 1), bits(quiet, 1)) == []


def test_finish_between_steps() -> None:
    state = make_varied().start(embeddings(2), options=LIVELY)
    (cohort,) = state.cohorts
    before = finish(make_varied(), state, cohort)
    assert before.metrics.counters.created == 32
    assert before.metrics.counters.ended == before.outputs["hits"].sum() == len(before.trace) == 0
    assert before.metrics.mean_step_ms is None
    state = make_varied().step(make_varied().step(state))
    amid = finish(make_varied(), state, cohort)
    counters = amid.metrics.counters
    assert counters.steps == len(amid.steps) == 2
    assert counters.created == counters.ended + state.active_flows


def test_counters_of_a_result_do_not_change_when_the_run_continues() -> None:
    result, go_on = _result_amid_a_run()

    def numbers() -> dict[str, Any]:
        samples = [sample.to_dict() for sample in result.samples]
        return {**result.metrics.to_dict(), "samples": samples, "steps": len(result.steps)}

    before = numbers()
    go_on()
    assert numbers() == before


def test_costs_in_a_result_do_not_change_when_the_run_continues() -> None:
    result, go_on = _result_amid_a_run()
    before = (result.memory.to_dict(), result.profile.to_dict())
    go_on()
    assert (result.memory.to_dict(), result.profile.to_dict()) == before


def _result_amid_a_run() -> tuple[SimulationResult, Callable[[], object]]:
    state = make_varied().start(embeddings(2), options=LIVELY)
    (cohort,) = state.cohorts
    state = make_varied().step(state)
    return finish(make_varied(), state, cohort), lambda: step_to_end(make_varied(), state)


def test_results_of_parts_join() -> None:
    x, keys = embeddings(5), [4, 8, 1, 0, 9]
    whole = make_varied().simulate(x, options=LIVELY, sample_keys=keys, outputs=OUTPUTS)
    parts, first = [], 0
    for size in (2, 3):
        config = make_varied().config.with_options(LIVELY)
        rows = slice(first, first + size)
        state = make_varied().add_cohort(
            make_varied().empty(config), x[rows], config, 0, keys[rows], first
        )
        (cohort,) = state.cohorts
        parts.append(finish(make_varied(), step_to_end(make_varied(), state), cohort))
        first += size
    joined = SimulationResult.concatenate(parts)
    assert joined.metrics.counters.to_dict() == whole.metrics.counters.to_dict()
    assert [sample.sample for sample in joined.samples] == [0, 1, 2, 3, 4]
    assert joined.trace.columns["sample"].tolist() == whole.trace.columns["sample"].tolist()
    for row in range(5):
        assert find_differences(bits(joined, row), bits(whole, row)) == []


def test_batch_variant_blocks_are_allowed() -> None:
    options = {**LIVELY, "batch_invariant": False, "noise_std": 0.0}
    mine = make_drifting(0.1, 0.2, 0.3).simulate(embeddings(3), options=options, outputs=OUTPUTS)
    same = make_drifting(0.1, 0.2, 0.3).simulate(
        embeddings(3), options={**options, "batch_invariant": True}, outputs=OUTPUTS
    )
    np.testing.assert_array_equal(mine.outputs["hits"], same.outputs["hits"])
