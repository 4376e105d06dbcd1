"""HEAD wherever GET is, ranges of stored files, and query parameters that are not known."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import polars as pl
import pytest

from tests.support.bodies import NPY, npy
from tests.support.servers import RunningServer, rows, wait_until_ended


@pytest.fixture(scope="module")
def run(server: RunningServer) -> dict[str, Any]:
    answer = server.client.post("/v1/runs", content=npy(rows(40)), headers=NPY)
    return wait_until_ended(server.client, answer.json()["run_id"])


def test_head_has_the_headers_of_get(server: RunningServer, run: dict[str, Any]) -> None:
    client, url = server.client, run["url"]
    own = {"date", "x-request-id", "transfer-encoding"}
    for path in (
        "/livez",
        "/metrics",
        "/openapi.json",
        "/",
        "/docs",
        "/v1/runs",
        "/v1/system",
        "/v1/models/default",
        "/v1/models/default?format=safetensors",
        "/v2",
        "/v2/health/live",
        url,
        f"{url}/trace",
        f"{url}/trace?format=ndjson",
        f"{url}/outputs/surface?format=npy",
    ):
        with client.stream("GET", path) as got:
            expected = {name: value for name, value in got.headers.items() if name not in own}
        head = client.head(path)
        assert head.status_code == got.status_code == 200, path
        assert head.content == b""
        found = {name: value for name, value in head.headers.items() if name not in own}
        # What the numbers of these two say changes between the requests.
        if path in ("/metrics", "/v1/system"):
            expected.pop("content-length"), found.pop("content-length")
        assert found == expected, path


def test_head_of_events_ends(server: RunningServer, run: dict[str, Any]) -> None:
    answer = server.client.head(f"{run['url']}/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_head_of_what_has_no_get_is_refused(client: httpx.Client) -> None:
    assert client.head("/v1/simulate").status_code == 405
    assert client.head("/v1/runs/none").status_code == 404
    assert client.put("/v1/runs").headers["allow"] == "GET, HEAD, POST"


def test_polars_reads_a_trace_by_ranges(server: RunningServer, run: dict[str, Any]) -> None:
    address = server.client.base_url.join(f"{run['url']}/trace?format=parquet")
    frame = pl.scan_parquet(str(address)).select(pl.len()).collect()
    assert frame.item() == sum(run["trace"]["recorded"].values())


@pytest.mark.parametrize(
    "value",
    [
        "bytes=9999999999-",
        "bytes=5-2",
        "bytes=a-b",
        "bytes=1_0-2_0",
        "bytes=+1-+5",
        "bytes=",
        "bytes",
        "bytes=-0",
        f"bytes={'9' * 5000}-",
        f"bytes={2**63}-,{2**64}-",
    ],
)
def test_a_range_that_a_file_does_not_have(
    client: httpx.Client, run: dict[str, Any], value: str
) -> None:
    for path in (f"{run['url']}/trace?format=parquet", f"{run['url']}/outputs/surface?format=npy"):
        size = int(client.head(path).headers["content-length"])
        refused = client.get(path, headers={"Range": value})
        assert refused.status_code == 416
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["content-range"] == f"bytes */{size}"
        assert refused.json()["status"] == 416


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("bytes=0-1,99999999-", 0, 1),
        (f"bytes={'9' * 5000}-,3-4", 3, 4),
        ("bytes = 2-5", 2, 5),
        ("BYTES=2-5", 2, 5),
        ("bytes=\t2-5 , -0", 2, 5),
        ("bytes=0000000000000000000007-8", 7, 8),
    ],
)
def test_ranges_behind_the_end_are_left_out(
    client: httpx.Client, run: dict[str, Any], value: str, first: int, last: int
) -> None:
    path = f"{run['url']}/outputs/surface?format=npy"
    whole = client.get(path).content
    part = client.get(path, headers={"Range": value})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"
    assert part.content == whole[first : last + 1]


@pytest.mark.parametrize("value", ["lines=1-2", "items=0-5", "bytes2=0-1"])
def test_ranges_of_another_unit_are_ignored(
    client: httpx.Client, run: dict[str, Any], value: str
) -> None:
    path = f"{run['url']}/outputs/surface?format=npy"
    answer = client.get(path, headers={"Range": value})
    assert answer.status_code == 200
    assert answer.content == client.get(path).content


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/experiments"])
def test_filters_have_a_limited_number_of_conditions(client: httpx.Client, path: str) -> None:
    tags = [f"tag-{number}" for number in range(33)]
    options = {f"option_{number}": number for number in range(33)}
    for given in (tags, [",".join(tags)], [",".join(tags * 50)]):
        refused = client.get(path, params={"tag": given})
        assert refused.status_code == 422
        assert refused.json()["errors"] == [{"loc": ["tag"], "msg": "may be at most 32", "got": 33}]
    refused = client.get(path, params={"options": json.dumps(options)})
    assert [fault["loc"] for fault in refused.json()["errors"]] == [["options"]]
    for members in ({"tag": tags * 300}, {"options": {"a": options}}):
        body = {"filter": members, "count": 0}
        assert client.post(f"{path}:delete", json=body).status_code == 422
    # The same one again is no further condition.
    assert client.get(path, params={"tag": tags[1:] * 2}).status_code == 200


def test_all_unknown_query_parameters_are_named(client: httpx.Client, run: dict[str, Any]) -> None:
    refused = client.get(f"{run['url']}/trace?kinds=spawn&simple=3&limit=5")
    assert refused.status_code == 422
    faults = {fault["loc"][0]: fault["msg"] for fault in refused.json()["errors"]}
    assert set(faults) == {"kinds", "simple"}
    assert "did you mean 'kind'" in faults["kinds"]
    assert "did you mean 'sample'" in faults["simple"]


def test_every_route_refuses_unknown_query_parameters(server: RunningServer) -> None:
    client = server.client
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        if not path.startswith("/v1"):
            continue
        # Numbers are also ids, and an output has one of its names.
        place = re.sub(r"\{\w+\}", "0", path.replace("outputs/{name}", "outputs/surface"))
        for method in operations:
            headers = {"Content-Type": "application/json"}
            answer = client.request(method, f"{place}?no_such=1", content=b"{}", headers=headers)
            assert answer.status_code == 422, (method, place, answer.text)
            assert any(fault["loc"] == ["no_such"] for fault in answer.json()["errors"])


def test_other_paths_ignore_query_parameters(client: httpx.Client) -> None:
    for path in ("/livez?x=1", "/?utm=1", "/v2?x=1"):
        assert client.get(path).status_code == 200
