"""How much memory the parsing of a body takes, from its bytes and the numbers in it.

The factors follow from what the parsers allocate. A test compares them with the memory that is
allocated while bodies of every form are parsed and checked.
"""

from __future__ import annotations

from typing import Any, Final

from numpy.typing import NDArray

from service.requests.json_body import MAX_WHOLE_BYTES
from service.requests.large_arrays import count_up_to
from service.threads import Threads, in_thread

FLOAT64_BYTES: Final = 8
FLOAT32_BYTES: Final = 4

BFLOAT16_FACTOR: Final = 2
"""Bytes of BF16 numbers as float32, by their bytes in the body. Others are not copied."""


async def predict_json(body: bytes, json_bytes: int | None = None) -> int:
    """Return the most bytes in memory until a JSON body is parsed and its rows are float32.

    These are the body, its numbers as float64, and a copy of them as float32. Two numbers have a
    comma between them, so there are no more numbers than commas, and one.

    Args:
        body: The body.
        json_bytes: Bytes of JSON at its beginning, which are parsed as a copy; all if none.
    """
    text = body if json_bytes is None else memoryview(body)[:json_bytes].tobytes()
    if len(text) <= MAX_WHOLE_BYTES:
        commas = len(text) // 2
    else:
        commas = await in_thread(Threads.BODIES, count_up_to, text, b",", len(text))
    numbers = (FLOAT64_BYTES + FLOAT32_BYTES) * (commas + 1)
    return len(body) + (0 if json_bytes is None else len(text)) + numbers


def predict_check(body: bytes, numbers: NDArray[Any] | None) -> int:
    """Return the most bytes in memory until the rows of a parsed body are float32.

    Args:
        body: The body.
        numbers: Its rows, of any float dtype; ``None`` if they have faults or are not in it.
    """
    if numbers is None:
        return len(body)
    owner = numbers
    while isinstance(owner.base, type(numbers)):
        owner = owner.base
    # A view of the body has its memory.
    own = numbers.nbytes if owner.base is None else 0
    return len(body) + own + FLOAT32_BYTES * numbers.size
