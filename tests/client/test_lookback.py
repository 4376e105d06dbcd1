"""Replay and comparison through both clients, and ``energy-flow trace``."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from energy_flow.client import AsyncFlowClient, Conflict, FlowClient, Run, Unprocessable
from tests.live_server import LIMIT_SECONDS, LiveServer, energy_flow

OPTIONS = {"noise_std": 0.3, "spawn.threshold": 0.15, "convergence.enabled": False}


@pytest.fixture(scope="module")
def run(server: LiveServer, embeddings: NDArray[np.float32]) -> Run:
    with FlowClient(server.url) as client:
        submitted = client.submit_run(embeddings, options=OPTIONS, trace={"keep": "lossless"})
        return client.wait(submitted.run_id)


def command(server: LiveServer, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    asked = [str(argument) for argument in arguments]
    return subprocess.run(
        energy_flow("trace", *asked, "--url", server.url),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def test_replay(client: FlowClient, run: Run) -> None:
    replay = client.replay(run.run_id, 2)
    assert replay.agrees
    assert replay.difference is None
    assert replay.flow is None
    records = client.trace(run.run_id, sample=2, kind="terminate")
    assert len(records) == len(replay.flows["flow"])
    ends = replay.flows["end_step"][records["flow"]]
    assert np.array_equal(ends, records["step"])
    for flow, step, x in zip(records["flow"], records["step"], records["x"], strict=True):
        at = (replay.path["flow"] == flow) & (replay.path["step"] == step)
        assert replay.path["x"][at].tolist() == [x]
    child = int(replay.flows["flow"][-1])
    kin = client.replay(run.run_id, 2, flow=child)
    assert set(kin.flows["flow"]) < set(replay.flows["flow"])
    assert kin.flows["parent"][-1] in kin.flows["flow"]


def test_compare(client: FlowClient, run: Run, embeddings: NDArray[np.float32]) -> None:
    other = client.submit_run(embeddings, options=OPTIONS, seed=5)
    client.wait(other.run_id)
    told = client.compare(run.run_id, other.run_id)
    assert (told.a, told.b) == (run.run_id, other.run_id)
    assert len(told.samples) == len(embeddings)
    first = told.samples[0].first_difference
    assert first is not None
    assert first.first != first.second
    same = client.compare(run.run_id, run.run_id)
    assert all(sample.first_difference is None for sample in same.samples)
    assert all(sample.surface_max_abs_difference == 0 for sample in same.samples)


def test_refusals(client: FlowClient, run: Run) -> None:
    with pytest.raises(Unprocessable, match="sample"):
        client.replay(run.run_id, 10**6)
    client.create_model("brief", preset="debug", config={"embedding_dim": 8})
    other = client.submit_run(np.zeros((1, 8), dtype=np.float32), model="brief")
    client.wait(other.run_id)
    with pytest.raises(Conflict, match="20 x 20"):
        client.compare(run.run_id, other.run_id)


def test_the_asynchronous_client_tells_the_same(client: FlowClient, run: Run) -> None:
    async def ask() -> Any:
        async with AsyncFlowClient(client.url) as other:
            return await asyncio.gather(
                other.replay(run.run_id, 1, flow=3), other.compare(run.run_id, run.run_id)
            )

    replay, comparison = asyncio.run(ask())
    expected = client.replay(run.run_id, 1, flow=3)
    assert replay.path["energy"].tolist() == expected.path["energy"].tolist()
    assert comparison == client.compare(run.run_id, run.run_id)


def test_filtered_downloads(client: FlowClient, run: Run, tmp_path: Path) -> None:
    path = client.download_trace(
        run.run_id, tmp_path / "t.parquet", kind=["spawn", "reflect"], sample=[1, 3], step_to=2
    )
    table = pq.read_table(path)
    records = client.trace(run.run_id, kind=["spawn", "reflect"], sample=[1, 3], step_to=2)
    assert table["seq"].to_pylist() == records["seq"].tolist()
    assert client.download_trace(run.run_id, tmp_path / "t.csv", format="csv").stat().st_size


def test_the_command_sums_up(server: LiveServer, run: Run) -> None:
    done = command(server, run.run_id)
    assert done.returncode == 0, done.stderr
    assert "none dropped" in done.stdout
    assert "projected" in done.stdout
    told = orjson.loads(command(server, run.run_id, "--json", "--kind", "spawn").stdout)
    trace = run.data["trace"]
    assert told["run"]["totals"] == trace["totals"]
    assert told["kinds"] == {"spawn": trace["totals"]["spawn"], "reflect": 0, "terminate": 0}


def test_the_command_converts_and_reads_files(server: LiveServer, run: Run, tmp_path: Path) -> None:
    whole = tmp_path / "trace.parquet"
    assert command(server, run.run_id, "--out", whole).returncode == 0
    for name in ("t.arrows", "t.ndjson", "t.csv", "t.pftrace"):
        here, there = tmp_path / name, tmp_path / f"server-{name}"
        for source, out in ((str(whole), here), (run.run_id, there)):
            done = command(server, source, "--sample", "2", "--out", out)
            assert done.returncode == 0, done.stderr
        if name == "t.pftrace":
            # The server adds what was counted at each step.
            assert 0 < here.stat().st_size < there.stat().st_size
        else:
            assert here.read_bytes() == there.read_bytes()
    told = orjson.loads(command(server, whole, "--json").stdout)
    assert told["kinds"] == run.data["trace"]["totals"]
    assert told["run"] is None


def test_the_command_draws(server: LiveServer, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "paths.png"
    done = command(server, run.run_id, "--picture", path, "--sample", "1")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("RUN", "--kind", "burst"), "--kind takes"),
        (("RUN", "--out", "trace.xls"), "tells no format"),
        (("RUN", "--format", "csv"), "--out"),
        (("RUN", "--out", "t.csv", "--format", "excel"), "--format takes"),
        (("no.parquet",), "there is no file"),
        (("none",), "there is no run"),
        (("RUN", "--picture", "p.png", "--sample", "1", "--sample", "2"), "one --sample"),
    ],
)
def test_the_command_refuses(
    server: LiveServer, run: Run, arguments: tuple[str, ...], words: str
) -> None:
    done = command(server, *(run.run_id if one == "RUN" else one for one in arguments))
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
