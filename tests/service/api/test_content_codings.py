"""Compressed bodies and answers below ``/v1``."""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable

import httpx
import numpy as np
import pytest

from tests.support.bodies import NPY, npy
from tests.support.servers import RunningServer, rows, wait_until_ended

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Coder = Callable[[bytes], bytes]

ENCODE: dict[str, Coder] = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}
DECODE: dict[str, Coder] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": zstd.decompress,
}

codings = pytest.mark.parametrize("coding", list(ENCODE))


def simulate(client: httpx.Client, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return client.post("/v1/simulate?store=false", content=body, headers={**NPY, **headers})


def read_without_decoding(client: httpx.Client, path: str, coding: str) -> tuple[bytes, str]:
    """Return the bytes of an answer as they were sent, and their coding."""
    with client.stream("GET", path, headers={"Accept-Encoding": coding}) as answer:
        assert answer.status_code == 200
        return b"".join(answer.iter_raw()), answer.headers.get("content-encoding", "")


@codings
def test_a_compressed_body_is_the_same_request(client: httpx.Client, coding: str) -> None:
    plain = npy(rows(3))
    expected = simulate(client, plain, {}).json()["outputs"]
    encoded = ENCODE[coding](plain)
    assert simulate(client, encoded, {"Content-Encoding": coding}).json()["outputs"] == expected
    # Codings are names without case.
    upper = {"Content-Encoding": coding.upper()}
    assert simulate(client, encoded, upper).json()["outputs"] == expected


@codings
def test_a_damaged_body_is_refused(client: httpx.Client, coding: str) -> None:
    encoded = ENCODE[coding](npy(rows(3)))
    for broken in (encoded[:-1], encoded[: len(encoded) // 2], npy(rows(3)), encoded + b"x"):
        refused = simulate(client, broken, {"Content-Encoding": coding})
        assert refused.status_code == 400, broken
        assert coding in refused.json()["detail"]


@codings
def test_a_small_body_that_becomes_large_is_refused(client: httpx.Client, coding: str) -> None:
    bomb = ENCODE[coding](bytes(200_000_000))
    refused = simulate(client, bomb, {"Content-Encoding": coding})
    assert refused.status_code == 413
    assert refused.json()["limit_bytes"] < 200_000_000


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_body_of_several_members(client: httpx.Client, coding: str) -> None:
    plain, encode = npy(rows(3)), ENCODE[coding]
    headers = {"Content-Encoding": coding}
    parts = b"".join(encode(plain[start : start + 9]) for start in range(0, len(plain), 9))
    assert simulate(client, parts, headers).status_code == 200
    refused = simulate(client, encode(b"") * 12_000, headers)
    assert refused.status_code == 400
    assert "more than 10,000 members" in refused.json()["detail"]


def test_an_unknown_coding_is_refused(client: httpx.Client) -> None:
    refused = simulate(client, b"x", {"Content-Encoding": "br"})
    assert refused.status_code == 415
    assert refused.headers["accept-encoding"] == "gzip, deflate, zstd"


@codings
def test_an_upload_may_be_compressed(client: httpx.Client, coding: str) -> None:
    name = f"sent_as_{coding}"
    headers = {"Content-Encoding": coding, **NPY}
    body = ENCODE[coding](npy(rows(5)))
    assert client.put(f"/v1/datasets/{name}", content=body, headers=headers).status_code == 201
    assert client.get(f"/v1/datasets/{name}").json()["rows"] == 5


@codings
def test_an_answer_is_compressed_if_its_coding_is_named_alone(
    client: httpx.Client, coding: str
) -> None:
    plain = client.get("/v1/models/default", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    sent, used = read_without_decoding(client, "/v1/models/default", coding)
    assert used == coding
    assert json.loads(DECODE[coding](sent)) == plain.json()
    assert len(sent) < len(plain.content)
    # Many clients list codings that they do not need.
    _, used = read_without_decoding(client, "/v1/models/default", "gzip, deflate, zstd")
    assert used == ""


@codings
def test_streams_are_compressed_and_stored_files_are_not(
    server: RunningServer, coding: str
) -> None:
    client = server.client
    answer = client.post("/v1/runs", content=npy(rows(40)), headers=NPY)
    url = wait_until_ended(client, answer.json()["run_id"])["url"]
    lines = client.get(f"{url}/trace?format=ndjson", headers={"Accept-Encoding": "identity"})
    sent, used = read_without_decoding(client, f"{url}/trace?format=ndjson", coding)
    assert used == coding
    assert DECODE[coding](sent) == lines.content
    for path in (f"{url}/trace?format=parquet", f"{url}/outputs/surface?format=npy"):
        sent, used = read_without_decoding(client, path, coding)
        assert used == ""
        assert len(sent) > 100
    part, used = read_without_decoding(client, f"{url}/outputs/surface?format=npy&sample=1", coding)
    assert used == coding
    assert np.load(io.BytesIO(DECODE[coding](part))).shape[0] == 1
