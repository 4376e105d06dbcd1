"""Reading embeddings in pieces gives the same result as reading them whole."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.problems import Problem
from service.requests.embeddings import EMBEDDINGS, check_numbers, make_array
from service.requests.json_body import parse_object_with_arrays
from service.requests.npy_body import read_npy

PIECE_BYTES = 40
"""Small enough that short documents have several pieces."""
WHOLE = 10**9


def read(body: bytes, piece_bytes: int) -> Any:
    """Return the document without its embeddings, those as lists, and their faults."""
    try:
        document = parse_object_with_arrays(body, (EMBEDDINGS,), piece_bytes)
    except Problem as problem:
        return problem.status
    rows = document.pop("embeddings", None)
    if rows is None:
        return document, None, []
    numbers, faults = make_array(rows)
    return document, None if numbers is None else numbers.tolist(), faults


def is_read_in_pieces(body: bytes) -> bool:
    """Return whether the embeddings are parsed as an array, not as lists."""
    try:
        document = parse_object_with_arrays(body, (EMBEDDINGS,), PIECE_BYTES)
    except Problem:
        return False
    return isinstance(document.get("embeddings"), np.ndarray)


ROW = "[1.5,-2e-3,3,4,5,6,7,8,9,10,11,12,13,14,15]"
ROWS = ",".join([ROW] * 4)
SPACED = " ,\n".join([ROW] * 4)


@pytest.mark.parametrize(
    ("document", "quick"),
    [
        (f'{{"embeddings":[{ROWS}]}}', True),
        (f'{{ "seed" : 1 , "embeddings" : [ {SPACED} ] , "a": null }}', True),
        (f'{{"x":"\\"embeddings\\":[[1]]","embeddings":[{ROWS}]}}', True),
        (f'{{"options":{{"embeddings":[{ROWS}]}}}}', False),
        (f'{{"options":{{"embeddings":[{ROWS}]}},"embeddings":[[1]]}}', False),
        (f'{{"embeddings":[{ROWS}],"embeddings":[[1]]}}', False),
        (f'{{"embeddings":[[1]],"embeddings":[{ROWS}]}}', False),
        (f'{{"embeddings":[{ROWS},]}}', False),
        (f'{{"embeddings":[{ROWS},,{ROW}]}}', False),
        (f'{{"embeddings":[{ROWS} {ROW}]}}', False),
        (f'{{"embeddings":[{ROWS}', False),
        (f'{{"embeddings":[{ROWS}]', False),
        (f'{{"embeddings":[{ROWS}]}}]', False),
        (f'{{"embeddings":[{ROWS},[1]]}}', False),
        (f'{{"embeddings":[{ROWS},[]]}}', False),
        (f'{{"embeddings":[{ROWS},[NaN]]}}', False),
        (f'{{"embeddings":[{ROWS},[1e999]]}}', False),
        (f'{{"embeddings":[{ROWS},{ROW[:-1]},01]]}}', False),
        (f'{{"embeddings":[{ROWS},[true]]}}', False),
        (f'{{"embeddings":[{ROWS},"]"]}}', False),
        (f'{{"embeddings":[[{ROWS}]]}}', False),
        (f'[{{"embeddings":[{ROWS}]}}]', False),
        ('{"embeddings":[]' + " " * 50 + "}", False),
    ],
)
def test_odd_documents(document: str, quick: bool) -> None:
    body = document.encode()
    assert read(body, PIECE_BYTES) == read(body, WHOLE)
    assert is_read_in_pieces(body) is quick


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-9, 9)
matrices = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1)
)
members = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "embeddings"),
    st.recursive(st.none() | st.text() | numbers, lambda inner: st.lists(inner, max_size=3)),
    max_size=3,
)


@given(matrices, members, members, st.sampled_from([None, 1, 3]))
@settings(max_examples=200)
def test_any_matrix(
    matrix: list[list[float]], before: dict[str, Any], after: dict[str, Any], indent: int | None
) -> None:
    document = {**before, "embeddings": matrix, **after}
    body = json.dumps(document, indent=indent).encode()
    found = read(body, PIECE_BYTES)
    assert found == read(body, WHOLE)
    assert np.array_equal(np.array(found[1]), np.array(matrix, dtype=np.float64))


@given(st.binary(max_size=60), st.integers(0, 200))
@settings(max_examples=300)
def test_any_damage(noise: bytes, position: int) -> None:
    body = f'{{"seed":1,"embeddings":[{ROWS}],"b":2}}'.encode()
    damaged = body[:position] + noise + body[position:]
    assert read(damaged, PIECE_BYTES) == read(damaged, WHOLE)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_npy_body(noise: bytes) -> None:
    for body in (noise, b"\x93NUMPY\x01\x00" + noise, b"\x93NUMPY\x02\x00" + noise):
        with pytest.raises(Problem) as refused:
            read_npy(body)
        assert refused.value.status in (400, 422)


def test_float32_is_preserved_through_json() -> None:
    values = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    body = orjson.dumps({"embeddings": values}, option=orjson.OPT_SERIALIZE_NUMPY)
    numbers, _ = make_array(parse_object_with_arrays(body, (EMBEDDINGS,))["embeddings"])
    assert numbers is not None
    checked, faults = check_numbers(numbers, 7, "default", lambda _: ())
    assert not faults
    assert checked is not None
    assert np.array_equal(checked, values)


def test_another_dimension_is_refused_with_what_to_do() -> None:
    numbers = np.zeros((2, 5), np.float32)
    for fitting, advice in (
        ((), "no model takes 5: create one by POST /v1/models"),
        (("a", "b"), "models that take 5: a, b"),
    ):
        found = {5: fitting}
        checked, [fault] = check_numbers(numbers, 7, "mine", found.__getitem__)
        assert checked is None
        assert fault.loc == ("embeddings",)
        start = "embeddings have 5 numbers, the model 'mine' takes 7; "
        assert fault.msg.startswith(start + advice)
        assert fault.got == 5
