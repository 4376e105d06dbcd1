"""The parts of the reference, compared with numbers that can be calculated by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from .cases import make_config
from .decisions import (
    Convergence,
    Plane,
    cell_of_coordinate,
    children_by_percentile,
    children_by_threshold,
    coordinate_of_cell,
    distance_to_cell_border,
    exit_plane,
    fold,
    nearest_plane,
    percentile_of,
    wall_code,
)
from .margin import Margin, length_is_exact
from .motion import displace
from .networks import Proposal
from .philox import normals, philox4x32_10, uniform, uniform_open
from .ring import Event, Kind, Ring
from .rules import ConvergenceRules, SpawnRules, TraceRules, read_rules
from .spawning import Parent, children_of

F = np.float32


# Random numbers


def test_philox_known_answers() -> None:
    zeros = philox4x32_10((0, 0, 0, 0), (0, 0))
    assert zeros == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    answer = philox4x32_10((ones, ones, ones, ones), (ones, ones))
    assert answer == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    # Random123's third vector, digits of pi: it distinguishes counter and key words.
    pi = philox4x32_10((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
    assert pi == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def test_normals_follow_the_words() -> None:
    seed = 0x299F31D0_A4093822
    r = philox4x32_10((7, 3, 5, 1), (0xA4093822, 0x299F31D0))
    radius = math.sqrt(-2 * math.log(((r[0] >> 8) + 1) / 2**24))
    angle = 2 * math.pi * (r[1] >> 8) / 2**24
    radius_z = math.sqrt(-2 * math.log(((r[2] >> 8) + 1) / 2**24))
    angle_z = 2 * math.pi * (r[3] >> 8) / 2**24
    assert normals(seed, flow=7, step=3, sample_key=5) == (
        radius * math.cos(angle),
        radius * math.sin(angle),
        radius_z * math.cos(angle_z),
    )


def test_uniform_ends() -> None:
    assert uniform_open(0) == 2.0**-24
    assert uniform_open(0xFFFFFFFF) == 1.0
    assert uniform(0) == 0.0
    assert uniform(0xFFFFFFFF) < 1.0


def test_normals_are_standard_and_refuse_wide_words() -> None:
    draws = np.array([normals(1, flow, 0, 0) for flow in range(2000)])
    assert np.abs(draws.mean(axis=0)).max() < 0.08
    assert np.abs(draws.std(axis=0) - 1).max() < 0.05
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.08
    with pytest.raises(ValueError, match="seed"):
        normals(2**64, 0, 0, 0)
    with pytest.raises(ValueError, match="sample_key"):
        normals(0, 0, 0, 2**32)


# Geometry


def test_cells_and_their_ties() -> None:
    assert [float(coordinate_of_cell(ix, 5)) for ix in range(5)] == [-1, -0.5, 0, 0.5, 1]
    assert all(cell_of_coordinate(coordinate_of_cell(ix, 20), 20) == ix for ix in range(20))
    # Half way between cells 1 and 2 of five, and 2**-10 of a cell to its right.
    assert cell_of_coordinate(F(-0.25), 5) == 1
    assert cell_of_coordinate(F(-0.25 + 2.0**-11), 5) == 2
    # Two cells: the middle belongs to the lower one.
    assert [cell_of_coordinate(F(x), 2) for x in (-1, 0, 0.1, 1)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        (0.3, F(0.3)),
        (1.0, 1.0),
        (-1.0, -1.0),
        (1.25, 0.75),
        (-1.25, -0.75),
        (3.0, -1.0),
        (3.5, -0.5),
        (-3.5, 0.5),
        (5.5, 0.5),
        (-7.25, 0.75),
    ],
)
def test_fold_is_a_mirror(q: float, expected: float) -> None:
    assert fold(F(q)) == expected


def test_walls_and_planes() -> None:
    assert wall_code(F(1), F(-1)) == 0
    assert wall_code(F(-1.5), F(0)) == 1
    assert wall_code(F(1.5), F(0)) == 2
    assert wall_code(F(-1.5), F(1.5)) == 9
    assert wall_code(F(1.5), F(-1.5)) == 6
    assert exit_plane(F(-1)) == Plane.Z0
    assert exit_plane(F(1)) == Plane.ZDEPTH
    assert exit_plane(np.nextafter(F(1), F(0))) == Plane.NONE
    assert nearest_plane(F(0)) == Plane.Z0
    assert nearest_plane(F(1e-6)) == Plane.ZDEPTH


# Spawning


def test_children_at_whole_multiples() -> None:
    def children(length: float, tau: float, most: int) -> int:
        return children_by_threshold(F(length), F(tau), most)

    lengths = (0.0, 0.25, 0.49, 0.5, 0.74, 0.75, 1.0)
    assert [children(length, 0.25, 9) for length in lengths] == [0, 0, 0, 1, 1, 2, 3]
    assert children(1.0, 0.25, 2) == 2
    assert children(1.0, 0.25, 0) == 0
    # In float32 twice 0.35 is 0.7, which it is not against a float64 0.35.
    assert children(0.7, 0.35, 9) == 1


def test_percentile_of_lengths() -> None:
    lengths = [F(value) for value in (0.5, 0.125, 0.25, 1.0)]
    assert percentile_of(lengths, 50) == F(0.375)
    assert percentile_of(lengths, 100 / 3 * 2) == F(0.5)
    assert percentile_of(lengths[:1], 95) == F(0.5)
    assert children_by_percentile(F(0.5), F(0.5), 3) == 0
    assert children_by_percentile(F(0.5), F(0.3), 3) == 1
    assert children_by_percentile(F(1.0), F(0.3), 3) == 3
    assert children_by_percentile(F(1.0), F(0.3), 2) == 2


def test_percentile_spawning_and_its_margin() -> None:
    rules = SpawnRules(mode="percentile", threshold=0.1, percentile=50.0, max_children=3)
    lengths = (0.2, 0.3, 0.95)
    parents = [Parent(i, F(v), False, ("flow", i)) for i, v in enumerate(lengths)]
    margin = Margin()
    assert children_of(parents, rules, margin, 0) == [0, 0, 3]
    # The middle flow is the percentile itself and its tie is no near miss; the nearest decision
    # is the third multiple of 0.3 for the longest.
    assert margin.distance == pytest.approx(0.05, abs=1e-6)
    assert (
        margin.decision
        == "step 0, flow 2: spawn, length = 0.949999988079071 against 3 * 0.30000001192092896"
    )

    lone = Margin()
    assert children_of(parents[2:], rules, lone, 0) == [0]

    # Equal lengths of different flows are a near miss, of siblings without noise not.
    near = Margin()
    twins = [Parent(i, F(0.5), False, ("flow", i)) for i in range(3)]
    assert children_of(twins, rules, near, 0) == [0, 0, 0]
    assert near.distance == 0
    same = Margin()
    siblings = [Parent(i, F(0.5), False, ("origin", 4, 1)) for i in range(3)]
    assert children_of(siblings, rules, same, 0) == [0, 0, 0]
    assert same.distance > 0.4

    # The threshold is the floor of tau.
    high = SpawnRules(mode="percentile", threshold=0.95, percentile=50.0, max_children=3)
    assert children_of(parents, high, Margin(), 0) == [0, 0, 0]


# Margin


def proposal(*r: float, energy: float = 0.0) -> Proposal:
    return Proposal(F(energy), np.array(r, F), np.zeros((1, 4), F))


def test_which_displacements_are_known() -> None:
    free = (False, False, False)
    rules = read_rules(make_config(), 0)
    d, known = displace(rules, proposal(0.6, -0.50001, 0.3), free, flow=0, t=0, key=0)
    assert d.tolist() == [0.5, -0.5, F(0.3)]
    # A clamp that rounding could still undo makes nothing known, a constant head does.
    assert known == (True, False, False)
    still = proposal(0, 0, 0)
    assert displace(rules, still, (True, False, True), 0, 0, 0)[1] == (True, False, True)
    noisy = read_rules(make_config(noise_std=0.1, noise_on_z=False), 0)
    d, known = displace(noisy, proposal(0.6, 0.6, 0.6), free, flow=0, t=0, key=0)
    assert known == (False, False, True)
    assert d[2] == 0.5
    g = normals(0, 0, 0, 0)
    assert d[:2].tolist() == pytest.approx([0.5 + 0.1 * g[0], 0.5 + 0.1 * g[1]], abs=1e-6)


def test_field_pulls_along_z() -> None:
    rules = read_rules(make_config(displacement_scale=0.5, field_strength=-1.5), 0)
    # 0.5 * 0.25 = 0.125 from the head and 0.5 * -1.5 * 0.25 = -0.1875 from the field.
    moved = displace(rules, proposal(0.25, 0.25, 0.25, energy=0.25), (True, True, True), 0, 0, 0)
    assert moved[0].tolist() == [0.125, 0.125, -0.0625]
    # Along z even a constant head carries the rounding of the energy.
    assert moved[1] == (True, True, False)
    # The clamp comes after the field, so it limits the sum.
    strong = displace(rules, proposal(0, 0, 0.5, energy=4.0), (True, True, True), 0, 0, 0)
    assert strong[0].tolist() == [0, 0, -0.5]
    assert strong[1] == (True, True, True)


def test_which_lengths_are_exact() -> None:
    known = (True, True, True)
    assert length_is_exact(np.array([0.3, 0, 0], F), known, F(0.3))
    assert length_is_exact(np.array([0.375, 0.5, 0], F), known, F(0.625))
    assert not length_is_exact(np.array([0.5, 0.5, 0], F), known, F(math.sqrt(0.5)))
    assert not length_is_exact(np.array([0.375, 0.5, 0], F), (True, True, False), F(0.625))


def test_distance_to_the_shifted_border_of_a_cell() -> None:
    # Five cells are 0.5 apart; the border of cells 1 and 2 lies 2**-12 of that beyond -0.25.
    assert distance_to_cell_border(F(-0.25), 5) == 2.0**-13
    assert distance_to_cell_border(F(-0.25 + 2.0**-13), 5) == 0
    # At the edge of space the nearest border is half a cell away.
    assert distance_to_cell_border(F(1), 5) == pytest.approx(0.25 - 2.0**-13)
    assert distance_to_cell_border(F(-1), 5) == pytest.approx(0.25 + 2.0**-13)


# Convergence


def convergence(**changes: Any) -> Convergence:
    rules = {
        "enabled": True,
        "threshold": 0.8,
        "min_steps": 1,
        "window": 2,
        "patience": 2,
        "min_improvement": 0.1,
    }
    return Convergence(ConvergenceRules(**{**rules, **changes}))


def test_rate_of_completion_meets_its_threshold() -> None:
    assert convergence().check(0, completed=4, created=5)
    assert not convergence().check(0, completed=79, created=100)
    assert not convergence(min_steps=2).check(0, completed=5, created=5)
    assert not convergence(enabled=False).check(9, completed=5, created=5)


def test_staleness() -> None:
    # Sums of two: 0, 10, 20, 21, 23; relative gains: none, none (0 before), 1, 0.05, 2/21.
    watch = convergence()
    answers = [watch.check(t, c, 1000) for t, c in enumerate((0, 0, 10, 10, 11, 12))]
    assert answers == [False] * 5 + [True]


def test_staleness_starts_after_the_first_full_window_and_resets() -> None:
    watch = convergence(window=1, patience=2)
    stale = []
    for t, completed in enumerate((10, 10, 20, 20, 22, 22, 22)):
        converged = watch.check(t, completed, 1000)
        stale.append(watch.stale)
        assert converged == (t == 6)
    # A gain of exactly a tenth, 20 to 22, is no less than the least improvement.
    assert stale == [0, 1, 0, 1, 0, 1, 2]


def test_no_completion_keeps_the_count_of_stale_checks() -> None:
    watch = convergence(window=1, patience=1)
    assert not any(watch.check(t, 0, 10) for t in range(20))
    assert watch.stale == 0


# Ring


def ring_after(kinds: list[Kind], **settings: Any) -> Ring:
    on = settings.pop("on", ("spawn", "reflect", "terminate"))
    ring = Ring(TraceRules(kinds=frozenset(on), **settings))
    for flow, kind in enumerate(kinds):
        ring.add(Event(0, kind, 0, flow, -1, 0, -1, 0.0, 0.0, 0.0, 0.0, 0.0))
    return ring


SIX = [Kind.REFLECT, Kind.TERMINATE, Kind.REFLECT, Kind.REFLECT, Kind.SPAWN, Kind.TERMINATE]


def test_ring_latest_and_earliest() -> None:
    latest = ring_after(SIX, capacity=4, keep="latest")
    assert [(r.seq, r.flow) for r in latest.records] == [(2, 2), (3, 3), (4, 4), (5, 5)]
    assert latest.dropped == {"spawn": 0, "reflect": 1, "terminate": 1}
    assert latest.recorded == {"spawn": 1, "reflect": 2, "terminate": 1}
    earliest = ring_after(SIX, capacity=4, keep="earliest")
    assert [(r.seq, r.flow) for r in earliest.records] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert earliest.dropped == {"spawn": 1, "reflect": 0, "terminate": 1}
    assert latest.total == earliest.total == {"spawn": 1, "reflect": 3, "terminate": 2}


def test_ring_kind_switched_off_and_capacity_zero() -> None:
    ring = ring_after(SIX, capacity=9, keep="latest", on=("spawn", "terminate"))
    assert [(r.seq, r.flow) for r in ring.records] == [(0, 1), (1, 4), (2, 5)]
    assert ring.total["reflect"] == 3
    assert ring.recorded["reflect"] == ring.dropped["reflect"] == 0
    off = ring_after(SIX, capacity=0, keep="latest")
    assert off.records == []
    assert off.total["reflect"] == 3
    assert set(off.recorded.values()) == set(off.dropped.values()) == {0}
