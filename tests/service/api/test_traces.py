"""GET /v1/runs/{id}/trace: formats, filters, cursors."""

from __future__ import annotations

import io
from typing import Any

import httpx
import orjson
import pandas as pd
import pyarrow.parquet as pq
import pytest

from energy_flow.trace.records import COLUMN_DTYPES
from tests.support.bodies import NPY, npy
from tests.support.servers import RunningServer, count_done, queue_npy, rows, wait_until_ended
from tests.support.waits import until

COUNT = 1100
"""Samples of a run in several chunks."""


@pytest.fixture(scope="module")
def url(server: Any) -> str:
    answer = server.client.post("/v1/runs", content=npy(rows(COUNT)), headers=NPY)
    wait_until_ended(server.client, answer.json()["run_id"])
    return f"{answer.json()['url']}/trace"


@pytest.fixture(scope="module")
def records(server: Any, url: str) -> pd.DataFrame:
    answer = server.client.get(url)
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    return pd.read_parquet(io.BytesIO(answer.content))


def read(client: httpx.Client, url: str, **query: Any) -> tuple[list[dict[str, Any]], Any]:
    answer = client.get(url, params={"format": "ndjson", **query})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [orjson.loads(line) for line in answer.text.splitlines()], answer.headers


def same(found: list[dict[str, Any]], expected: pd.DataFrame) -> bool:
    return [(one["sample"], one["seq"], one["kind"]) for one in found] == list(
        zip(expected["sample"], expected["seq"], expected["kind"], strict=True)
    )


def test_parquet_has_every_column_sorted(records: pd.DataFrame) -> None:
    assert list(records.columns) == list(COLUMN_DTYPES)
    order = records.sort_values(["sample", "seq"], kind="stable")
    assert order.index.equals(records.index)
    assert set(records["sample"]) == set(range(COUNT))
    assert set(records["kind"]) == {"spawn", "reflect", "terminate"}
    for name, dtype in COLUMN_DTYPES.items():
        if name != "kind":
            assert records[name].dtype == dtype


def test_row_groups_are_sorted_by_sample(client: httpx.Client, url: str) -> None:
    file = pq.ParquetFile(io.BytesIO(client.get(url).content))
    position = list(COLUMN_DTYPES).index("sample")
    spans = [
        file.metadata.row_group(number).column(position).statistics
        for number in range(file.num_row_groups)
    ]
    assert len(spans) > 1
    firsts = [int(span.min) for span in spans if span is not None and span.min is not None]
    assert firsts == sorted(firsts)


def test_ndjson_is_equivalent(client: httpx.Client, url: str, records: pd.DataFrame) -> None:
    found, headers = read(client, url)
    assert same(found, records)
    assert found[0]["x"] == pytest.approx(float(records["x"][0]), rel=1e-6)
    assert headers["trace-complete"] == "true"


@pytest.mark.parametrize(
    ("query", "expression"),
    [
        ({"kind": "reflect"}, "kind == 'reflect'"),
        ({"kind": "reflect,spawn"}, "kind != 'terminate'"),
        ({"kind": ["reflect", "spawn"]}, "kind != 'terminate'"),
        ({"sample": 700}, "sample == 700"),
        ({"sample": "3,700"}, "sample in (3, 700)"),
        ({"flow": 5}, "flow == 5"),
        ({"step_from": 1}, "step >= 1"),
        ({"step_to": 1}, "step <= 1"),
        ({"step_from": 1, "step_to": 1, "kind": "spawn"}, "step == 1 and kind == 'spawn'"),
        ({"sample": 999_999}, "sample < 0"),
    ],
)
def test_filters(
    client: httpx.Client, url: str, records: pd.DataFrame, query: Any, expression: str
) -> None:
    found, _ = read(client, url, **query)
    assert same(found, records.query(expression))
    parquet = client.get(url, params=query)
    frame = pd.read_parquet(io.BytesIO(parquet.content))
    assert len(frame) == len(found)


def test_pages_by_cursor(client: httpx.Client, url: str, records: pd.DataFrame) -> None:
    expected = records.query("kind == 'spawn'")
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"kind": "spawn", "limit": 100}
    while True:
        page, headers = read(client, url, **query)
        found += page
        query["cursor"] = headers["next-cursor"]
        if headers["trace-complete"] == "true":
            break
        assert len(page) == 100
    assert same(found, expected)
    nothing, headers = read(client, url, cursor=query["cursor"])
    assert nothing == []
    assert headers["next-cursor"] == query["cursor"]


@pytest.mark.slow
def test_polling_returns_every_record_of_a_running_run(server: RunningServer) -> None:
    client, path = server.client, ""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {}

    def look() -> bool:
        part, headers = read(client, path, **query)
        found.extend(part)
        if "next-cursor" in headers:
            query["cursor"] = headers["next-cursor"]
        return bool(headers["trace-complete"] == "true")

    with server.engine_held() as engine:
        run_id = queue_npy(client, 6000)
        path = f"/v1/runs/{run_id}/trace"
        engine.run_until(lambda: count_done(client, run_id))
        # Some samples have ended, most have not started.
        until(lambda: look() or found)
        early = len(found)
        assert not look()
    until(look)
    assert 0 < early < len(found)
    whole, _ = read(client, path)
    assert found == whole


def test_formats_by_accept(client: httpx.Client, url: str) -> None:
    for accept, expected in (
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("text/html, application/x-ndjson;q=0.5", "application/x-ndjson"),
        ("*/*", "application/vnd.apache.parquet"),
    ):
        answer = client.get(url, headers={"accept": accept})
        assert answer.headers["content-type"] == expected


def test_unknown_formats_are_406_with_the_known_ones(client: httpx.Client, url: str) -> None:
    for answer in (
        client.get(url, params={"format": "excel"}),
        client.get(url, headers={"accept": "image/png"}),
    ):
        assert answer.status_code == 406
        assert "parquet" in answer.json()["detail"]
        assert "ndjson" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        {"kind": "explode"},
        {"sample": "x"},
        {"sample": "-1"},
        {"flow": "1.5"},
        {"step_from": "x"},
        {"limit": "0"},
        {"cursor": "zzz"},
    ],
)
def test_bad_filters_are_422(client: httpx.Client, url: str, query: dict[str, str]) -> None:
    answer = client.get(url, params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"][0] == next(iter(query))


def test_a_run_without_a_trace_has_an_empty_one(client: httpx.Client) -> None:
    fields = {"embeddings": rows().tolist(), "trace": {"capacity": 0}}
    url = client.post("/v1/simulate", json=fields).json()["trace"]["url"]
    assert read(client, url)[0] == []
    assert pd.read_parquet(io.BytesIO(client.get(url).content)).empty


def test_records_are_counted_by_step_and_kind(server: Any, url: str, records: pd.DataFrame) -> None:
    counted = server.client.get(f"{url}/counts").json()
    assert counted["records"] == len(records)
    table = pd.crosstab(records["step"], records["kind"])
    for entry in counted["steps"]:
        step = entry.pop("step")
        assert entry == {kind: int(table.loc[step].get(kind, 0)) for kind in entry}
    assert sum(sum(entry.values()) for entry in counted["steps"]) == len(records)
    query = {"sample": "3,1050", "kind": "terminate", "step_from": 1}
    chosen = records[
        records["sample"].isin([3, 1050])
        & (records["kind"] == "terminate")
        & (records["step"] >= 1)
    ]
    assert server.client.get(f"{url}/counts", params=query).json()["records"] == len(chosen)
    assert server.client.get(f"{url}/counts", params={"limit": 3}).status_code == 422
