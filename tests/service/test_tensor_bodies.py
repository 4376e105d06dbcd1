"""Requests and answers as ``.safetensors``: the same as in JSON, and refused as clearly."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from energy_flow.trace.records import COLUMN_DTYPES, KINDS
from tests.service.servers import DIMENSION, ended, npy, rows

OCTETS = "application/octet-stream"
OUTPUTS = ["surface", "planes", "hits", "embedding"]
FIELDS: dict[str, Any] = {
    "seed": 5,
    "options": {"noise_std": 0.2},
    "sample_keys": [7, 1, 2**32 - 1],
    "outputs": OUTPUTS,
    "trace": {"capacity": 50, "inline": 60},
}


def text(document: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)


def body(rows_sent: NDArray[Any], **fields: Any) -> bytes:
    return save({"embeddings": rows_sent, "request": text(fields)})


def post(client: httpx.Client, content: bytes, **headers: str) -> httpx.Response:
    return client.post("/v1/simulate", content=content, headers={"content-type": OCTETS, **headers})


def simulated(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/simulate", json={"embeddings": rows().tolist(), **fields})
    told: dict[str, Any] = answer.raise_for_status().json()
    return told


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_request_is_the_same_as_in_json(client: httpx.Client, dtype: str) -> None:
    embeddings = rows().astype(np.float16).astype(dtype)
    answer = post(client, body(embeddings, **FIELDS)).raise_for_status()
    assert answer.headers["content-type"] == "application/json"
    expected = client.post("/v1/simulate", json={"embeddings": embeddings.tolist(), **FIELDS})
    for name in ("outputs", "samples", "seed", "warnings"):
        assert answer.json()[name] == expected.json()[name]


def test_only_embeddings_are_needed(client: httpx.Client) -> None:
    told = post(client, save({"embeddings": rows()})).raise_for_status().json()
    assert told["outputs"] == simulated(client)["outputs"]


def test_an_answer_has_the_arrays_as_they_are_and_the_rest_as_in_json(client: httpx.Client) -> None:
    answer = post(client, body(rows(), **FIELDS), accept=OCTETS).raise_for_status()
    assert answer.headers["content-type"] == OCTETS
    tensors = load(answer.content)
    told = json.loads(tensors.pop("answer").tobytes())
    expected = simulated(client, **FIELDS)
    assert list(told) == list(expected)
    for name in OUTPUTS:
        dtype = np.int32 if name == "hits" else np.float32
        assert tensors[name].dtype == dtype
        assert np.array_equal(tensors.pop(name), np.array(expected["outputs"][name], dtype=dtype))
    records = {name.removeprefix("trace_"): column for name, column in tensors.items()}
    assert {name: column.dtype for name, column in records.items()} == dict(COLUMN_DTYPES)
    assert len(records["seq"]) == 60
    for name, column in expected["trace"].pop("records").items():
        values = [KINDS.index(kind) for kind in column] if name == "kind" else column
        assert np.array_equal(records[name], np.array(values, dtype=COLUMN_DTYPES[name])), name
    assert (told["outputs"], told["trace"].pop("records")) == ({}, {})
    for name in ("url", "totals", "recorded", "dropped", "inline_truncated"):
        assert name in told["trace"]
    assert told["trace"]["inline_truncated"]
    assert told["samples"] == expected["samples"]
    assert told["metrics"].keys() == expected["metrics"].keys()


def test_no_records_are_no_tensors(client: httpx.Client) -> None:
    answer = post(client, body(rows(), trace={"inline": 0}, outputs=[]), accept=OCTETS)
    assert list(load(answer.raise_for_status().content)) == ["answer"]


def test_the_form_of_the_answer_is_chosen_by_accept(client: httpx.Client) -> None:
    content = save({"embeddings": rows(1)})
    for accept, chosen in (
        ("*/*", "application/json"),
        ("application/json, application/octet-stream;q=0.5", "application/json"),
        ("application/json;q=0.5, application/octet-stream", OCTETS),
    ):
        answer = post(client, content, accept=accept).raise_for_status()
        assert answer.headers["content-type"] == chosen
    before = len(client.get("/v1/runs?limit=1000").json()["items"])
    refused = post(client, content, accept="image/png")
    assert refused.status_code == 406
    assert OCTETS in refused.json()["detail"]
    # It was refused before anything was run.
    assert len(client.get("/v1/runs?limit=1000").json()["items"]) == before


def test_large_answers_are_the_same(client: httpx.Client) -> None:
    embeddings = rows(500)
    fields = {"outputs": OUTPUTS, "store": False, "trace": {"inline": 100_000}}
    tensors = load(post(client, body(embeddings, **fields), accept=OCTETS).content)
    told = client.post(
        "/v1/simulate",
        params={"outputs": ",".join(OUTPUTS), "store": "false", "trace": '{"inline": 0}'},
        content=npy(embeddings),
        headers={"content-type": "application/x-npy"},
    )
    for name in OUTPUTS:
        expected = np.array(told.json()["outputs"][name], dtype=tensors[name].dtype)
        assert np.array_equal(tensors[name], expected)
    assert len(tensors["trace_seq"]) == sum(told.json()["trace"]["recorded"].values())


def test_a_run_is_queued_once_however_often_it_is_sent(client: httpx.Client) -> None:
    headers = {"content-type": OCTETS, "idempotency-key": "as tensors"}
    first, second = (
        client.post("/v1/runs", content=body(rows(), seed=9), headers=headers) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["run_id"] == second.json()["run_id"]
    run_id = first.json()["run_id"]
    assert ended(client, run_id)["state"] == "succeeded"
    kept = client.get(f"/v1/runs/{run_id}/outputs/surface").json()["data"]
    assert kept == simulated(client, seed=9)["outputs"]["surface"]


GOOD = save({"embeddings": rows()})


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "ends within its header"),
        (b"\x80\x02rest of a pickle", 400, "pickle"),
        (GOOD[:-1], 400, "promises"),
        (GOOD + b"\0", 400, "promises"),
        (save({"embeddings": rows(), "request": text([1])}), 400, "JSON object"),
        (save({"embeddings": rows(), "request": np.frombuffer(b"{", np.uint8)}), 400, "not JSON"),
        (save({"embeddings": np.zeros((1, DIMENSION), bool)}), 400, "BOOL"),
        (save({"request": text({})}), 422, "embeddings: is required"),
        (save({"embeddings": rows(), "keys": rows()}), 422, "keys: is not known"),
        (save({"embeddings": np.zeros((1, DIMENSION), np.int32)}), 422, "float16, float32"),
        (body(rows(), sample_keys=[1, 2]), 422, "3 keys"),
        (body(rows(), embeddings=[[1.0]]), 422, "embeddings: is not known"),
        (save({"embeddings": rows()[0]}), 422, "[rows, 8]"),
        (body(np.full((1, DIMENSION), np.nan)), 422, "embeddings.0.0: must be a finite number"),
    ],
)
@pytest.mark.usefixtures("still_works")
def test_refusals(client: httpx.Client, content: bytes, status: int, said: str) -> None:
    answer = post(client, content)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text


@pytest.mark.usefixtures("still_works")
def test_all_faults_are_told_at_once(client: httpx.Client) -> None:
    content = body(rows()[:, 1:], seed=-1, options={"noise_std": -1}, colour="red")
    answer = client.post(
        "/v1/simulate?outputs=surface", content=content, headers={"content-type": OCTETS}
    )
    assert answer.status_code == 422
    places = {".".join(map(str, fault["loc"])) for fault in answer.json()["errors"]}
    assert places == {"embeddings", "seed", "options.noise_std", "colour", "outputs"}


@pytest.mark.usefixtures("still_works")
def test_a_long_header_and_much_json_are_refused_like_others(client: httpx.Client) -> None:
    many = {f"tensor {number}": np.zeros(0, np.float32) for number in range(2000)}
    answer = post(client, save({"embeddings": rows(), **many}))
    assert answer.status_code == 422
    answer = post(client, body(rows(), sample_keys=list(range(50_000))))
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["sample_keys"])
