"""The memory that is held for a body covers what its parsing takes."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from service.media_types import JSON, NPY, OCTET_STREAM
from service.open_inference.inference_request import parse_inference
from service.problems import Problem
from service.requests.decode import parse_request
from service.requests.embeddings import check_numbers
from service.requests.parsing_memory import BFLOAT16_FACTOR, predict_check, predict_json
from tests.support.bodies import npy

WIDTH = 512
ROWS = 1000
SLACK = 2**20
"""Bytes of what does not grow with a body."""

NUMBERS = np.random.default_rng(0).uniform(-1, 1, (ROWS, WIDTH))
DIGITS = np.arange(16 * ROWS * WIDTH).reshape(-1, WIDTH) % 10


def text(rows: Any, name: str = "embeddings") -> bytes:
    return f'"{name}":{json.dumps(rows.tolist(), separators=(",", ":"))}'.encode()


def inference(datatype: str, data: bytes, rows: int, width: int = WIDTH) -> bytes:
    head = f'"name":"embeddings","datatype":"{datatype}","shape":[{rows},{width}],'.encode()
    return b'{"inputs":[{' + head + data + b"}]}"


def binary(datatype: str, array: Any) -> tuple[bytes, int]:
    size = b'"parameters":{"binary_data_size":%d}' % array.nbytes
    head = inference(datatype, size, len(array))
    return head + array.tobytes(), len(head)


async def _check(media_type: str, body: bytes, width: int) -> int:
    """Parse and check a body as a route does, and return the bytes that it holds for it."""
    needed = await predict_json(body) if media_type == JSON else 2 * len(body)
    parsed = await parse_request(body, media_type, {})
    assert parsed.numbers is not None
    needed = max(needed, predict_check(body, parsed.numbers))
    checked, faults = check_numbers(parsed.numbers, width, "default", lambda _: [])
    assert checked is not None, faults
    return needed


async def _check_inference(body: bytes, head: int | None) -> int:
    needed = await predict_json(body, head)
    needed += 0 if head is None else BFLOAT16_FACTOR * (len(body) - head)
    parsed = parse_inference(body, None if head is None else str(head), WIDTH)
    assert parsed.numbers is not None
    needed = max(needed, predict_check(body, parsed.numbers))
    checked, faults = check_numbers(parsed.numbers, WIDTH, "default", lambda _: [])
    assert checked is not None, faults
    return needed


def taken(body: bytes, check: Callable[[], Awaitable[int]]) -> tuple[int, int]:
    """Return the largest memory while a body is checked, with the body, and what is held."""

    async def measure() -> tuple[int, int]:
        # What is imported and kept at the first time belongs to no body.
        await check()
        tracemalloc.start()
        try:
            held = await check()
            return tracemalloc.get_traced_memory()[1] + len(body), held
        finally:
            tracemalloc.stop()

    return asyncio.run(measure())


@pytest.mark.parametrize(
    ("media_type", "make", "width"),
    [
        (JSON, lambda: b"{" + text(NUMBERS) + b"}", WIDTH),
        (JSON, lambda: b"{" + text(DIGITS) + b"}", WIDTH),
        (JSON, lambda: b"{" + text(NUMBERS.reshape(1, -1)) + b"}", ROWS * WIDTH),
        (NPY, lambda: npy(DIGITS.astype(np.float16)), WIDTH),
        (NPY, lambda: npy(DIGITS.astype(np.float32)), WIDTH),
        (NPY, lambda: npy(np.asfortranarray(DIGITS.astype(np.float64))), WIDTH),
        (OCTET_STREAM, lambda: save({"embeddings": DIGITS.astype(np.float32)}), WIDTH),
    ],
    ids=["rows", "digits", "one row", "float16", "float32", "columns", "tensors"],
)
def test_a_request(media_type: str, make: Callable[[], bytes], width: int) -> None:
    body = make()
    most, held = taken(body, lambda: _check(media_type, body, width))
    assert len(body) > 4 * SLACK
    assert most <= held + SLACK


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [("FP32", None), ("FP16", "<f2"), ("FP32", "<f4"), ("FP64", "<f8"), ("BF16", "<u2")],
    ids=["JSON", "FP16", "FP32", "FP64", "BF16"],
)
def test_an_inference(datatype: str, dtype: str | None) -> None:
    head = None
    if dtype is None:
        body = inference(datatype, text(NUMBERS, "data"), ROWS)
    else:
        body, head = binary(datatype, DIGITS.astype(dtype))
    most, held = taken(body, lambda: _check_inference(body, head))
    assert most <= held + SLACK


def test_a_large_text_beside_the_numbers_is_refused_without_copies() -> None:
    body = b'{"embeddings":[[' + b"0.5," * 9_000 + b'1]],"id":"' + b"x" * 16 * SLACK + b'"}'

    async def check() -> int:
        with pytest.raises(Problem, match="beside its embeddings"):
            await parse_request(body, JSON, {})
        return await predict_json(body)

    most, held = taken(body, check)
    assert most <= held + SLACK
