"""Differences between two answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.compatibility.bodies import with_named_tensors
from tests.compatibility.difference import Comparison

RECORDED = {"state": "succeeded", "counts": [1, 2], "mean": 0.5, "is_best": True, "ms": 3.25}
IGNORED = re.compile(r"ms|.*\.ms")


@pytest.mark.parametrize("is_exact", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"state": "failed"},
        {"counts": [1, 3]},
        {"counts": [1, 2, 3]},
        {"counts": [1, 2.000001]},
        {"counts": None},
        {"mean": 0.51},
        {"mean": None},
        {"is_best": 1},
    ],
)
def test_a_change_is_a_difference(change: dict[str, Any], is_exact: bool) -> None:
    comparison = Comparison(is_exact, IGNORED)
    assert len(list(comparison.differences(RECORDED, {**RECORDED, **change}))) == 1


@pytest.mark.parametrize("name", list(RECORDED))
def test_a_member_that_is_missing_is_a_difference(name: str) -> None:
    now = {other: value for other, value in RECORDED.items() if other != name}
    assert list(Comparison(False, IGNORED).differences({"items": [RECORDED]}, {"items": [now]}))


def test_what_is_new_or_ignored_is_none() -> None:
    now = {**RECORDED, "ms": 9.0, "new": {}}
    assert not list(Comparison(True, IGNORED).differences(RECORDED, now))


def test_a_new_tensor_is_none() -> None:
    """Wherever it is in the list; a tensor that is missing or another one is a difference."""
    surface, hits = ({"name": name, "shape": [2, 2]} for name in ("surface", "hits"))
    age = {"name": "age", "shape": [2]}

    def found(recorded: list[Any], now: list[Any]) -> list[str]:
        one, other = (
            with_named_tensors({"json": {"outputs": tensors}}) for tensors in (recorded, now)
        )
        return list(Comparison(True, IGNORED).differences(one, other))

    assert not found([surface, hits], [surface, age, hits])
    assert len(found([surface, hits], [surface, age])) == 1
    assert len(found([surface, hits], [surface, {**hits, "shape": [2]}])) == 1


def test_last_bits_count_where_it_is_exact() -> None:
    now = {**RECORDED, "mean": 0.5 + 1e-7}
    assert not list(Comparison(False, IGNORED).differences(RECORDED, now))
    assert list(Comparison(True, IGNORED).differences(RECORDED, now))


def test_a_model_of_a_newer_version_is_none() -> None:
    ours, packaged, other = (
        {"name": name, "trained": True} for name in ("ours", "dictionary", "other")
    )

    def found(recorded: list[Any], now: list[Any]) -> list[str]:
        return list(Comparison(True, IGNORED).differences({"items": recorded}, {"items": now}))

    assert not found([ours], [packaged, ours])
    assert found([ours], [ours, other])
    assert found([ours, packaged], [ours])
    assert found([packaged], [{**packaged, "trained": False}])
