"""Files with answers of an embeddings API: read in order and in any pieces, or refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load

from service.cli.execute.embeddings_file import EmbeddingsFile, RowRange
from service.cli.input.failures import CommandFailed
from tests.support.embedding_answers import answer, to_base64
from tests.support.servers import rows

ROWS = rows(6, seed=4)
EXPECTED = ROWS.astype(np.float32)


def shuffled(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "data": [document["data"][index] for index in (3, 0, 5, 1, 4, 2)]}


def without_index(document: dict[str, Any]) -> dict[str, Any]:
    entries = [{"embedding": entry["embedding"]} for entry in document["data"]]
    return {"data": entries}


def pretty(document: Any) -> bytes:
    return json.dumps(document, indent=2).encode()


def plain(*documents: Any) -> bytes:
    return b"\n".join(json.dumps(document).encode() for document in documents)


LISTS, BASE64 = answer(ROWS), answer(ROWS, as_base64=True)
MIXED = {**LISTS, "data": LISTS["data"][:3] + BASE64["data"][3:]}

SOUND = {
    "lists": plain(LISTS),
    "base64": plain(BASE64),
    "both": plain(MIXED),
    "pretty": pretty(LISTS),
    "pretty base64 with a byte order mark": b"\xef\xbb\xbf" + pretty(BASE64),
    "any order": plain(shuffled(LISTS)),
    "any order of base64": pretty(shuffled(BASE64)),
    "no index": plain(without_index(LISTS)),
    "an answer a line": plain(answer(ROWS[:2]), answer(ROWS[2:3]), answer(ROWS[3:])) + b"\r\n",
    "escapes": plain({"id": 'a"data": [{', **BASE64}).replace(b"/", b"\\/"),
}


def put(
    client: httpx.Client, name: str, body: bytes | Iterator[bytes], **query: str
) -> httpx.Response:
    return client.put(f"/v1/datasets/{name}", params={"format": "jsonl", **query}, content=body)


def stored(client: httpx.Client, name: str) -> NDArray[Any]:
    kept = client.get(f"/v1/datasets/{name}?format=safetensors").raise_for_status()
    (inputs,) = load(kept.content).values()
    return inputs


@pytest.mark.parametrize("piece", [1, 7, 100, 10**6])
@pytest.mark.parametrize("kind", SOUND)
def test_an_answer_is_read_in_any_pieces(client: httpx.Client, kind: str, piece: int) -> None:
    body = SOUND[kind]
    pieces = (body[start : start + piece] for start in range(0, len(body), piece))
    name = f"answer-{list(SOUND).index(kind)}-{piece}"
    assert put(client, name, pieces).status_code == 201
    np.testing.assert_array_equal(stored(client, name), EXPECTED, strict=True)


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_commands_read_rows_of_an_answer(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"answer{suffix}"
    path.write_bytes(SOUND[kind])
    part = EmbeddingsFile(path, "embedding").read(RowRange(1, 4))
    np.testing.assert_array_equal(part.embeddings, EXPECTED[1:4], strict=True)
    assert part.sample_keys == [1, 2, 3]


def test_a_large_answer_is_read(tmp_path: Path) -> None:
    # Longer than a line may be, and in reverse, so that rows wait for others.
    many = np.random.default_rng(1).normal(size=(600, 1024)).astype(np.float32)
    document = answer(many)
    document["data"].reverse()
    path = tmp_path / "answer.jsonl"
    path.write_bytes(plain(document, answer(many[:2], as_base64=True)))
    assert path.stat().st_size > 8 * 2**20
    read = EmbeddingsFile(path).read(RowRange())
    np.testing.assert_array_equal(read.embeddings, np.concatenate([many, many[:2]]), strict=True)


def change(change_entries: Callable[[list[Any]], object]) -> bytes:
    document = json.loads(json.dumps(LISTS))
    change_entries(document["data"])
    return plain(document)


WRONG = {
    "an index twice": (change(lambda data: data[1].update(index=0)), "data.1.index: must be"),
    "a gap": (change(lambda data: data[5].update(index=7)), "no entry with the index 5"),
    "an index as a text": (change(lambda data: data[2].update(index="2")), "data.2.index"),
    "an index of one": (change(lambda data: data[0].pop("index")), "data.1.index"),
    "other text": (change(lambda data: data[1].update(embedding="no base64!")), "data.1.embedding"),
    "half a number": (
        change(lambda data: data[1].update(embedding=to_base64(ROWS[1])[:8])),
        "it has 6 bytes",
    ),
    "another length": (
        change(lambda data: data[4]["embedding"].pop()),
        "embedding.4: has length 7",
    ),
    "no number": (
        change(lambda data: data[4]["embedding"].insert(0, None)),
        "embedding.4.0: must be a number",
    ),
    "not finite": (
        change(lambda data: data[3].update(embedding=to_base64(ROWS[3] * np.inf))),
        "embedding.3.0: must be a finite number",
    ),
    "no embedding": (change(lambda data: data[3].pop("embedding")), "embedding.3: must be a list"),
    "an entry that is a list": (change(lambda data: data.append([1.0])), "must be an object"),
    "cut short": (SOUND["lists"][:-10], "ends within an answer"),
    "data twice": (SOUND["lists"][:-1] + b', "data": [1]}', "data twice"),
    "no comma": (SOUND["lists"].replace(b"}, {", b"} {", 1), "a comma between"),
    "another document": (SOUND["lists"] + b"\n[1]", "an answer must be an object"),
    "the second answer": (
        SOUND["lists"] + SOUND["lists"].replace(b'"index": 1', b'"index": 9'),
        "answer 2.data: has no entry",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_answer_is_refused_in_words(
    client: httpx.Client, tmp_path: Path, kind: str
) -> None:
    body, words = WRONG[kind]
    refused = put(client, "wrong", body)
    assert refused.status_code in (400, 422)
    assert words in refused.json()["detail"]
    path = tmp_path / "answer.json"
    path.write_bytes(body)
    with pytest.raises(CommandFailed) as failed:
        EmbeddingsFile(path).read(RowRange())
    assert words in str(failed.value)
    assert str(path) in str(failed.value)


def test_another_column_of_an_answer_is_refused(client: httpx.Client) -> None:
    refused = put(client, "wrong", SOUND["lists"], column="inputs")
    assert refused.status_code == 422
    assert "data.0.inputs" in refused.json()["detail"]


def test_lines_with_a_member_data_are_no_answers(client: httpx.Client) -> None:
    lines = [{"data": [{"text": "one"}], "embedding": row.tolist()} for row in ROWS]
    assert put(client, "lines", plain(*lines)).status_code == 201
    np.testing.assert_array_equal(stored(client, "lines"), EXPECTED, strict=True)
