"""A sample simulated again: its paths fit together and agree with the trace."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from energy_flow import SimulationResult
from energy_flow.errors import EmbeddingError
from energy_flow.simulation.replay import Replay, replay
from energy_flow.trace.difference import first_difference
from energy_flow.trace.records import COLUMN_DTYPES
from tests.support.small_model import CELLS, LIVELY, embeddings, make_varied

KEYS = [8, 3, 2**31]
SEED = 17
ROW = 1
ROUNDING = 1e-6


@cache
def original() -> SimulationResult:
    return make_varied().simulate(embeddings(3), options=LIVELY, seed=SEED, sample_keys=KEYS)


@cache
def again() -> Replay:
    config = make_varied().config.with_options(LIVELY)
    return replay(make_varied(), embeddings(3)[ROW], config, SEED, KEYS[ROW], ROW)


def test_the_trace_is_that_of_the_run_bit_for_bit() -> None:
    mine, theirs = again().trace.columns, original().trace.select(sample=ROW).columns
    for name in COLUMN_DTYPES:
        assert mine[name].tobytes() == theirs[name].tobytes(), name
    assert first_difference(again().trace, original().trace.select(sample=ROW)) is None


def test_slices_agree_with_the_counters() -> None:
    lives, counters = again().lives, original().samples[ROW].counters
    assert lives["flow"].tolist() == list(range(counters.created))
    assert (lives["parent"][:CELLS] == -1).all()
    assert (lives["born_step"][:CELLS] == -1).all()
    assert (lives["generation"][:CELLS] == 0).all()
    children = np.arange(CELLS, counters.created)
    parents = lives["parent"][children]
    assert (lives["generation"][children] == lives["generation"][parents] + 1).all()
    assert (lives["born_step"][children] <= lives["end_step"][parents]).all()
    assert (lives["end_step"] > lives["born_step"]).all()
    reasons = dict(zip(*np.unique(lives["reason"], return_counts=True), strict=True))
    ended = [n for n in counters.terminated.values() if n]
    assert [reasons[code] for code in sorted(reasons)] == ended
    for plane, count in enumerate(counters.planes.values()):
        assert (lives["plane"] == plane).sum() == count


def test_a_flow_has_a_row_for_its_start_and_each_step() -> None:
    path, lives = again().path, again().lives
    rows = np.bincount(path["flow"], minlength=len(lives["flow"]))
    assert rows.tolist() == (1 + lives["end_step"] - lives["born_step"]).tolist()
    order = list(zip(path["step"].tolist(), path["flow"].tolist(), strict=True))
    assert order == sorted(order)
    starts = path["age"] == 0
    assert starts.sum() == len(lives["flow"])
    assert not path["length"][starts].any()
    assert not path["z"][path["step"] == -1].any()
    age = path["step"] - lives["born_step"][path["flow"]]
    assert path["age"].tolist() == age.tolist()


def test_steps_have_their_lengths() -> None:
    """Between two places inside the walls lies the step's length, unless a wall folded it."""
    path = again().path
    folded = {
        (step, flow)
        for step, flow in zip(
            *(
                again().trace.select(kind="reflect").columns[name].tolist()
                for name in ("step", "flow")
            ),
            strict=True,
        )
    }
    compared = 0
    for flow in range(CELLS):
        rows = np.flatnonzero(path["flow"] == flow)
        place = np.stack([path[axis][rows] for axis in "xyz"], axis=1)
        moved = np.linalg.norm(np.diff(place, axis=0), axis=1)
        # The last row lies on a plane, where the flow was moved or stopped.
        for row, length in zip(rows[1:-1], moved[:-1], strict=True):
            if (int(path["step"][row]), flow) not in folded:
                assert length == pytest.approx(float(path["length"][row]), abs=ROUNDING)
                compared += 1
    assert compared > 5


def test_lineage() -> None:
    lives = again().lives
    youngest = int(np.argmax(lives["generation"]))
    assert lives["generation"][youngest] >= 2
    related = again().lineage(youngest)
    ancestors = {youngest}
    while (parent := int(lives["parent"][min(ancestors)])) >= 0:
        ancestors.add(parent)
    flows = set(related.lives["flow"].tolist())
    assert ancestors <= flows
    assert set(related.path["flow"].tolist()) == flows
    root = min(ancestors)
    family = set(again().lineage(root).lives["flow"].tolist())
    assert flows <= family
    expected = {root}
    for flow, parent in zip(lives["flow"].tolist(), lives["parent"].tolist(), strict=True):
        if parent in expected:
            expected.add(flow)
    assert family == expected
    for flow in (-1, len(lives["flow"])):
        with pytest.raises(EmbeddingError, match="flow"):
            again().lineage(flow)


def test_the_first_difference() -> None:
    config = make_varied().config.with_options(LIVELY)
    other = replay(make_varied(), embeddings(3)[ROW], config, SEED + 1, KEYS[ROW], ROW).trace
    difference = first_difference(again().trace, other)
    assert difference is not None
    assert difference.first is not None
    assert difference.second is not None
    assert difference.first["seq"] == difference.second["seq"] == difference.seq
    assert difference.first != difference.second
    before = difference.seq
    for name in COLUMN_DTYPES:
        if name != "sample":
            mine, theirs = again().trace.columns[name], other.columns[name]
            assert (mine[:before] == theirs[:before]).all()


def test_rings_that_hold_different_stretches_are_compared_where_they_meet() -> None:
    config = make_varied().config.with_options({**LIVELY, "trace.capacity": 20})
    short = replay(make_varied(), embeddings(3)[ROW], config, SEED, KEYS[ROW], ROW).trace
    assert len(short) == 20
    assert first_difference(short, again().trace) is None
    assert first_difference(again().trace, short) is None
