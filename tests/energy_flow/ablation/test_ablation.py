"""What is switched off is off, and the figures are those of a validation."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from energy_flow import FlowProcessor
from energy_flow.ablation import AblationResult, AblationRun, Interval, ablate, find_parts
from energy_flow.choices import Ablation, ValidationMetric
from energy_flow.errors import ConfigError, DataError, NonFiniteError, RunCancelled
from energy_flow.simulation.pool import FlowState
from energy_flow.training.data import Pairs
from energy_flow.training.validation.measurement import Measurement
from tests.support.small_model import LIVELY, QUIET, make_drifting, make_varied
from tests.support.small_training import pairs

RESAMPLES = 100
PARTS = tuple(Ablation)


@cache
def lively_result() -> AblationResult:
    """Return the figures of a model in which every part can be switched off."""
    config = make_varied().config.with_options(LIVELY)
    return ablate(make_varied(), pairs(20), config=config, resamples=RESAMPLES)


def changes(result: AblationResult, part: Ablation) -> dict[str, tuple[float, float, float]]:
    """Return how the figures change without a part: value, low and high."""
    (entry,) = (entry for entry in result.entries if entry.ablation is part)
    return {name: (one.value, one.low, one.high) for name, one in entry.changes.items()}


def test_the_model_as_it_is_has_the_figures_of_a_validation() -> None:
    processor, data = make_varied(), pairs(20)
    measurement = Measurement(data, 8)
    while not measurement.is_complete:
        measurement.advance(processor)
    expected = measurement.figures().to_dict()
    as_it_is = ablate(processor, data, rows_at_once=7, resamples=RESAMPLES).entries[0]
    assert as_it_is.ablation is None
    for name, figure in as_it_is.figures.items():
        # Both are float64; only the order of their sums differs.
        assert figure.value == pytest.approx(expected[name], rel=1e-12)


def test_every_part_changes_the_figures_of_a_lively_model() -> None:
    assert [entry.ablation for entry in lively_result().entries] == [None, *PARTS]
    for part in PARTS:
        assert changes(lively_result(), part)["cosine"][0] != 0


def test_the_model_as_it_is_changes_nothing() -> None:
    for change in lively_result().entries[0].changes.values():
        assert (change.value, change.low, change.high) == (0, 0, 0)


def test_freezing_flows_that_stand_still_changes_nothing() -> None:
    processor = make_drifting(0.0, 0.0, 0.0, energy=0.7)
    options = {**QUIET, "min_displacement": 0.0}
    config = processor.config.with_options(options)
    result = ablate(processor, pairs(12), config=config, resamples=RESAMPLES)
    for part in (Ablation.MOVES, Ablation.XY, Ablation.Z):
        assert set(changes(result, part).values()) == {(0.0, 0.0, 0.0)}
    # The same energy for all flows hides the differences between the rows.
    assert changes(result, Ablation.ENERGIES)["cosine"][0] != 0


def first_and_second(part: Ablation | None, **options: Any) -> tuple[FlowState, FlowState]:
    """Return a pool before its first step and after it; no flow has ended in between."""
    processor = make_varied()
    config = processor.config.with_options({**QUIET, **dict(part.options if part else ())})
    config = config.with_options({"displacement_scale": 1e-3, "max_steps": 9, **options})
    empty = replace(processor.empty(config), ablation=part)
    data = pairs(4)
    before = processor.add_cohort(empty, data.inputs, config, config.seed, data.rows.tolist())
    flows = replace(before.flows)
    after = processor.step(before)
    assert after.active_flows == len(flows.flow_id)
    return replace(after, flows=flows), after


@pytest.mark.parametrize("part", [None, Ablation.MOVES, Ablation.XY, Ablation.Z])
def test_coordinates_that_are_off_stay(part: Ablation | None) -> None:
    before, after = first_and_second(part)
    stays = (before.flows.position == after.flows.position).all(dim=0).tolist()
    axes = (1.0, 1.0, 1.0) if part is None else part.axes
    assert stays == [factor == 0 for factor in axes]


def test_energies_stay_if_they_are_kept() -> None:
    before, after = first_and_second(Ablation.ENERGIES)
    assert before.flows.energy.equal(after.flows.energy)
    before, after = first_and_second(None)
    assert not before.flows.energy.equal(after.flows.energy)


def test_what_a_model_does_not_have_is_not_switched_off() -> None:
    config = make_varied().config.with_options(QUIET)
    assert find_parts(config) == PARTS[:4]
    result = ablate(make_varied(), pairs(6), config=config, resamples=RESAMPLES)
    for entry, reason in zip(result.entries[-2:], ("spawning", "noise"), strict=True):
        assert entry.not_applicable == f"the model has no {reason}"
        assert not entry.figures
        assert not entry.changes
        assert entry.flows is None
    assert "the model has no noise" in result.table()


def test_flows_are_described() -> None:
    by_part = {entry.ablation: entry.flows for entry in lively_result().entries}
    as_it_is, frozen, flat = (by_part[part] for part in (None, Ablation.MOVES, Ablation.Z))
    childless = by_part[Ablation.SPAWNING]
    assert as_it_is is not None
    assert frozen is not None
    assert flat is not None
    assert childless is not None
    assert as_it_is.spawned > 0
    assert childless.spawned == 0
    assert frozen.mean_path_length == 0
    # Flows start nearer to z0, and nothing moves them along z.
    assert flat.planes == {"z0": 1.0, "zdepth": 0.0}


def test_results_do_not_depend_on_the_rows_at_once() -> None:
    config = make_varied().config.with_options(LIVELY)
    parts = ablate(make_varied(), pairs(20), config=config, rows_at_once=3, resamples=RESAMPLES)
    assert parts.to_dict() == lively_result().to_dict()


def test_intervals_follow_from_the_seed() -> None:
    config = make_varied().config.with_options(LIVELY)
    runs = [
        ablate(make_varied(), pairs(20), config=config, resamples=RESAMPLES, seed=seed)
        for seed in (0, 1)
    ]
    assert runs[0] == lively_result()
    for one, other in zip(runs[1].entries, runs[0].entries, strict=True):
        cosines = [entry.figures[ValidationMetric.COSINE] for entry in (one, other)]
        assert cosines[0].value == cosines[1].value
        assert cosines[0] != cosines[1]


def test_progress_counts_rows_of_each_part() -> None:
    config = make_varied().config.with_options(LIVELY)
    run = AblationRun(make_varied(), pairs(10), config=config, rows_at_once=4, resamples=RESAMPLES)
    assert run.total == 10 * (1 + len(PARTS))
    seen: dict[Ablation | None, int] = {}
    while run.advance():
        assert run.current in (None, *PARTS)
        seen.setdefault(run.current, run.done)
    assert seen == {part: 10 * place for place, part in enumerate((None, *PARTS))}
    assert run.done == run.total
    assert not run.advance()


def test_after_the_last_step_no_part_is_current() -> None:
    seen: list[tuple[int, Ablation | None]] = []
    config = make_varied().config.with_options(LIVELY)
    ablate(
        make_varied(),
        pairs(10),
        config=config,
        resamples=RESAMPLES,
        on_step=lambda run: seen.append((run.done, run.current)),
    )
    assert seen[-1] == (10 * (1 + len(PARTS)), None)


def measured(data: Pairs, resamples: int) -> AblationRun:
    """Return a run whose rows are simulated, so that only the intervals are left."""
    run = AblationRun(make_varied(), data, resamples=resamples)
    while run.advance():
        pass
    return run


def test_the_intervals_are_not_computed_to_the_end_if_they_should_stop() -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    with pytest.raises(RunCancelled, match="intervals"):
        measured(pairs(10), 1000).result(should_stop)
    assert asked == 3


def test_draws_of_equal_targets_are_left_out_of_the_intervals_of_r2() -> None:
    # Two rows, so a draw has both, and the R² of all rows, or has one of them twice.
    for entry in measured(pairs(2), RESAMPLES).result().entries:
        for figures in (entry.figures, entry.changes):
            if figures:
                one = figures[ValidationMetric.R2]
                # Both are float64; only the order of their sums differs.
                assert (one.low, one.high) == pytest.approx((one.value, one.value), abs=1e-9)


def test_intervals_of_r2_are_the_value_where_all_targets_are_equal() -> None:
    data = pairs(6)
    equal = np.broadcast_to(np.linspace(0.1, 0.7, 8), (6, 8))
    entries = measured(Pairs.of(data.inputs, equal), RESAMPLES).result().entries
    assert {one.figures[ValidationMetric.R2] for one in entries if one.figures} == {
        Interval(0.0, 0.0, 0.0)
    }
    assert {one.changes[ValidationMetric.R2] for one in entries if one.figures} == {
        Interval(0.0, 0.0, 0.0)
    }


def test_a_number_that_is_not_finite_names_the_row_of_the_file() -> None:
    data = pairs(12)
    data.inputs[9] = np.finfo(np.float32).max
    with pytest.raises(NonFiniteError, match="sample 9,") as caught:
        ablate(make_varied(), data.take(np.arange(2, 12)), rows_at_once=4, resamples=RESAMPLES)
    assert caught.value.sample == 9


@pytest.mark.parametrize("name", ["rows_at_once", "resamples"])
@pytest.mark.parametrize("count", [0, -1])
def test_counts_below_1_are_refused(name: str, count: int) -> None:
    counts: dict[str, Any] = {name: count}
    with pytest.raises(ConfigError, match=f"{name}: must be at least 1 .got {count}"):
        ablate(make_varied(), pairs(4), **counts)


def test_a_table_has_the_chosen_figures() -> None:
    head, *lines = lively_result().table((ValidationMetric.TOP_1,)).splitlines()
    assert "top_1 [95 %]" in head
    assert "cosine" not in head
    assert len(lines) == 1 + len(PARTS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Pairs.of(np.zeros((3, 8)), np.zeros((3, 5))), "targets: must have 8 .*got 5"),
        (Pairs.of(np.zeros((3, 4)), np.zeros((3, 8))), "inputs: must have 8 .*got 4"),
        (Pairs.of(np.zeros((1, 8)), np.zeros((1, 8))), "rows: must be at least 2"),
    ],
)
def test_rows_that_do_not_suit_the_model_are_refused(data: Pairs, message: str) -> None:
    processor: FlowProcessor = make_varied()
    with pytest.raises(DataError, match=message):
        AblationRun(processor, data)
