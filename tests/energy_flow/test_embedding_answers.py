"""Answers of an embeddings API in the place of embeddings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from energy_flow.array_likes import as_matrix
from energy_flow.client import EmbeddingError
from energy_flow.testing import FakeFlowServer
from tests.support.embedding_answers import answer, to_base64
from tests.support.small_model import embeddings, make_untrained

ROWS = embeddings(4)


@dataclass
class Embedding:
    """An entry as the library openai has it."""

    embedding: Any
    index: int
    object: str = "embedding"


@dataclass
class Response:
    """An answer as the library openai has it."""

    data: list[Embedding]
    model: str = "small"


def entries(*, as_base64: bool = False) -> list[Embedding]:
    return [
        Embedding(to_base64(row) if as_base64 else row.tolist(), index)
        for index, row in enumerate(ROWS)
    ]


ANSWERS: dict[str, Any] = {
    "lists": answer(ROWS),
    "base64": answer(ROWS, as_base64=True),
    "parsed JSON": json.loads(json.dumps(answer(ROWS))),
    "an object": Response(entries()),
    "an object with base64": Response(entries(as_base64=True)),
    "any order": Response([entries()[index] for index in (2, 0, 3, 1)]),
    "no index": {"data": [{"embedding": row} for row in ROWS]},
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_is_its_rows(kind: str) -> None:
    np.testing.assert_array_equal(as_matrix(ANSWERS[kind]).astype(np.float32), ROWS, strict=True)


def test_an_answer_is_simulated_here_and_on_a_server() -> None:
    processor = make_untrained()
    expected = processor.simulate(ROWS).outputs["surface"]
    surface = processor.simulate(ANSWERS["an object with base64"]).outputs["surface"]
    np.testing.assert_array_equal(surface, expected, strict=True)
    with FakeFlowServer(embedding_dim=8).client() as client:
        assert len(client.simulate(ANSWERS["base64"]).surface) == 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"index": 0}, r"data.1.index: must be the number of the input"),
        ({"index": 4}, "data: has no entry with the index 1"),
        ({"index": "1"}, r"data.1.index"),
        ({"embedding": "no base64!"}, r"data.1.embedding: must be a list of numbers"),
        ({"embedding": "AAAA"}, r"data.1.embedding: .* it has 3 bytes"),
        ({"embedding": ""}, r"it has 0 bytes"),
        ({"embedding": [1.0]}, "embeddings.1: must hold 8 numbers"),
        ({"embedding": ["x"] * 8}, "embeddings.1.0: must be a number"),
    ],
)
def test_a_wrong_answer_is_refused(changed: dict[str, Any], message: str) -> None:
    document = answer(ROWS)
    document["data"][1].update(changed)
    with pytest.raises(EmbeddingError, match=message):
        as_matrix(document)
