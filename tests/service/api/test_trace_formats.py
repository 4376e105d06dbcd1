"""GET /v1/runs/{id}/trace in each format: the same records; the stored file in parts."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import orjson
import pandas as pd
import pyarrow as pa
import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (  # type: ignore[import-untyped]
    Trace,
    TrackEvent,
)

from energy_flow.choices import TraceFormat
from energy_flow.trace.records import COLUMN_DTYPES
from tests.support.bodies import NPY, npy
from tests.support.servers import RunningServer, rows, wait_until_ended

COUNT = 1100
"""Samples of a run in several chunks."""


@pytest.fixture(scope="module")
def run(server: RunningServer) -> dict[str, Any]:
    answer = server.client.post(
        "/v1/runs",
        params={"trace": '{"keep": "lossless"}'},
        content=npy(rows(COUNT)),
        headers=NPY,
    )
    return wait_until_ended(server.client, answer.json()["run_id"])


@pytest.fixture(scope="module")
def url(run: dict[str, Any]) -> str:
    return f"{run['url']}/trace"


@pytest.fixture(scope="module")
def whole(server: RunningServer, url: str) -> bytes:
    return server.client.get(url).content


@pytest.fixture(scope="module")
def frame(whole: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(whole))


def in_format(client: httpx.Client, url: str, name: str, **query: Any) -> bytes:
    answer = client.get(url, params={"format": name, **query})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(TraceFormat(name).media_type)
    assert answer.headers["trace-format-version"] == "1"
    assert TraceFormat(name).suffixes[0] in answer.headers["content-disposition"]
    return answer.content


QUERIES: list[dict[str, Any]] = [
    {},
    {"sample": 700},
    {"kind": "spawn,reflect", "step_from": 1},
    {"flow": 5, "limit": 3},
    {"sample": 10**6},
]


@pytest.mark.slow
@pytest.mark.parametrize("query", QUERIES)
def test_every_format_has_the_same_records(
    client: httpx.Client, url: str, query: dict[str, Any]
) -> None:
    wanted = pd.read_parquet(io.BytesIO(in_format(client, url, "parquet", **query)))
    arrow = pa.ipc.open_stream(in_format(client, url, "arrow", **query)).read_pandas()
    assert arrow.equals(wanted)
    lines = in_format(client, url, "ndjson", **query).splitlines()
    assert [orjson.loads(line)["seq"] for line in lines] == wanted["seq"].tolist()
    text = pd.read_csv(io.BytesIO(in_format(client, url, "csv", **query)))
    assert list(text.columns) == list(COLUMN_DTYPES)
    for name in ("sample", "seq", "flow", "kind"):
        assert text[name].astype(str).tolist() == wanted[name].astype(str).tolist()
    packets = Trace.FromString(in_format(client, url, "perfetto", **query)).packet
    instants = [
        p
        for p in packets
        if p.HasField("track_event") and p.track_event.type == TrackEvent.TYPE_INSTANT
    ]
    assert len(instants) == len(wanted)


def test_perfetto_counts_equal_the_runs_metrics(
    client: httpx.Client, url: str, run: dict[str, Any]
) -> None:
    packets = Trace.FromString(in_format(client, url, "perfetto")).packet
    metrics = run["metrics"]
    types = Counter(p.track_event.type for p in packets if p.HasField("track_event"))
    assert types[TrackEvent.TYPE_SLICE_BEGIN] == metrics["created"]
    assert types[TrackEvent.TYPE_SLICE_END] == metrics["completed"] + metrics["stalled"]
    ended_flows = sum(metrics["terminated"].values())
    events = metrics["spawned"] + metrics["reflected"] + ended_flows
    assert types[TrackEvent.TYPE_INSTANT] == events
    tracks = {
        p.track_descriptor.uuid: p.track_descriptor.name
        for p in packets
        if p.HasField("track_descriptor") and p.track_descriptor.HasField("counter")
    }
    assert set(tracks.values()) == {"active flows", "host memory"}
    # Step by step, active flows are those that were made and have not ended.
    active = {
        p.timestamp: p.track_event.counter_value
        for p in packets
        if p.track_event.type == TrackEvent.TYPE_COUNTER
        and tracks[p.track_event.track_uuid] == "active flows"
    }
    changes: Counter[int] = Counter()
    for packet in packets:
        change = {TrackEvent.TYPE_SLICE_BEGIN: 1, TrackEvent.TYPE_SLICE_END: -1}
        changes[packet.timestamp] += change.get(packet.track_event.type, 0)
    for now, value in active.items():
        assert value == sum(count for when, count in changes.items() if when <= now)


def test_accept_chooses_the_format(client: httpx.Client, url: str) -> None:
    for known in TraceFormat:
        answer = client.get(url, headers={"accept": known.media_type})
        assert answer.headers["content-type"].startswith(known.media_type)
        assert answer.headers["vary"].startswith("Accept")


def test_the_stored_file_is_returned_unchanged(
    client: httpx.Client, server: RunningServer, run: dict[str, Any], url: str, whole: bytes
) -> None:
    folder = server.data_dir / "runs" / run["run_id"]
    assert (folder / "trace.parquet").read_bytes() == whole
    assert not (folder / "trace").exists()
    answer = client.get(url, headers={"accept-encoding": "gzip, br, zstd"})
    assert "content-encoding" not in answer.headers
    assert "no-transform" in answer.headers["cache-control"]
    assert answer.headers["accept-ranges"] == "bytes"
    assert int(answer.headers["content-length"]) == len(whole)
    tag = answer.headers["etag"]
    assert tag.startswith('"')
    assert tag == client.get(url).headers["etag"]


def test_ranges(client: httpx.Client, url: str, whole: bytes) -> None:
    size = len(whole)
    for asked, part in (
        ("bytes=0-99", whole[:100]),
        ("bytes=100-", whole[100:]),
        ("bytes=-8", whole[-8:]),
        (f"bytes=5-{size + 50}", whole[5:]),
    ):
        answer = client.get(url, headers={"range": asked})
        assert answer.status_code == 206
        assert answer.content == part
        assert answer.headers["content-range"].endswith(f"/{size}")
    answer = client.get(url, headers={"range": f"bytes={size}-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{size}"


def test_a_download_is_resumed(client: httpx.Client, url: str, whole: bytes) -> None:
    tag = client.get(url, headers={"range": "bytes=0-0"}).headers["etag"]
    got = whole[:1000]
    same = client.get(url, headers={"range": "bytes=1000-", "if-range": tag})
    assert same.status_code == 206
    assert got + same.content == whole
    changed = client.get(url, headers={"range": "bytes=1000-", "if-range": '"another"'})
    assert changed.status_code == 200
    assert changed.content == whole


def test_parts_that_the_caller_has_are_not_sent_again(client: httpx.Client, url: str) -> None:
    tag = client.get(url, headers={"range": "bytes=0-0"}).headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = client.get(url, headers={"if-none-match": known})
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["etag"] == tag
    assert client.get(url, headers={"if-none-match": '"other"'}).status_code == 200


def test_a_library_reads_a_part_over_http(
    client: httpx.Client, url: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    """The library reads the footer and the row groups that can hold the sample."""
    import pyarrow.parquet as pq

    class Remote(io.RawIOBase):
        read_bytes = 0
        position = 0
        size = int(
            client.get(url, headers={"range": "bytes=0-0"}).headers["content-range"].split("/")[1]
        )

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            self.position = offset + (0, self.position, self.size)[whence]
            return self.position

        def tell(self) -> int:
            return self.position

        def readinto(self, buffer: Any) -> int:
            last = min(self.position + len(buffer), self.size) - 1
            if last < self.position:
                return 0
            part = client.get(url, headers={"range": f"bytes={self.position}-{last}"}).content
            buffer[: len(part)] = part
            self.position += len(part)
            self.read_bytes += len(part)
            return len(part)

    remote: Any = Remote()
    table = pq.read_table(remote, filters=[("sample", "==", 7)])
    assert table.num_rows == int((frame["sample"] == 7).sum())
    assert remote.read_bytes < remote.size


def test_losses_are_reported(client: httpx.Client) -> None:
    for keep, lost in (("latest", True), ("earliest", True), ("lossless", False)):
        body = {
            "embeddings": rows(4).tolist(),
            "trace": {"keep": keep, "capacity": 5},
            "options": {"noise_std": 0.3},
        }
        document = client.post("/v1/simulate", json=body).json()
        trace, metrics = document["trace"], document["metrics"]
        assert trace["totals"]["terminate"] == sum(metrics["terminated"].values())
        assert trace["totals"]["spawn"] == metrics["spawned"]
        assert trace["totals"]["reflect"] == metrics["reflected"]
        assert (sum(trace["dropped"].values()) > 0) is lost
        assert ("trace_capacity" in metrics["overflow"]) is lost
        records = pd.DataFrame(trace["records"])
        assert len(records) == sum(trace["recorded"].values())
        firsts = records.groupby("sample")["seq"].min()
        assert (firsts > 0).all() == (keep == "latest")
