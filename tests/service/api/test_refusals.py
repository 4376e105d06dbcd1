"""Each refusal: its status and message, no leftover files, and later requests succeed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from service.problems import Problem
from service.requests.json_body import parse_json
from tests.support.bodies import NPY, npy
from tests.support.servers import DIMENSION, rows
from tests.support.waits import LIMIT_SECONDS

pytestmark = pytest.mark.usefixtures("still_works")

JSON = {"content-type": "application/json"}


def post(client: httpx.Client, body: Any, path: str = "/v1/simulate") -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    answer = client.post(path, content=content, headers=JSON)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "errors"} <= set(problem)
    assert problem["status"] == answer.status_code
    return answer.status_code, problem


def faults(problem: dict[str, Any]) -> dict[tuple[str | int, ...], Any]:
    return {tuple(error["loc"]): error["got"] for error in problem["errors"]}


def with_row(row: str) -> str:
    good = json.dumps([0.1] * DIMENSION)
    return f'{{"embeddings": [{good}, {row}]}}'


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "nothing",
        '{"embeddings": [[1, 2]}',
        with_row("[NaN, 0, 0, 0, 0, 0, 0, 0]"),
        with_row("[Infinity, 0, 0, 0, 0, 0, 0, 0]"),
        with_row("[-Infinity, 0, 0, 0, 0, 0, 0, 0]"),
        b'{"model": "\xff"}',
        "[[1, 2, 3]]",
        "[" * 3000,
    ],
)
@pytest.mark.parametrize("path", ["/v1/simulate", "/v1/runs"])
def test_malformed_json_is_400(client: httpx.Client, body: str | bytes, path: str) -> None:
    status, _ = post(client, body, path)
    assert status == 400


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("path", ["/v1/simulate", "/v1/runs"])
def test_words_in_the_place_of_numbers_are_named(
    client: httpx.Client, path: str, word: str
) -> None:
    status, problem = post(client, with_row(f"[0, 0, {word}, 0, 0, 0, 0, 0]"), path)
    assert status == 400
    assert f"embeddings.1.2 is {word}" in problem["detail"]
    [error] = problem["errors"]
    assert (error["loc"], error["got"]) == (["embeddings", 1, 2], word)
    assert error["msg"].startswith(f"{word} is not JSON")


def test_one_row_without_its_list_is_refused(client: httpx.Client) -> None:
    status, problem = post(client, '{"embeddings": [0.1, 0.2]}', "/v1/simulate")
    assert status == 422
    assert "one row is [[...]] (shape [1, width])" in problem["detail"]


@pytest.mark.parametrize(
    ("row", "loc", "got"),
    [
        ("[1e39, 0, 0, 0, 0, 0, 0, 0]", ("embeddings", 1, 0), 1e39),
        ("[0, 0, 0, 0, 0, 0, 0, -3.5e38]", ("embeddings", 1, 7), -3.5e38),
        ("[0, 1e999, 0, 0, 0, 0, 0, 0]", ("embeddings", 1, 1), "inf"),
        (f"[0, 1{'0' * 400}, 0, 0, 0, 0, 0, 0]", ("embeddings", 1, 1), None),
        ("[1, 2, 3]", ("embeddings", 1), 3),
        ("[]", ("embeddings", 1), 0),
        ('"a"', ("embeddings", 1), "a"),
        ("7", ("embeddings", 1), 7),
        ("null", ("embeddings", 1), None),
        ("[0, 0, true, 0, 0, 0, 0, 0]", ("embeddings", 1, 2), True),
        ('[0, 0, "1", 0, 0, 0, 0, 0]', ("embeddings", 1, 2), "1"),
        ("[0, 0, null, 0, 0, 0, 0, 0]", ("embeddings", 1, 2), None),
        ("[0, 0, [1], 0, 0, 0, 0, 0]", ("embeddings", 1, 2), [1]),
    ],
)
def test_bad_rows_are_422_with_the_first_index(
    client: httpx.Client, row: str, loc: tuple[str | int, ...], got: Any
) -> None:
    status, problem = post(client, with_row(row))
    assert status == 422
    found = faults(problem)
    assert loc in found
    if got is not None:
        assert found[loc] == got


def test_a_wrong_dimension_is_reported_with_the_expected_one(client: httpx.Client) -> None:
    status, problem = post(client, {"embeddings": [[0.0] * 5]})
    assert status == 422
    assert faults(problem) == {("embeddings",): 5}
    assert "8" in problem["detail"]


@pytest.mark.parametrize("value", [[], None, "x", {}, 3])
def test_embeddings_must_be_rows(client: httpx.Client, value: Any) -> None:
    status, problem = post(client, {"embeddings": value})
    assert status == 422
    assert ("embeddings",) in faults(problem)


def test_embeddings_are_required(client: httpx.Client) -> None:
    status, problem = post(client, {"seed": 1})
    assert status == 422
    assert ("embeddings",) in faults(problem)


def test_all_faults_at_once(client: httpx.Client) -> None:
    status, problem = post(
        client,
        {
            "embeddings": [[0.0] * 7 + [1e39]],
            "seed": -1,
            "sample_keys": [1, 2],
            "options": {"noise_std": -2, "spawn": {"nonsense": 1}, "lattice_width": 9},
            "outputs": ["surface", "volume"],
            "trace": {"capacity": -1, "kinds": ["explode"], "inline": -5},
            "store": "yes",
            "timeout_ms": 0,
            "colour": "red",
        },
    )
    assert status == 422
    assert set(faults(problem)) >= {
        ("embeddings", 0, 7),
        ("seed",),
        ("sample_keys",),
        ("options", "noise_std"),
        ("options", "spawn", "nonsense"),
        ("options", "lattice_width"),
        ("outputs", 1),
        ("trace", "inline"),
        ("store",),
        ("timeout_ms",),
        ("colour",),
    }


def test_trace_faults_are_reported_where_they_were_given(client: httpx.Client) -> None:
    fields = {"embeddings": rows().tolist(), "trace": {"capacity": -1, "kinds": ["explode"]}}
    status, problem = post(client, fields)
    assert status == 422
    assert {("trace", "capacity"), ("trace", "kinds", 0)} <= set(faults(problem))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"projection_age": 9, "max_steps": 3}, "projection_age"),
        ({"noise_std": 0.0, "spawn.threshold": 0.6}, "spawn"),
        ({"spawn": {"mode": "percentile", "percentile": 100}}, "percentile"),
        ({"boundary": "clamp"}, "boundary"),
        ({"max_active_flows": 3}, "max_active_flows"),
        ({"deterministic": True, "noise_std": 0.3}, "deterministic"),
        ({"gravity": 1}, "gravity"),
        ({"precision": "float8"}, "precision"),
    ],
)
def test_bad_options_are_422(client: httpx.Client, options: dict[str, Any], reason: str) -> None:
    status, problem = post(client, {"embeddings": rows().tolist(), "options": options})
    assert status == 422
    assert reason in problem["detail"]
    assert all(error["loc"][0] == "options" for error in problem["errors"])


def test_a_choice_given_twice_is_refused(client: httpx.Client) -> None:
    fields = {"trace": {"capacity": 4}, "options": {"trace.capacity": 5}}
    status, problem = post(client, {"embeddings": rows().tolist(), **fields})
    assert status == 422
    assert ("trace", "capacity") in faults(problem)


@pytest.mark.parametrize("keys", [[0, 1], [0, 1, 2**32], [0, 1, -1], [0, 1, 1.5], [0, 1, True], 7])
def test_bad_sample_keys_are_422(client: httpx.Client, keys: Any) -> None:
    status, problem = post(client, {"embeddings": rows().tolist(), "sample_keys": keys})
    assert status == 422
    assert problem["errors"][0]["loc"][0] == "sample_keys"


def test_an_unknown_model_is_404(client: httpx.Client) -> None:
    status, problem = post(client, {"embeddings": rows().tolist(), "model": "nobody"})
    assert status == 404
    assert "default" in problem["detail"]


@pytest.mark.parametrize("path", ["/nowhere", "/v1/runs/none", "/v1/models/none", "/v1/none"])
def test_unknown_resources_are_404(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_wrong_method_is_405(client: httpx.Client) -> None:
    answer = client.get("/v1/simulate")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["status"] == 405


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "", "multipart/form-data"])
def test_other_bodies_are_415(client: httpx.Client, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = client.post("/v1/simulate", content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert "application/x-npy" in answer.headers["accept-post"]


def test_a_large_body_is_413_by_its_length(client: httpx.Client) -> None:
    status, problem = post(client, b" " * 2_000_001)
    assert status == 413
    assert problem["limit_bytes"] == 2_000_000


def test_a_large_body_is_413_while_it_is_read(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 100_000

    answer = client.post("/v1/simulate", content=pieces(), headers=JSON)
    assert answer.status_code == 413


def test_a_body_that_waits_to_be_asked_for_is_refused_unread(client: httpx.Client) -> None:
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    with socket.create_connection((host, port), timeout=LIMIT_SECONDS) as connection:
        connection.sendall(
            b"POST /v1/simulate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_unknown_query_parameters_are_422(client: httpx.Client) -> None:
    answer = client.post("/v1/simulate?seed=3", json={"embeddings": rows().tolist()})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["seed"]


def test_a_deterministic_run_has_the_seed_of_its_config(client: httpx.Client) -> None:
    fields = {"options": {"deterministic": True}, "seed": 5}
    status, problem = post(client, {"embeddings": rows().tolist(), **fields})
    assert status == 422
    assert ("seed",) in faults(problem)


def test_a_queued_run_must_be_stored(client: httpx.Client) -> None:
    status, problem = post(client, {"embeddings": rows().tolist(), "store": False}, "/v1/runs")
    assert status == 422
    assert ("store",) in faults(problem)


def test_a_deadline_that_passes_is_504(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/simulate?timeout_ms=1",
        content=npy(rows(5000)),
        headers=NPY,
    )
    assert answer.status_code == 504


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\x93NUMPY", 400),
        (npy(rows())[:-3], 400),
        (npy(rows()) + b"more", 400),
        (npy(rows()).replace(b"(3, 8)", b"(9, 8)"), 400),
        (npy(rows()).replace(b"'<f4'", b"'|O' "), 422),
        (npy(np.array([[object()]], dtype=object)), 422),
        (npy(rows().astype(np.complex64)), 422),
        (npy(rows()[0]), 422),
        (npy(rows()[:0]), 422),
        (npy(rows()[:, :5]), 422),
        (npy(np.full((2, 8), np.nan, dtype=np.float32)), 422),
        (npy(np.full((2, 8), 1e300)), 422),
    ],
)
def test_bad_npy_bodies(client: httpx.Client, body: bytes, status: int) -> None:
    headers = NPY
    answer = client.post("/v1/simulate", content=body, headers=headers)
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["errors"][0]["loc"][0] == "embeddings"


def test_an_npy_header_cannot_reserve_memory(client: httpx.Client) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%b, 8)}\n"
    for rows_asked in (b"999999999999999", b"-1"):
        text = header % rows_asked
        body = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        answer = client.post("/v1/simulate", content=body, headers=NPY)
        assert answer.status_code == 400


@pytest.mark.parametrize(
    ("query", "loc"),
    [
        ("seed=x", ["seed"]),
        ("options={", ["options"]),
        ("outputs=volume", ["outputs", 0]),
        ("store=perhaps", ["store"]),
        ("seed=1&seed=2", ["seed"]),
        ("colour=red", ["colour"]),
        ("sample_keys=0,1,x", ["sample_keys", 2]),
    ],
)
def test_bad_query_of_an_npy_body(client: httpx.Client, query: str, loc: list[Any]) -> None:
    headers = NPY
    answer = client.post(f"/v1/simulate?{query}", content=npy(rows()), headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == loc


def test_refusals_do_not_send_bodies_back(client: httpx.Client) -> None:
    status, problem = post(client, {"embeddings": "x" * 100_000, "colour": ["y" * 100_000]})
    assert status == 422
    assert len(json.dumps(problem)) < 5000


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("path", "members", "status", "reason"),
    [
        # Each of them has taken minutes, gigabytes, or more of a stack than there is.
        ("/v1/simulate", {f"x{number}": 0 for number in range(2000)}, 413, "1,000 members"),
        ("/v1/simulate", {"outputs": [0] * 20_000}, 422, "outputs: must have at most 10,000"),
        ("/v1/simulate", {"zzz": [[]] * 30_000}, 422, "zzz: must have at most 10,000"),
        ("/v1/simulate", {"options": {"x": nested(900)}}, 422, "nested more than 32 deep"),
        ("/v1/simulate", {"options": {"spawn" + ".x" * 2000: 0}}, 422, "options"),
        ("/v1/simulate", {"embeddings": nested(900)}, 422, "embeddings"),
        ("/v1/simulate", {"sample_keys": nested(900)}, 422, "sample_keys"),
        ("/v1/models", {"name": "deep", "config": {"x": nested(900)}}, 422, "nested"),
        ("/v1/experiments", {"name": "deep", "sweep": {"grid": nested(900)}}, 422, "nested"),
    ],
)
def test_bodies_of_very_many_values(
    client: httpx.Client, path: str, members: dict[str, Any], status: int, reason: str
) -> None:
    answer = client.post(path, json={"embeddings": rows().tolist(), **members})
    assert (answer.status_code, reason in answer.text) == (status, True), answer.text[:1000]


def test_a_query_of_very_many_parameters(client: httpx.Client) -> None:
    query = {f"x{number}": 1 for number in range(500)}
    answer = client.post("/v1/simulate", params=query, content=npy(rows()), headers=NPY)
    assert (answer.status_code, "100 query parameters" in answer.text) == (413, True), answer.text


def test_a_document_of_very_many_lists_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Problem, match="more than 100,000 lists and objects") as refused:
        parse_json(b"[" + b"{}," * 100_000 + b"{}]")
    assert refused.value.status == 413


@pytest.mark.parametrize("shape", ["(-2, -8)", "(-2, 8)", "(2, True)"])
def test_a_shape_that_no_array_has_is_refused(client: httpx.Client, shape: str) -> None:
    body = npy(rows(2)).replace(b"(2, 8)", shape.encode())
    answer = client.post("/v1/simulate", content=body, headers=NPY)
    assert answer.status_code == 400
