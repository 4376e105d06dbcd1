"""Files as bodies of requests to simulate: parameters, limits, and nothing left on the disk."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save

from energy_flow.choices import DatasetFormat
from service.media_types import NPY, OCTET_STREAM
from tests.support.bodies import arrow, csv, npy, parquet
from tests.support.servers import RunningServer, rows

CSV = DatasetFormat.CSV.media_type
PARQUET = DatasetFormat.PARQUET.media_type
REQUEST = np.frombuffer(b'{"store": false, "seed": 4}', np.uint8)
TWO = {"embeddings": rows(), "vector": rows(seed=1)}


def post(client: httpx.Client, body: bytes, media_type: str, **query: Any) -> httpx.Response:
    headers = {"content-type": media_type}
    return client.post("/v1/simulate", params=query, content=body, headers=headers)


def test_members_are_query_parameters(client: httpx.Client) -> None:
    query = {"seed": 4, "outputs": "surface,hits", "sample_keys": "7,8,9", "store": "false"}
    expected = client.post(
        "/v1/simulate",
        json={
            "embeddings": rows().tolist(),
            "seed": 4,
            "outputs": ["surface", "hits"],
            "sample_keys": [7, 8, 9],
            "store": False,
        },
    ).json()
    for media_type, body in (
        (CSV, csv(rows().tolist())),
        (PARQUET, parquet(pa.table({"inputs": list(rows()), "target": [1, 2, 3]}))),
        ("application/vnd.apache.arrow.stream", arrow(pa.table({"x": list(rows())}))),
        (NPY, gzip.compress(npy(rows()))),
        (OCTET_STREAM, save({"inputs": rows(), "targets": rows()})),
        (OCTET_STREAM, gzip.compress(save({"weights": rows()}))),
    ):
        answer = post(client, body, media_type, **query)
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"] == expected["outputs"]
        assert [one["sample_key"] for one in answer.json()["samples"]] == [7, 8, 9]


def test_the_format_is_named_in_the_query(client: httpx.Client) -> None:
    expected = post(client, npy(rows()), NPY, seed=4, store="false").json()["outputs"]
    for name, body in (
        ("csv", csv(rows().tolist())),
        ("npy", npy(rows())),
        ("parquet", parquet(pa.table({"inputs": list(rows())}))),
        ("safetensors", save({"inputs": rows()})),
    ):
        for media_type in (OCTET_STREAM, "application/json", "some/thing"):
            answer = post(client, body, media_type, format=name, seed=4, store="false")
            assert answer.status_code == 200, answer.text
            assert answer.json()["outputs"] == expected
            query: dict[str, str | int] = {"format": name, "seed": 4}
            headers = {"content-type": media_type}
            queued = client.post("/v1/runs", params=query, content=body, headers=headers)
            assert queued.status_code == 202, queued.text


def test_an_unknown_format_is_refused(client: httpx.Client) -> None:
    refused = post(client, npy(rows()), NPY, format="cvs")
    assert refused.status_code == 422
    assert "did you mean 'csv'" in refused.json()["errors"][0]["msg"]


def test_a_column_is_named(client: httpx.Client) -> None:
    expected = post(client, npy(rows(seed=1)), NPY, seed=4, store="false").json()["outputs"]
    table = pa.table({name: list(array) for name, array in TWO.items()})
    for media_type, body, query in (
        (PARQUET, parquet(table), {"seed": 4, "store": "false"}),
        (OCTET_STREAM, save({**TWO, "other": rows()}), {"seed": 4, "store": "false"}),
        (OCTET_STREAM, save({**TWO, "request": REQUEST}), {}),
    ):
        refused = post(client, body, media_type, **query)
        assert refused.status_code == 422
        assert "several times, as embeddings, vector" in refused.json()["detail"]
        answer = post(client, body, media_type, column="vector", **query)
        assert answer.json()["outputs"] == expected
    dry = post(client, parquet(table), PARQUET, column="vector", dry_run="true")
    assert dry.json()["samples"] == 3


@pytest.mark.usefixtures("still_works")
def test_parameters_that_do_not_fit_are_refused(client: httpx.Client) -> None:
    document = json.dumps({"embeddings": rows().tolist()}).encode()
    for media_type, body, query, words in (
        ("application/json", document, "column=x", "column: is not a query parameter here"),
        (CSV, csv(rows().tolist()), "column=1&column=2", "column: may be given once"),
        (CSV, csv(rows().tolist()), "sed=1", "did you mean 'seed'"),
        (NPY, npy(rows()), "column=x", "leave column out"),
        (OCTET_STREAM, save({"inputs": rows(), "keys": rows()}), "", "keys: is not known"),
        (OCTET_STREAM, save({**TWO, "request": REQUEST}), "column=x", "x: is not in the file"),
        (OCTET_STREAM, save({"inputs": rows(), "request": REQUEST}), "seed=1", "seed: is not"),
    ):
        answer = client.post(
            f"/v1/simulate?{query}", content=body, headers={"content-type": media_type}
        )
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["detail"]


@pytest.mark.usefixtures("still_works")
def test_files_that_unfold_are_bounded(server: RunningServer) -> None:
    zeros = np.zeros((60_000, 16), np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(zeros.reshape(-1)), 16)
    for media_type, body in (
        (CSV, gzip.compress(csv(zeros[:40_000].astype(int).tolist()))),
        (NPY, gzip.compress(npy(zeros))),
        (PARQUET, parquet(pa.table({"x": column}), compression="zstd")),
        (OCTET_STREAM, gzip.compress(save({"x": zeros}))),
    ):
        assert len(body) < 100_000
        answer = post(server.client, body, media_type)
        assert answer.status_code == 413, answer.text
        assert answer.json()["limit_bytes"] == 2_000_000
    assert not list((server.data_dir / "datasets").glob(".*"))


def test_the_known_media_types_are_named(client: httpx.Client) -> None:
    answer = post(client, b"", "text/html")
    assert answer.status_code == 415
    for media_type in (NPY, CSV, PARQUET, OCTET_STREAM, "application/x-ndjson"):
        assert media_type in answer.headers["accept-post"]
