"""Parsing the numbers of an input in pieces gives the same result as parsing the whole body."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.open_inference.inference_request import DATA
from service.problems import Problem
from service.requests.json_body import parse_object_with_arrays

PIECE_BYTES = 40
"""Small enough that short documents have several pieces."""
WHOLE = 10**9

FLAT = ",".join(str(number) for number in range(40))
ROWS = ",".join(["[1.5,-2e-3,3,4,5,6]"] * 6)


def parse(body: bytes, piece_bytes: int) -> Any:
    """Return the document with lists of numbers, or the status of the refusal.

    An array holds 64-bit floats, so integers above 2^53 are compared as such.
    """
    try:
        document = parse_object_with_arrays(body, (DATA,), piece_bytes)
    except Problem as problem:
        return problem.status
    text = json.dumps(document, default=lambda array: array.tolist())
    return json.loads(text, parse_int=float)


def is_read_in_pieces(body: bytes) -> bool:
    """Return whether an input has an array, not lists."""
    try:
        inputs = parse_object_with_arrays(body, (DATA,), PIECE_BYTES).get("inputs")
    except Problem:
        return False
    entries = inputs if isinstance(inputs, list) else []
    return any(isinstance(one, dict) and isinstance(one.get("data"), np.ndarray) for one in entries)


@pytest.mark.parametrize(
    ("document", "quick"),
    [
        (f'{{"inputs":[{{"data":[{FLAT}]}}]}}', True),
        (f'{{"inputs":[{{"data":[{ROWS}]}}]}}', True),
        (f'{{ "inputs" : [ {{ "data" : [ {FLAT} ] , "name": "a" }} ], "id": "b" }}', True),
        (f'{{"inputs":[{{"data":[{ROWS}]}},{{"data":[{FLAT}]}}]}}', True),
        (f'{{"data":[{FLAT}],"inputs":[]}}', False),
        (f'{{"inputs":{{"data":[{FLAT}]}}}}', False),
        (f'{{"inputs":[{{"parameters":{{"data":[{FLAT}]}}}}]}}', False),
        (f'{{"inputs":[{{"data":[{FLAT}],"data":[1]}}]}}', False),
        (f'{{"inputs":[{{"data":[{FLAT},]}}]}}', False),
        (f'{{"inputs":[{{"data":[{FLAT},,1]}}]}}', False),
        (f'{{"inputs":[{{"data":[{FLAT},[1]]}}]}}', False),
        (f'{{"inputs":[{{"data":[{ROWS},1]}}]}}', False),
        (f'{{"inputs":[{{"data":[{ROWS},[1]]}}]}}', False),
        (f'{{"inputs":[{{"data":[[{ROWS}]]}}]}}', False),
        (f'{{"inputs":[{{"data":[{FLAT},null]}}]}}', False),
        (f'{{"inputs":[{{"data":[{FLAT},1e999]}}]}}', False),
        (f'{{"inputs":[{{"data":[{FLAT}', False),
        (f'{{"inputs":[{{"data":[{FLAT}]', False),
        (f'[{{"inputs":[{{"data":[{FLAT}]}}]}}]', False),
        ('{"inputs":[{"data":[]}]}' + " " * 50, False),
    ],
)
def test_odd_documents(document: str, quick: bool) -> None:
    body = document.encode()
    assert parse(body, PIECE_BYTES) == parse(body, WHOLE)
    assert is_read_in_pieces(body) is quick


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-9, 9)
matrices = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=1)
)


@given(st.lists(numbers) | matrices, st.sampled_from([None, 1, 3]))
@settings(max_examples=200)
def test_any_data(data: list[Any], indent: int | None) -> None:
    document = {"inputs": [{"name": "embeddings", "data": data}], "id": "one"}
    body = json.dumps(document, indent=indent).encode()
    assert parse(body, PIECE_BYTES) == parse(body, WHOLE) == document


@given(st.binary(max_size=60), st.integers(0, 150))
@settings(max_examples=300)
def test_any_damage(noise: bytes, position: int) -> None:
    body = f'{{"inputs":[{{"name":"a","data":[{FLAT}]}}],"id":"b"}}'.encode()
    damaged = body[:position] + noise + body[position:]
    assert parse(damaged, PIECE_BYTES) == parse(damaged, WHOLE)
