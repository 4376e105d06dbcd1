"""Mutations of files and texts. The same generator makes the same mutations."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

MAX_MUTATIONS = 4

INTEGERS = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
"""Values at the limits of integers, of which as many bytes are written as there is room."""

NUMBERS = (
    *(b"-1", b"-0", b"0.5", b"1e5", b"1e308", b"1e999", b"-1e999", b"NaN", b"Infinity"),
    *(str(2**exponent).encode() for exponent in (20, 31, 32, 53, 62, 63, 64, 65)),
    *(b"9" * 30, b"9" * 4000, b"0x" + b"f" * 5000, b"1" + b"0" * 400, b"01", b"1_0", b"1j"),
)
"""Numbers in texts: out of range, in other notations, or none at all."""

TEXTS = (
    *(b"null", b"true", b'""', b"[]", b"{}", b"[[]]", b"[{}]", b'"\\ud800"', b'"\\u0000"'),
    *(b"\xff\xfe", b"\x00", b"\xf0\x9f\x92\xa9", b"[" * 2000, b'{"a":' * 2000, b"(" * 3000),
    *(b"[" * depth + b"]" * depth for depth in (300, 900, 1010)),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (300, 900)),
    *(b"-" * 3000, b",", b":", b"]", b"}", b'"', b"\\", b"\n", b"0," * 5000, b"," * 100),
)
"""Texts that are put in at any place."""

_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def flip_bit(random: Random, data: bytes) -> bytes:
    """Flip a bit, in half of the cases near one of the ends, where most formats have headers."""
    if not data:
        return data
    place = random.randrange(len(data))
    place = random.choice((place, place, place % 512, -1 - place % 1024)) % len(data)
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def overwrite(random: Random, data: bytes) -> bytes:
    """Write an integer at the limit of its range."""
    size = random.choice((1, 2, 4, 8))
    value = (random.choice(INTEGERS) * random.choice((1, -1))) % (1 << 8 * size)
    place = random.randrange(len(data) + 1)
    written = value.to_bytes(size, "little")
    if random.random() < 0.3:
        written = written[::-1]
    return data[:place] + written + data[place + size :]


def truncate(random: Random, data: bytes) -> bytes:
    """Cut the end off."""
    return data[: random.randrange(len(data) + 1)]


def remove(random: Random, data: bytes) -> bytes:
    """Cut a part out."""
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start + random.choice((1, 2, 8, 64, 512)) :]


def repeat(random: Random, data: bytes) -> bytes:
    """Repeat a part at another place."""
    start, place = random.randrange(len(data) + 1), random.randrange(len(data) + 1)
    part = data[start : start + random.choice((1, 4, 32, 256))] * random.choice((1, 2, 50))
    return data[:place] + part + data[place:]


def insert(random: Random, data: bytes) -> bytes:
    """Put a text in."""
    place = random.randrange(len(data) + 1)
    return data[:place] + random.choice(TEXTS) + data[place:]


def replace_number(random: Random, data: bytes) -> bytes:
    """Replace one of the first numbers of a text by an extreme one."""
    found = list(_NUMBER.finditer(data[:4096]))
    if not found:
        return insert(random, data)
    chosen = random.choice(found)
    return data[: chosen.start()] + random.choice(NUMBERS) + data[chosen.end() :]


def multiply_number(random: Random, data: bytes) -> bytes:
    """Repeat one of the first numbers of a text very often, separated by commas."""
    found = list(_NUMBER.finditer(data[:4096]))
    if not found:
        return repeat(random, data)
    chosen = random.choice(found)
    number = random.choice((chosen[0], b"9223372036854775807", b"1", b"0"))
    many = b",".join([number] * random.choice((2, 65, 1000, 50_000)))
    return data[: chosen.start()] + many + data[chosen.end() :]


Mutation = Callable[[Random, bytes], bytes]

OF_BYTES: tuple[Mutation, ...] = (
    *(flip_bit, flip_bit, flip_bit, overwrite, overwrite),
    *(truncate, remove, repeat, insert),
)
"""Mutations of binary files."""

OF_TEXT: tuple[Mutation, ...] = (
    *(flip_bit, replace_number, replace_number, multiply_number, insert),
    *(truncate, remove, repeat),
)
"""Mutations of texts, and of headers that are texts."""


def mutate(random: Random, data: bytes, mutations: Sequence[Mutation]) -> bytes:
    """Return data after one mutation or some.

    Args:
        random: decides everything.
        data: to mutate.
        mutations: from which the mutations are drawn.
    """
    # Most often one: after many, every file is refused at its first byte.
    count = min(1 + int(random.expovariate(1.2)), MAX_MUTATIONS)
    for _ in range(count):
        mutation = random.choice(mutations)
        data = mutation(random, data)
    return data


def splice(random: Random, one: bytes, other: bytes) -> bytes:
    """Return the beginning of one file and the end of another."""
    return truncate(random, one) + other[random.randrange(len(other) + 1) :]
