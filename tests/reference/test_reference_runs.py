"""Whole runs of the reference: flows that drift by a constant, and laws that any run obeys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from .cases import drift, drifting_weights, make_config, random_weights
from .philox import normals
from .results import NotFiniteError, ReferenceSample
from .ring import Kind, Record
from .simulator import simulate
from .tally import importance


def of_kind(sample: ReferenceSample, kind: Kind) -> list[Record]:
    return [record for record in sample.records if record.kind == kind]


# Whole runs of flows that drift by a constant


def test_exit_exactly_on_the_plane() -> None:
    sample = drift(make_config(), 0.0, 0.0, 7.0)
    records = of_kind(sample, Kind.TERMINATE)
    assert [(r.seq, r.step, r.flow, r.code, r.plane) for r in records] == [
        (flow, 1, flow, 0, 1) for flow in range(4)
    ]
    assert [(r.x, r.y, r.z) for r in records] == [
        (-1, -1, 1),
        (1, -1, 1),
        (-1, 1, 1),
        (1, 1, 1),
    ]
    assert sample.hits.tolist() == [[[0, 0], [0, 0]], [[1, 1], [1, 1]]]
    assert sample.surface == pytest.approx(np.full((2, 2), 0.5))
    assert sample.planes[0].max() == 0
    assert sample.planes[1] == pytest.approx(sample.surface)
    assert sample.counters.by_reason["plane"] == 4
    assert sample.counters.steps == 2
    assert sample.counters.mean_path_steps == 2
    assert sample.counters.mean_path_length == 1
    # Exact arithmetic decides every tie here.
    assert sample.margin == math.inf
    assert sample.closest_decision == ""


def test_reflection_then_exit_in_one_step() -> None:
    sample = drift(make_config(max_displacement=1.0), 0.25, -0.75, -1.0)
    assert [(r.flow, r.code, r.x, r.y, r.z) for r in of_kind(sample, Kind.REFLECT)] == [
        (0, 4, -0.75, -0.25, -1),
        (1, 2 + 4, 0.75, -0.25, -1),
        (3, 2, 0.75, 0.25, -1),
    ]
    ends = of_kind(sample, Kind.TERMINATE)
    assert [(r.flow, r.plane, r.x, r.y) for r in ends] == [
        (0, 0, -0.75, -0.25),
        (1, 0, 0.75, -0.25),
        (2, 0, -0.75, 0.25),
        (3, 0, 0.75, 0.25),
    ]
    assert [r.kind for r in sample.records] == [1, 1, 1, 2, 2, 2, 2]
    assert ends[0].length == pytest.approx(math.sqrt(0.0625 + 0.5625 + 1))


def test_clamp_boundary_makes_no_record() -> None:
    sample = drift(make_config(boundary="clamp", max_displacement=1.0), 0.25, -0.75, -1.0)
    assert of_kind(sample, Kind.REFLECT) == []
    assert sample.counters.reflected == 0
    ends = of_kind(sample, Kind.TERMINATE)
    assert [(r.x, r.y) for r in ends] == [(-0.75, -1), (1, -1), (-0.75, 0.25), (1, 0.25)]


def test_projection_distance_and_importance() -> None:
    # z is 0.25 after two steps: distance 0.75, age 2, and the move to the upper plane.
    config = make_config(projection_age=2, aggregation_mode="legacy")
    sample = drift(config, 0.0, 0.0, 0.125)
    assert [(r.step, r.code, r.plane, r.z) for r in of_kind(sample, Kind.TERMINATE)] == [
        (1, 1, 1, 1.0)
    ] * 4
    assert importance(0.5, 0.75, 2) == pytest.approx(0.5 / 1.75 * 1.2)
    # z = 0 belongs to z0, at the full distance.
    still = drift(config, 0.0, 0.0, 0.0)
    assert {r.plane for r in of_kind(still, Kind.TERMINATE)} == {0}
    assert still.margin == math.inf


def test_cell_weights_of_two_ends_in_one_cell() -> None:
    config = make_config(lattice_width=3, projection_age=1)
    sample = drift(config, 0.5, 0.0, 0.0)
    # x: -1 -> -0.5, a tie of cells 0 and 1; 0 -> 0.5, a tie of 1 and 2; 1 -> 1.5 -> 0.5.
    assert sample.hits[0].tolist() == [[1, 2, 0], [1, 2, 0]]
    assert sample.surface.tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0]]


def test_max_steps_and_default_projection() -> None:
    late = drift(make_config(max_steps=3, projection_age=3), 0.0, 0.0, 0.0)
    assert {(r.step, r.code) for r in of_kind(late, Kind.TERMINATE)} == {(2, 1)}
    short = drift(make_config(max_steps=3, projection_age=9), 0.0, 0.0, 0.0)
    assert {(r.step, r.code) for r in of_kind(short, Kind.TERMINATE)} == {(2, 3)}
    default = drift(make_config(lattice_depth=7), 0.0, 0.0, 0.0)
    assert {r.step for r in of_kind(default, Kind.TERMINATE)} == {2}
    capped = drift(make_config(lattice_depth=10, max_steps=2), 0.0, 0.0, 0.0)
    assert {(r.step, r.code) for r in of_kind(capped, Kind.TERMINATE)} == {(1, 1)}


def test_stalled_flows_are_not_tallied() -> None:
    sample = drift(make_config(min_displacement=0.25), 0.0, 0.125, 0.0)
    records = of_kind(sample, Kind.TERMINATE)
    assert [(r.code, r.plane, r.z) for r in records] == [(4, -1, 0.0)] * 4
    assert sample.counters.stalled == 4
    assert sample.counters.completed == 0
    assert sample.hits.sum() == 0
    assert sample.surface.max() == 0
    # Equal is not below.
    moving = drift(make_config(min_displacement=0.125), 0.0, 0.125, 0.0)
    assert moving.counters.stalled == 0


def test_spawns_at_the_parents_start() -> None:
    config = make_config(spawn__mode="threshold", spawn__max_children=3, projection_age=2)
    sample = drift(config, 0.0, 0.0, 0.5)
    # Length 0.5 holds 0.25 twice, so one child each in step 0, at z = 0; parents leave at step 1.
    births = of_kind(sample, Kind.SPAWN)
    first = [(r.flow, r.parent, r.code, r.z, r.length) for r in births if r.step == 0]
    assert first == [(4 + i, i, 0, 0.0, 0.5) for i in range(4)]
    # In step 1 the initial flows leave and only the first children spawn, from z = 0 again.
    second = [(r.flow, r.parent, r.z) for r in births if r.step == 1]
    assert second == [(8 + i, 4 + i, 0.0) for i in range(4)]
    assert {r.energy for r in births} == {0.5}
    # max_steps ends it: 10 steps, of which the last spawns nothing.
    assert sample.counters.steps == 10
    assert sample.counters.spawned == 36
    assert sample.counters.created == 40
    assert sample.counters.by_reason == {
        "plane": 36,
        "projected": 0,
        "converged": 0,
        "max_steps": 4,
        "stalled": 0,
    }
    assert [m.active for m in sample.metrics] == [8] * 9 + [0]
    assert [m.moved for m in sample.metrics] == [4] + [8] * 9
    assert sample.margin == math.inf


def test_capacity_suppresses_the_last_in_order() -> None:
    config = make_config(
        spawn__mode="threshold",
        spawn__threshold=0.125,
        spawn__max_children=3,
        max_active_flows=9,
        max_steps=2,
        projection_age=2,
    )
    sample = drift(config, 0.0, 0.5, 0.0)
    # Each of four flows wants three; there is room for five.
    births = of_kind(sample, Kind.SPAWN)
    assert [(r.flow, r.parent, r.code) for r in births] == [
        (4, 0, 0),
        (5, 0, 1),
        (6, 0, 2),
        (7, 1, 0),
        (8, 1, 1),
    ]
    assert sample.counters.spawns_suppressed == 7
    assert sample.metrics[0].spawns_suppressed == 7
    assert sample.counters.created == 9


def test_one_flow_is_its_own_percentile() -> None:
    # All lengths are equal, so none is above the percentile.
    config = make_config(spawn__mode="percentile", spawn__threshold=0.0, spawn__percentile=50.0)
    assert drift(config, 0.0, 0.5, 0.25).counters.spawned == 0


def test_convergence_ends_a_sample() -> None:
    # Every flow that started leaves in step 1, with four children left: 4 of 8 are done.
    config = make_config(
        spawn__mode="threshold", convergence__enabled=True, convergence__threshold=0.5
    )
    sample = drift(config, 0.0, 0.0, 0.5)
    ends = of_kind(sample, Kind.TERMINATE)
    assert [(r.step, r.flow, r.code, r.plane) for r in ends] == [
        *((1, flow, 0, 1) for flow in range(4)),
        *((1, flow, 2, 1) for flow in range(4, 8)),
    ]
    assert sample.counters.spawned == 4
    assert sample.metrics[1].terminated["converged"] == 4
    assert sample.counters.by_plane_and_reason["zdepth.converged"] == 4


def test_trace_settings_do_not_change_the_result() -> None:
    config = make_config(spawn__mode="threshold", trace__capacity=3, trace__kinds=["spawn"])
    sample = drift(config, 0.0, 0.0, 0.5)
    full = drift(make_config(spawn__mode="threshold"), 0.0, 0.0, 0.5)
    assert sample.totals == full.totals
    assert [r.kind for r in sample.records] == [0, 0, 0]
    total = sample.totals["spawn"]
    assert [r.seq for r in sample.records] == [total - 3, total - 2, total - 1]
    assert np.array_equal(sample.surface, full.surface)


def test_metrics_of_a_noisy_run() -> None:
    config = make_config(noise_std=0.25, max_steps=1, projection_age=1)
    sample = drift(config, 0.0, 0.0, 0.125)
    g = np.array([normals(0, flow, 0, 0) for flow in range(4)])
    d = 0.25 * g + (0, 0, 0.125)
    assert sample.metrics[0].mean_length == pytest.approx(
        np.linalg.norm(d, axis=1).mean(), abs=1e-6
    )
    assert sample.metrics[0].variance_dz == pytest.approx(d[:, 2].var(), abs=1e-6)
    flat = drift(make_config(noise_std=0.25, noise_on_z=False, max_steps=1), 0.0, 0.0, 0.125)
    assert flat.metrics[0].variance_dz == 0


def test_deterministic_means_no_noise_and_the_configs_seed() -> None:
    plain = make_config(noise_std=0.0, seed=5)
    quiet = make_config(noise_std=0.25, seed=5, deterministic=True)
    weights = random_weights(plain, seed=2)
    embeddings = np.ones((1, 3))
    first = simulate(plain, weights, embeddings, seed=5)[0]
    second = simulate(quiet, weights, embeddings, seed=99)[0]
    assert first.records == second.records


def test_splat_deposits_from_before_the_move_to_a_plane() -> None:
    # After two steps x is -0.5 (from -1) or 1 (from 1, off the wall at 0.75), and z is 0.25.
    config = make_config(aggregation_mode="splat", projection_age=2)
    sample = drift(config, 0.25, 0.0, 0.125)
    assert {(r.code, r.plane, r.z) for r in of_kind(sample, Kind.TERMINATE)} == {(1, 1, 1.0)}
    weight = math.exp(0.5 / 1.75 * 1.2)
    left, right = 0.75 * weight, 1.25 * weight
    for plane, share in ((0, 0.375), (1, 0.625)):
        row = [0.5 * share * w / (0.1 + share * w) for w in (left, right)]
        assert sample.planes[plane].tolist() == [pytest.approx(row)] * 2
    assert (
        sample.surface.tolist()
        == [pytest.approx([0.5 * left / (0.1 + left), 0.5 * right / (0.1 + right)])] * 2
    )
    # Each is hit where it is nearest and reaches both planes.
    assert sample.hits.tolist() == [[[0, 0], [0, 0]], [[1, 1], [1, 1]]]
    assert sample.reached.all()
    assert sample.margin == math.inf


def test_splat_of_an_exit_gives_all_to_its_plane() -> None:
    config = make_config(aggregation_mode="splat", background=0.0, lattice_width=3)
    sample = drift(config, 0.0, 0.0, 0.5)
    # Nothing moves off the centres of the cells.
    assert sample.reached.tolist() == [[[False] * 3] * 2, [[True] * 3] * 2]
    assert sample.planes[1] == pytest.approx(np.full((2, 3), 0.5))
    assert sample.planes[0].max() == 0


def test_touches_have_a_margin() -> None:
    def margin(mode: str) -> float:
        config = make_config(
            aggregation_mode=mode, lattice_width=5, max_displacement=1.0, boundary="clamp"
        )
        weights = drifting_weights(config, (-0.499, 0.0, 1.0))
        # A weight that adds next to nothing, so that x is no longer free of rounding.
        weights["carrier.displacement_head.2.weight"][0, 0] = 1e-30
        return simulate(config, weights, np.ones((1, 3)), 0)[0].margin

    # Every flow ends 0.001 beside the centre of a cell, and so far from the border of two.
    assert margin("splat") == pytest.approx(0.001, rel=1e-3)
    assert margin("weighted_v2") == pytest.approx(0.249, rel=1e-2)


def test_residual_energies_add_up() -> None:
    config = make_config(mapper="identity", embedding_dim=4, energy_update="residual")
    sample = drift(config, 0.0, 0.0, 0.25)
    # e = 1 from the embedding, and 0.5 more in each of four steps.
    assert {(r.step, r.energy) for r in of_kind(sample, Kind.TERMINATE)} == {(3, 3.0)}
    assert sample.surface.tolist() == [[3, 3], [3, 3]]
    both = make_config(mapper="identity", embedding_dim=4, output_planes="both")
    assert drift(both, 0.0, 0.0, 0.25).embedding.shape == (8,)


def test_field_decides_the_plane() -> None:
    for strength, plane in ((0.5, 1), (-0.5, 0)):
        config = make_config(field_strength=strength)
        sample = drift(config, 0.0, 0.0, 0.0)
        # 1.0 * 0.5 * 0.5 = 0.25 a step.
        ends = of_kind(sample, Kind.TERMINATE)
        assert {(r.step, r.code, r.plane) for r in ends} == {(3, 0, plane)}
        assert ends[0].length == 0.25


def test_energies_have_a_limit() -> None:
    config = make_config(mapper="identity", embedding_dim=4, energy_update="residual")
    weights = random_weights(config)
    limit = np.float32(1e15)
    embeddings = np.array([[0.0, 0.0, 0.0, -limit]])
    assert simulate(config, weights, embeddings, 0)[0].counters.completed == 4
    embeddings[0, 3] = -np.nextafter(limit, np.float32(np.inf))
    with pytest.raises(NotFiniteError, match=r"energy .* sample 0, flow 3, step 0"):
        simulate(config, weights, embeddings, 0)
    # A head that replaces the energy does not lift the limit of an initial one.
    config["energy_update"] = "replace"
    with pytest.raises(NotFiniteError, match=r"energy .* sample 0, flow 3, step 0"):
        simulate(config, weights, embeddings, 0)


# Whole runs of random weights


def noisy_config() -> dict[str, Any]:
    return make_config(
        lattice_width=5,
        lattice_height=3,
        noise_std=0.3,
        spawn__mode="threshold",
        spawn__threshold=0.2,
        spawn__max_children=2,
        min_displacement=0.25,
        max_active_flows=20,
        projection_age=4,
        convergence__enabled=True,
        convergence__threshold=0.95,
        convergence__min_steps=5,
    )


def test_every_kind_of_event_happens_and_balances() -> None:
    config = noisy_config()
    sample = simulate(config, random_weights(config), np.ones((1, 3)), seed=3)[0]
    counters = sample.counters
    assert counters.reflected
    assert counters.spawned
    assert counters.stalled
    assert counters.spawns_suppressed
    assert counters.by_reason["projected"]
    assert counters.by_plane["z0"]
    assert counters.by_plane["zdepth"]
    assert counters.created == counters.initial + counters.spawned
    assert counters.flow_steps == sum(metric.moved for metric in sample.metrics)
    assert [r.seq for r in sample.records] == list(range(len(sample.records)))
    order = [(r.step, {1: 0, 2: 1, 0: 2}[r.kind], r.flow) for r in sample.records]
    assert order == sorted(order)
    assert 0 < sample.margin < 1e-2
    assert sample.closest_decision.startswith("step ")
    for flow, parent in ((r.flow, r.parent) for r in of_kind(sample, Kind.SPAWN)):
        assert parent < flow


@pytest.mark.parametrize("sensing", ["none", "gradient"])
def test_a_sample_is_independent_of_its_batch(sensing: str) -> None:
    config = {**noisy_config(), "sensing": sensing}
    weights = random_weights(config)
    embeddings = np.random.default_rng(0).standard_normal((3, 3))
    batch = simulate(config, weights, embeddings, seed=3)
    for index in range(3):
        alone = simulate(config, weights, embeddings[index : index + 1], 3, [index])[0]
        assert [r._replace(sample=index) for r in alone.records] == batch[index].records
        assert np.array_equal(alone.surface, batch[index].surface)
        assert np.array_equal(alone.embedding, batch[index].embedding)
    assert batch[0].records != simulate(config, weights, embeddings, seed=4)[0].records


def test_not_finite_is_named() -> None:
    config = make_config()
    weights = random_weights(config)
    weights["carrier.displacement_head.2.bias"][1] = 3e38
    weights["carrier.displacement_head.2.weight"][1] = 3e38
    weights["carrier.displacement_head.0.bias"][:] = 10
    with pytest.raises(NotFiniteError, match=r"displacement .* sample 0, flow 0, step 0"):
        simulate(config, weights, np.ones((1, 3)), 0)


def test_arguments_that_the_reference_refuses() -> None:
    weights = random_weights(make_config())
    for change in ({"precision": "bfloat16"}, {"coord_version": 1}, {"boundary": "wrap"}):
        with pytest.raises(ValueError, match=next(iter(change))):
            simulate(make_config(**change), weights, np.ones((1, 3)), 0)
    changes: tuple[dict[str, Any], ...] = (
        {"mapper": "identity"},
        {"mapper": "identity", "embedding_dim": 4, "output_dim": 5},
        {"background": 0.1},
        {"sensing": "slope"},
    )
    for change in changes:
        with pytest.raises(ValueError, match=next(reversed(change))):
            simulate(make_config(**change), weights, np.ones((1, 3)), 0)
    with pytest.raises(ValueError, match="embeddings"):
        simulate(make_config(), weights, np.ones((1, 4)), 0)
