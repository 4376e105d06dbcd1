"""Limits of requests, members that are there twice, and booleans in place of numbers."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import httpx
import pytest

from service.api.openapi import DocumentedApp
from tests.support.inference_requests import INFER
from tests.support.servers import RunningServer, rows
from tests.support.waits import until

JSON = {"content-type": "application/json"}
ROWS = json.dumps(rows().tolist())
LARGE = ",".join([json.dumps(rows(1).tolist()[0])] * 9000)
"""Rows of more than 1 MiB, which are parsed in pieces only."""


def post(client: httpx.Client, path: str, text: str) -> tuple[int, dict[str, Any]]:
    answer = client.post(path, content=text, headers=JSON)
    document: dict[str, Any] = answer.json()
    return answer.status_code, document


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/experiments",
        "/v1/models/default/ablations",
        "/v1/runs/none/replay",
        "/v1/runs/none/cancel",
        "/v1/experiments/none/pause",
        "/v2/logging",
        "/v2/trace/setting",
        "/v2/repository/index",
    ],
)
def test_bodies_without_embeddings_have_at_most_a_mebibyte(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b" " * (2**20 + 1), headers=JSON)
    assert answer.status_code == 413
    if path.startswith("/v1"):
        assert answer.json()["limit_bytes"] == 2**20


@pytest.mark.parametrize("path", ["/v1/simulate", INFER])
def test_other_members_have_at_most_a_mebibyte(client: httpx.Client, path: str) -> None:
    status, problem = post(client, path, f'{{"id":"{"x" * 2**20}"}}')
    assert (status, "1,048,576 bytes" in json.dumps(problem)) == (413, True)


def test_large_rows_are_read_with_their_keys(client: httpx.Client) -> None:
    keys = json.dumps(list(range(9000)))
    text = f'{{"sample_keys":{keys},"embeddings":[{LARGE}],"options":{{"max_steps":1}}}}'
    assert len(text) > 2**20
    status, estimate = post(client, "/v1/simulate?dry_run=true", text)
    assert (status, estimate["samples"]) == (200, 9000)


@pytest.mark.parametrize(
    ("last", "status", "place"),
    [
        ("[1,2]", 422, ["embeddings", 9000]),
        ('[1,"2"]', 422, ["embeddings", 9000, 1]),
        ("7", 422, ["embeddings", 9000]),
        ("[1,1e999]", 422, ["embeddings", 9000, 1]),
        ("[1,[2]]", 422, ["embeddings", 9000, 1]),
        ("[1,NaN]", 400, ["embeddings", 9000, 1]),
        ("[-Infinity,1]", 400, ["embeddings", 9000, 0]),
        ("[1,02]", 400, None),
        ("[1,2,", 400, None),
    ],
)
def test_the_first_fault_of_large_rows(
    client: httpx.Client, last: str, status: int, place: list[Any] | None
) -> None:
    found, problem = post(client, "/v1/simulate", f'{{"embeddings":[{LARGE},{last}],"x":1}}')
    assert found == status
    assert [error["loc"] for error in problem["errors"]] == ([] if place is None else [place])


def test_the_first_fault_of_many_keys(client: httpx.Client) -> None:
    for last, value in (("1.5", 1.5), ('"x"', "x"), (str(2**32), 2**32)):
        keys = "7," * 600_000 + last
        text = f'{{"embeddings":{ROWS},"sample_keys":[{keys}]}}'
        status, problem = post(client, "/v1/simulate", text)
        assert status == 422
        [error] = problem["errors"]
        assert (error["loc"], error["got"]) == (["sample_keys", 600_000], value)


@pytest.mark.parametrize(
    ("path", "text", "place"),
    [
        ("/v1/simulate", f'{{"embeddings":{ROWS},"seed":1,"seed":2}}', ["seed"]),
        ("/v1/simulate", f'{{"embeddings":{ROWS},"embeddings":{ROWS}}}', ["embeddings"]),
        ("/v1/simulate", f'{{"embeddings":[{LARGE}],"embeddings":{ROWS}}}', ["embeddings"]),
        (
            "/v1/simulate",
            f'{{"embeddings":{ROWS},"options":{{"spawn":{{"mode":"off","mode":"off"}}}}}}',
            ["options", "spawn", "mode"],
        ),
        ("/v1/models", '{"name":"a:b","name":"c"}', ["name"]),
    ],
)
def test_a_member_that_is_there_twice_is_refused(
    client: httpx.Client, path: str, text: str, place: list[str]
) -> None:
    status, problem = post(client, path, text)
    assert status == 422
    assert [(one["loc"], one["msg"]) for one in problem["errors"]] == [(place, "is given twice")]


def test_a_colon_in_a_string_is_no_member(client: httpx.Client) -> None:
    text = f'{{"embeddings":{ROWS},"model":"a:b:c"}}'
    status, problem = post(client, "/v1/simulate", text)
    assert (status, problem["errors"][0]["loc"]) == (422, ["model"])


def test_a_member_that_is_twice_in_a_line(client: httpx.Client) -> None:
    line = '{"inputs":[1,2],"text":"a:b","inputs":[3,4]}'
    headers = {"content-type": "application/x-ndjson"}
    answer = client.put("/v1/datasets/twice", content=line, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["line 1", "inputs"]


def test_a_long_line_is_read_in_pieces(client: httpx.Client) -> None:
    numbers = ",".join(["0.5"] * 300_000)
    for line in (f"[{numbers}]", f'{{"text":"a","inputs":[{numbers}]}}'):
        answer = client.put(
            "/v1/datasets/long",
            content=f"{line}\n{line}\n",
            headers={"content-type": "application/x-ndjson"},
        )
        assert (answer.status_code, answer.json()["dim"]) == (201, 300_000)
        client.delete("/v1/datasets/long").raise_for_status()


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"max_steps": True}, ["options", "max_steps"]),
        ({"noise_std": False}, ["options", "noise_std"]),
        ({"seed": True}, ["options", "seed"]),
        ({"spawn.threshold": True}, ["options", "spawn", "threshold"]),
        ({"convergence": {"window": False}}, ["options", "convergence", "window"]),
        ({"deterministic": "maybe"}, ["options", "deterministic"]),
    ],
)
def test_booleans_are_no_numbers(
    client: httpx.Client, options: dict[str, Any], place: list[str]
) -> None:
    text = json.dumps({"embeddings": rows().tolist(), "options": options})
    status, problem = post(client, "/v1/simulate", text)
    assert (status, [error["loc"] for error in problem["errors"]]) == (422, [place])


def test_booleans_are_no_numbers_of_a_model(client: httpx.Client) -> None:
    status, problem = post(client, "/v1/models", '{"name":"b","config":{"embedding_dim":true}}')
    assert (status, problem["errors"][0]["got"]) == (422, True)


def test_very_many_faults_are_counted(client: httpx.Client) -> None:
    members = {f"x{number}": 0 for number in range(250)}
    text = json.dumps({"embeddings": rows().tolist(), **members})
    status, problem = post(client, "/v1/simulate", text)
    assert status == 422
    assert (len(problem["errors"]), problem["more_errors"]) == (100, 150)


def test_long_names_are_not_sent_back(client: httpx.Client) -> None:
    text = json.dumps({"embeddings": rows().tolist(), "options": {"y" * 500_000: 1}})
    status, problem = post(client, "/v1/simulate", text)
    assert status == 422
    assert len(json.dumps(problem)) < 10_000


@pytest.mark.parametrize("numbers", ["-1", "1.2", "9" * 5000, str(2**63)])
def test_other_cursors_are_refused(client: httpx.Client, numbers: str) -> None:
    cursor = urlsafe_b64encode(numbers.encode()).decode().rstrip("=")
    for path in ("/v1/runs", "/v1/datasets", "/v1/experiments"):
        assert client.get(path, params={"cursor": cursor}).status_code == 422


def test_models_that_have_no_row_are_in_pages(client: httpx.Client) -> None:
    names: list[str] = []
    query: dict[str, Any] = {"limit": 1}
    while "cursor" not in query or query["cursor"] is not None:
        page = client.get("/v1/models", params=query).json()
        names += [model["name"] for model in page["items"]]
        query["cursor"] = page["next_cursor"]
    assert names[-1] == "default"
    assert {"dictionary", "spectrometer"} <= set(names)


def test_query_parameters_are_counted(client: httpx.Client) -> None:
    answer = client.get("/v1/runs?" + "kind=run&" * 1001)
    assert (answer.status_code, "1,000 query parameters" in answer.text) == (413, True)


@pytest.mark.parametrize(
    "header", ["Last-Event-ID", "Inference-Header-Content-Length", "Idempotency-Key"]
)
def test_headers_of_very_many_digits(client: httpx.Client, header: str) -> None:
    headers = {header: "9" * 5000, **JSON}
    if header == "Last-Event-ID":
        assert client.get("/v1/runs/none/events", headers=headers).status_code == 404
        return
    path = "/v1/models" if header == "Idempotency-Key" else INFER
    answer = client.post(path, content=b'{"name":"x"}', headers=headers)
    assert answer.status_code in (400, 422)
    assert len(answer.text) < 2000


def test_options_in_a_string_are_counted(client: httpx.Client) -> None:
    options = "{" + ",".join(f'"x{number}":1' for number in range(2000)) + "}"
    # The colons are hidden from a count over the body.
    hidden = json.dumps(options).replace(":", r"\u003a")
    tensor = json.dumps(
        {"name": "embeddings", "shape": [1, 8], "datatype": "FP32", "data": rows(1).tolist()}
    )
    text = f'{{"inputs":[{tensor}],"parameters":{{"options":{hidden}}}}}'
    status, problem = post(client, INFER, text)
    assert (status, "1,000 members" in problem["error"]) == (413, True)


def test_the_openapi_document_is_made_before_it_is_requested(server: RunningServer) -> None:
    app = server.server.config.app
    assert isinstance(app, DocumentedApp)
    until(lambda: app.has_document)
