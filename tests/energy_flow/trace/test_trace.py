"""``Trace``: its columns, order, counters, selections and data frame."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from energy_flow.trace import Trace
from energy_flow.trace.records import COLUMN_DTYPES, KINDS
from tests.support.small_model import LIVELY, embeddings, make_varied

COUNT = 3


def trace(**options: object) -> Trace:
    return make_varied().simulate(embeddings(COUNT), options={**LIVELY, **options}).trace


def test_columns_and_their_types() -> None:
    expected = {
        "seq": "int64",
        "step": "int32",
        "kind": "uint8",
        "sample": "int32",
        "flow": "int64",
        "parent": "int64",
        "code": "uint8",
        "plane": "int8",
        **dict.fromkeys(("x", "y", "z", "energy", "length"), "float32"),
    }
    columns = trace().columns
    assert {name: column.dtype.name for name, column in columns.items()} == expected
    assert list(columns) == list(expected) == list(COLUMN_DTYPES)
    assert len({len(column) for column in columns.values()}) == 1
    empty = trace(**{"trace.capacity": 0})
    assert len(empty) == 0
    assert {name: column.dtype.name for name, column in empty.columns.items()} == expected


def test_order_and_numbers() -> None:
    """By sample; in it by step; in a step reflections, terminations, births; then by flow."""
    columns = trace().columns
    place = np.array([2, 0, 1])[columns["kind"]]
    key = list(
        zip(*(columns[name] for name in ("sample", "step")), place, columns["flow"], strict=True)
    )
    assert key == sorted(key)
    for sample in range(COUNT):
        seq = columns["seq"][columns["sample"] == sample]
        assert seq.tolist() == list(range(len(seq)))


def test_values() -> None:
    whole = trace()
    columns = whole.columns
    assert (np.abs(np.stack([columns[axis] for axis in "xyz"])) <= 1).all()
    assert (columns["length"] >= 0).all()
    assert (np.abs(columns["energy"]) <= 1).all()
    assert (columns["plane"][columns["kind"] != KINDS.index("terminate")] == -1).all()
    reflect = whole.select(kind="reflect").columns
    assert ((reflect["code"] > 0) & (reflect["code"] < 16)).all()
    assert not ((reflect["code"] & 3) == 3).any(), "a flow first crosses one wall of a pair"
    assert not ((reflect["code"] & 12) == 12).any()
    spawn = whole.select(kind="spawn").columns
    assert (spawn["parent"] >= 0).all()
    assert (spawn["parent"] < spawn["flow"]).all()
    assert (spawn["code"] < 2).all()
    ends = whole.select(kind="terminate").columns
    assert (ends["parent"][ends["flow"] < 16] == -1).all()
    assert (ends["parent"][ends["flow"] >= 16] >= 0).all()
    keys = list(zip(ends["sample"].tolist(), ends["flow"].tolist(), strict=True))
    assert len(set(keys)) == len(keys), "a flow ends once"


def test_totals_are_the_metrics() -> None:
    result = make_varied().simulate(embeddings(COUNT), options=LIVELY)
    whole = result.metrics.to_dict()
    assert result.trace.totals == {
        "spawn": whole["spawned"],
        "reflect": whole["reflected"],
        "terminate": whole["created"],
    }
    assert result.trace.recorded == result.trace.totals
    assert len(result.trace) == sum(result.trace.totals.values())
    assert set(result.trace.dropped.values()) == {0}


@pytest.mark.parametrize("keep", ["latest", "earliest"])
def test_missing_records_show_in_the_sequence_numbers(keep: str) -> None:
    whole = trace()
    part = trace(**{"trace.capacity": 25, "trace.keep": keep})
    assert part.totals == whole.totals
    for sample in range(COUNT):
        total = len(whole.select(sample=sample))
        assert total > 50
        mine = part.select(sample=sample).columns
        first = total - 25 if keep == "latest" else 0
        assert mine["seq"].tolist() == list(range(first, first + 25))
        for name, column in whole.select(sample=sample).columns.items():
            assert mine[name].tobytes() == column[first : first + 25].tobytes()
        counters = part.counters
        assert counters.total[sample].sum() == total
        assert counters.recorded[sample].sum() == 25
        assert counters.dropped[sample].sum() == total - 25
        codes = np.bincount(mine["kind"], minlength=3)
        assert counters.recorded[sample].tolist() == codes.tolist()
    result = make_varied().simulate(
        embeddings(1), options={**LIVELY, "trace.capacity": 25, "trace.keep": keep}
    )
    assert result.metrics.counters.overflow == ("spawn_capacity", "trace_capacity") or (
        result.metrics.counters.overflow == ("trace_capacity",)
    )


def test_a_kind_that_is_off_takes_no_number_and_is_not_dropped() -> None:
    whole = trace()
    part = trace(**{"trace.kinds": ["terminate"]})
    assert part.totals == whole.totals
    assert part.recorded == {"spawn": 0, "reflect": 0, "terminate": whole.totals["terminate"]}
    assert set(part.dropped.values()) == {0}
    for sample in range(COUNT):
        mine = part.select(sample=sample).columns
        other = whole.select(sample=sample, kind="terminate").columns
        assert mine["seq"].tolist() == list(range(len(mine["seq"])))
        assert all((mine[name] == other[name]).all() for name in mine if name != "seq")


def test_capacity_zero_is_off() -> None:
    none = trace(**{"trace.capacity": 0})
    assert none.totals == trace().totals
    assert set(none.recorded.values()) == set(none.dropped.values()) == {0}


def test_select() -> None:
    whole = trace()
    columns = whole.columns
    cases = [
        (whole.select(), np.ones(len(whole), dtype=bool)),
        (whole.select(kind="spawn"), columns["kind"] == 0),
        (whole.select(kind=("spawn", "terminate")), columns["kind"] != 1),
        (whole.select(kind=()), np.zeros(len(whole), dtype=bool)),
        (whole.select(sample=1), columns["sample"] == 1),
        (whole.select(flow=3), columns["flow"] == 3),
        (whole.select(flow=0, sample=0), (columns["flow"] == 0) & (columns["sample"] == 0)),
        (whole.select(step_from=2, step_to=3), (columns["step"] >= 2) & (columns["step"] <= 3)),
        (whole.select(step_to=0), columns["step"] == 0),
        (whole.select(sample=99), np.zeros(len(whole), dtype=bool)),
    ]
    for selected, mask in cases:
        for name, column in selected.columns.items():
            np.testing.assert_array_equal(column, columns[name][mask])
        assert selected.totals == whole.totals
    with pytest.raises(ValueError, match="born"):
        whole.select(kind="born")


def test_data_frame() -> None:
    whole = trace()
    frame = whole.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == list(COLUMN_DTYPES)
    assert len(frame) == len(whole)
    assert frame["kind"].value_counts().to_dict() == whole.recorded
    assert list(frame["kind"].cat.categories) == list(KINDS)
    for name, column in whole.columns.items():
        if name != "kind":
            np.testing.assert_array_equal(frame[name].to_numpy(), column)
            assert frame[name].dtype == column.dtype
    empty = trace(**{"trace.capacity": 0}).to_pandas()
    assert len(empty) == 0
    assert list(empty.columns) == list(COLUMN_DTYPES)


def test_concatenation() -> None:
    parts = [trace().select(sample=sample) for sample in range(COUNT)]
    joined = Trace.concatenate(parts)
    assert joined.columns["seq"].tolist() == trace().columns["seq"].tolist()
    assert joined.counters.total.shape == (COUNT * COUNT, 3)
    nothing = Trace.concatenate([])
    assert len(nothing) == 0
    assert {name: column.dtype for name, column in nothing.columns.items()} == dict(COLUMN_DTYPES)
