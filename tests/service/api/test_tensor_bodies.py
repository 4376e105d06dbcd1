"""Requests and answers as ``.safetensors``: equivalent to JSON, with the same refusals."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from energy_flow.choices import Output, names_of
from energy_flow.trace.records import COLUMN_DTYPES, KINDS
from tests.support.bodies import NPY, npy
from tests.support.servers import DIMENSION, rows, wait_until_ended

OCTETS = "application/octet-stream"
OUTPUTS = list(names_of(Output))
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
    document: dict[str, Any] = answer.raise_for_status().json()
    return document


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_request_is_equivalent_to_json(client: httpx.Client, dtype: str) -> None:
    embeddings = rows().astype(np.float16).astype(dtype)
    answer = post(client, body(embeddings, **FIELDS)).raise_for_status()
    assert answer.headers["content-type"] == "application/json"
    expected = client.post("/v1/simulate", json={"embeddings": embeddings.tolist(), **FIELDS})
    for name in ("outputs", "samples", "seed", "warnings"):
        assert answer.json()[name] == expected.json()[name]


def test_only_embeddings_are_needed(client: httpx.Client) -> None:
    document = post(client, save({"embeddings": rows()})).raise_for_status().json()
    assert document["outputs"] == simulated(client)["outputs"]


def test_an_answer_has_the_arrays_as_they_are_and_the_rest_as_in_json(client: httpx.Client) -> None:
    answer = post(client, body(rows(), **FIELDS), accept=OCTETS).raise_for_status()
    assert answer.headers["content-type"] == OCTETS
    tensors = load(answer.content)
    document = json.loads(tensors.pop("answer").tobytes())
    expected = simulated(client, **FIELDS)
    assert list(document) == list(expected)
    for name in OUTPUTS:
        dtype = np.dtype(Output(name).dtype)
        assert tensors[name].dtype == dtype
        assert np.array_equal(tensors.pop(name), np.array(expected["outputs"][name], dtype=dtype))
    records = {name.removeprefix("trace_"): column for name, column in tensors.items()}
    assert {name: column.dtype for name, column in records.items()} == dict(COLUMN_DTYPES)
    assert len(records["seq"]) == 60
    for name, column in expected["trace"].pop("records").items():
        values = [KINDS.index(kind) for kind in column] if name == "kind" else column
        assert np.array_equal(records[name], np.array(values, dtype=COLUMN_DTYPES[name])), name
    assert (document["outputs"], document["trace"].pop("records")) == ({}, {})
    for name in ("url", "totals", "recorded", "dropped", "inline_truncated"):
        assert name in document["trace"]
    assert document["trace"]["inline_truncated"]
    assert document["samples"] == expected["samples"]
    assert document["metrics"].keys() == expected["metrics"].keys()


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
    document = client.post(
        "/v1/simulate",
        params={"outputs": ",".join(OUTPUTS), "store": "false", "trace": '{"inline": 0}'},
        content=npy(embeddings),
        headers=NPY,
    )
    for name in OUTPUTS:
        expected = np.array(document.json()["outputs"][name], dtype=tensors[name].dtype)
        assert np.array_equal(tensors[name], expected)
    assert len(tensors["trace_seq"]) == sum(document.json()["trace"]["recorded"].values())


def test_a_repeated_request_queues_one_run(client: httpx.Client) -> None:
    headers = {"content-type": OCTETS, "idempotency-key": "as tensors"}
    first, second = (
        client.post("/v1/runs", content=body(rows(), seed=9), headers=headers) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["run_id"] == second.json()["run_id"]
    run_id = first.json()["run_id"]
    assert wait_until_ended(client, run_id)["state"] == "succeeded"
    kept = client.get(f"/v1/runs/{run_id}/outputs/surface").json()["data"]
    assert kept == simulated(client, seed=9)["outputs"]["surface"]


GOOD = save({"embeddings": rows()})


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 400, "ends within its header"),
        (b"\x80\x02rest of a pickle", 400, "pickle"),
        (GOOD[:-1], 400, "the header states"),
        (GOOD + b"\0", 400, "the header states"),
        (save({"embeddings": rows(), "request": text([1])}), 400, "JSON object"),
        (save({"embeddings": rows(), "request": np.frombuffer(b"{", np.uint8)}), 400, "not JSON"),
        (save({"embeddings": np.zeros((1, DIMENSION), bool)}), 400, "BOOL"),
        (save({"request": text({})}), 422, "embeddings: is required"),
        (save({"embeddings": rows(), "keys": rows()}), 422, "keys: is not known"),
        (save({"embeddings": rows(), "inputs": rows()}), 422, "several times"),
        (save({"embeddings": rows()[0], "targets": rows()}), 422, "not float32 [8]"),
        (body(rows(), sample_keys=[1, 2]), 422, "3 keys"),
        (body(rows(), embeddings=[[1.0]]), 422, "embeddings: unknown field"),
        (save({"embeddings": rows()[0]}), 422, "[rows, numbers]"),
        (body(np.full((1, DIMENSION), np.nan)), 422, "embeddings.0.0: must be a finite number"),
    ],
)
@pytest.mark.usefixtures("still_works")
def test_refusals(client: httpx.Client, content: bytes, status: int, reason: str) -> None:
    answer = post(client, content)
    assert (answer.status_code, reason in answer.json()["detail"]) == (status, True), answer.text


@pytest.mark.usefixtures("still_works")
def test_all_faults_are_reported_together(client: httpx.Client) -> None:
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


@pytest.mark.parametrize("shape", [(2**53, 0), (2**40, 0), (1, 0), (0, 2**53)])
def test_rows_without_numbers_are_refused_however_many(
    client: httpx.Client, shape: tuple[int, int]
) -> None:
    # A file of 128 bytes, which once occupied a thread for hours.
    empty = np.empty(shape, dtype=np.float32)
    for path in ("/v1/simulate", "/v1/runs", "/v1/simulate?dry_run=true"):
        answers = [
            client.post(path, content=npy(empty), headers=NPY),
            client.post(
                path, content=save({"embeddings": empty}), headers={"content-type": OCTETS}
            ),
        ]
        for answer in answers:
            assert answer.status_code == 422
            assert answer.json()["detail"].startswith("embeddings: ")
    keys: dict[str, NDArray[Any]] = {
        "embeddings": rows(),
        "sample_keys": np.empty(shape, dtype=np.int64),
    }
    assert post(client, save(keys)).status_code == 422
    assert client.put("/v1/datasets/none", content=npy(empty), headers=NPY).status_code == 422
