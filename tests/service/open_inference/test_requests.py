"""Requests in every encoding: accepted bodies, refused bodies and their messages."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import numpy as np
import pytest

from tests.support.inference_requests import (
    HEADER,
    INFER,
    make_binary_request,
    make_request,
    read_refusal,
)
from tests.support.servers import RunningServer, find_leftovers, rows, serving


@pytest.fixture
def http(server: RunningServer) -> httpx.Client:
    return server.client


def surface(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    outputs = {one["name"]: one for one in answer.json()["outputs"]}
    return outputs["surface"]["data"]


def test_nested_and_flat_data_are_the_same(http: httpx.Client) -> None:
    flat, nested = make_request(), make_request()
    nested["inputs"][0]["data"] = rows().tolist()
    assert surface(http.post(INFER, json=flat)) == surface(http.post(INFER, json=nested))


@pytest.mark.parametrize("nested", [True, False])
def test_large_data_is_read_in_pieces(http: httpx.Client, nested: bool) -> None:
    array = rows(900)
    sent = make_request(array, outputs=[{"name": "surface"}])
    if nested:
        sent["inputs"][0]["data"] = array.tolist()
    body = json.dumps(sent, indent=1 if nested else None).encode()
    assert len(body) > 100_000
    numbers = surface(http.post(INFER, content=body))
    data, headers = make_binary_request(array, "FP32", outputs=[{"name": "surface"}])
    assert numbers == surface(http.post(INFER, content=data, headers=headers))
    sent["inputs"][0]["data"] = array.tolist() if nested else array.ravel().tolist()
    for broken in (body.replace(b"]", b",]", 1), body[:-1], body.replace(b"-", b"--", 1)):
        assert "JSON" in read_refusal(http.post(INFER, content=broken), 400)


def test_a_raw_request(http: httpx.Client) -> None:
    array = rows(1)
    answer = http.post(INFER, content=array.tobytes(), headers={HEADER: "0"})
    assert answer.status_code == 200
    head = json.loads(answer.content[: int(answer.headers[HEADER])])
    sizes = [one["parameters"]["binary_data_size"] for one in head["outputs"]]
    assert int(answer.headers[HEADER]) + sum(sizes) == len(answer.content)
    read_refusal(http.post(INFER, content=array.tobytes()[:-1], headers={HEADER: "0"}), 400)


def test_the_format_of_an_output_is_chosen_per_output(http: httpx.Client) -> None:
    outputs = [{"name": "surface", "parameters": {"binary_data": False}}, {"name": "hits"}]
    sent = make_request(outputs=outputs, parameters={"binary_data_output": True})
    answer = http.post(INFER, json=sent)
    head = json.loads(answer.content[: int(answer.headers[HEADER])])
    assert "data" in head["outputs"][0]
    assert head["outputs"][1]["parameters"]["binary_data_size"] == 3 * 2 * 16 * 4
    assert answer.headers["content-type"] == "application/octet-stream"


def test_booleans_are_true_and_false_in_json_and_bytes_behind_it(http: httpx.Client) -> None:
    outputs = [{"name": "reached"}]
    written = http.post(INFER, json=make_request(outputs=outputs)).json()
    (tensor,) = written["outputs"]
    assert (tensor["datatype"], tensor["shape"]) == ("BOOL", [3, 2, 4, 4])
    assert {type(value) for value in tensor["data"]} == {bool}
    sent = make_request(outputs=outputs, parameters={"binary_data_output": True})
    answer = http.post(INFER, json=sent)
    content = answer.content[int(answer.headers[HEADER]) :]
    assert np.frombuffer(content, np.bool_).tolist() == tensor["data"]
    document = http.get("/openapi.json").json()
    described = {"$ref": "#/components/schemas/InferAnswer", "components": document["components"]}
    assert jsonschema_rs.is_valid(described, written)


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "", "99999999", "9" * 30, "+5"])
def test_header_lengths_that_are_none(http: httpx.Client, length: str) -> None:
    body, _ = make_binary_request(rows(), "FP32")
    assert HEADER in read_refusal(http.post(INFER, content=body, headers={HEADER: length}), 400)


def test_every_truncation_is_refused(http: httpx.Client, server: RunningServer) -> None:
    before = find_leftovers(server.data_dir)
    body, headers = make_binary_request(rows(), "FP32")
    for length in range(0, len(body), 7):
        read_refusal(http.post(INFER, content=body[:length], headers=headers), 400)
    assert "too early" in read_refusal(http.post(INFER, content=body[:-1], headers=headers), 400)
    assert "no input" in read_refusal(http.post(INFER, content=body + b"x", headers=headers), 400)
    assert find_leftovers(server.data_dir) == before


def test_sizes_must_be_those_of_the_shape(http: httpx.Client) -> None:
    body, headers = make_binary_request(rows(), "FP64")
    assert "192 bytes, not 96" in read_refusal(http.post(INFER, content=body, headers=headers), 400)
    both = make_request()
    both["inputs"][0]["parameters"] = {"binary_data_size": 96}
    assert "both" in read_refusal(http.post(INFER, json=both), 400)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies(http: httpx.Client, encoding: str) -> None:
    plain = json.dumps(make_request()).encode()
    body = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    headers = {"Content-Encoding": encoding}
    assert surface(http.post(INFER, content=body, headers=headers)) is not None
    for broken in (body[:-1], body[: len(body) // 2], body[:1], b"", plain, body + b"x"):
        read_refusal(http.post(INFER, content=broken, headers=headers), 400)
    bomb = b" " * 50_000_000
    body = gzip.compress(bomb) if encoding == "gzip" else zlib.compress(bomb)
    assert "300,000" in read_refusal(http.post(INFER, content=body, headers=headers), 413)


def test_a_compressed_body_of_several_parts(http: httpx.Client) -> None:
    plain = json.dumps(make_request()).encode()
    parts = b"".join(gzip.compress(plain[start : start + 9]) for start in range(0, len(plain), 9))
    headers = {"Content-Encoding": "gzip"}
    assert surface(http.post(INFER, content=parts, headers=headers)) is not None
    many = gzip.compress(b"") * 12_000
    reason = read_refusal(http.post(INFER, content=many, headers=headers), 400)
    assert "more than 10,000 members" in reason


def test_unknown_encodings(http: httpx.Client) -> None:
    answer = http.post(INFER, content=b"x", headers={"Content-Encoding": "br"})
    read_refusal(answer, 501)
    assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"


def faulty(**changes: Any) -> dict[str, Any]:
    sent = make_request()
    sent["inputs"][0] |= changes
    return sent


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        (faulty(name="other"), "one input is 'embeddings'"),
        (faulty(datatype="INT32"), "FP32, FP16, BF16, FP64"),
        (faulty(datatype="FP16"), "must be sent as bytes"),
        (faulty(shape=[3]), "[rows, dimension]"),
        (faulty(shape=[-3, -8]), "must be at least 0"),
        (faulty(shape=[2, 8]), "2 × 8 numbers"),
        (faulty(data=None), "is required"),
        (faulty(data=[None] * 24), "must be a number, not null"),
        (faulty(data=[True] * 24), "must be a number, not a boolean"),
        (faulty(data=[1e39] * 24), "beyond float32"),
        (faulty(shape=[24, 1]), "the model 'default' takes 8"),
        (faulty(shape=[0, 8], data=[]), "at least one row"),
        (make_request(outputs=[{"name": "nothing"}]), "must be one of surface"),
        (make_request(outputs=[{"name": "hits"}] * 2), "more than once"),
        (make_request(parameters={"sead": 1}), "parameters.sead"),
        (make_request(parameters={"seed": 1.5}), "parameters.seed"),
        (make_request(parameters={"trace_capacity": -1}), "parameters.trace_capacity"),
        (make_request(parameters={"options": "[]"}), "string with a JSON object"),
        (make_request(parameters={"options": '{"max_steps": 0}'}), "parameters.options.max_steps"),
        (make_request(parameters={"timeout": -1}), "parameters.timeout"),
    ],
)
def test_faults_are_named(http: httpx.Client, sent: dict[str, Any], reason: str) -> None:
    assert reason in read_refusal(http.post(INFER, json=sent), 422)


def test_faults_are_reported_together(http: httpx.Client) -> None:
    sent = make_request(rows()[:, :7], parameters={"sead": 1, "options": "x", "trace_capacity": -1})
    reason = read_refusal(http.post(INFER, json=sent), 422)
    for part in ("sead", "options", "trace_capacity", "the model 'default' takes 8"):
        assert part in reason


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"1", b"\xff", b'{"a": NaN}', b"[" * 200_000])
def test_bodies_that_are_not_json(http: httpx.Client, body: bytes) -> None:
    read_refusal(http.post(INFER, content=body), 400)


def test_other_refusals_have_the_same_form(http: httpx.Client) -> None:
    read_refusal(http.get("/v2/nothing"), 404)
    read_refusal(http.get("/v2/"), 404)
    read_refusal(http.get(INFER), 405)
    read_refusal(http.get("/v2/models/energy_flow/versions/2"), 404)
    read_refusal(http.post("/v2/models/nothing/infer", json=make_request()), 404)
    read_refusal(http.post(INFER, content=b" " * 300_001), 413)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(http: httpx.Client, datatype: str, value: float) -> None:
    dtype = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}[datatype]
    body, headers = make_binary_request(np.full((3, 8), value, dtype), datatype)
    assert "finite" in read_refusal(http.post(INFER, content=body, headers=headers), 422)


def test_keys_and_beginnings(tmp_path: Path) -> None:
    with serving(tmp_path, wait=False, api_key="secret") as running:
        read_refusal(running.client.get("/v2"), 401)
        read_refusal(running.client.post(INFER, json=make_request()), 401)
        key = {"Authorization": "Bearer secret"}
        assert running.client.get("/v2/health/live", headers=key).status_code == 200
        answer = running.client.get("/v2/health/ready", headers=key)
        if answer.status_code != 200:
            assert "starting" in read_refusal(answer, 503)
