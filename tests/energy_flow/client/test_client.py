"""The clients against a real server over a real socket."""

from __future__ import annotations

import asyncio
import http.client
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from energy_flow.choices import Output, names_of
from energy_flow.client import (
    NO_RETRY,
    AsyncFlowClient,
    Conflict,
    FlowClient,
    NotFound,
    ServerUnreachable,
    Simulation,
    TruncatedTraceWarning,
    Unauthorized,
    Unprocessable,
)
from tests.support.live_server import TINY_FLAGS, LiveServer, live_server
from tests.support.waits import LIMIT_SECONDS

ALL_OUTPUTS = names_of(Output)


def assert_same(one: Simulation, other: Simulation) -> None:
    """Assert that all results of two runs are equal, bit for bit."""
    assert one.outputs.keys() == other.outputs.keys()
    for name, array in one.outputs.items():
        assert array.dtype == other.outputs[name].dtype
        np.testing.assert_array_equal(array, other.outputs[name])
    for name, column in one.trace.columns.items():
        np.testing.assert_array_equal(column, other.trace.columns[name])


def test_a_simulation_returns_everything(
    client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    result = client.simulate(embeddings, seed=3, outputs=ALL_OUTPUTS)
    assert set(result.outputs) == set(ALL_OUTPUTS)
    shapes = {name: array.shape for name, array in result.outputs.items()}
    assert (
        shapes.items()
        >= {
            "surface": (6, 4, 4),
            "planes": (6, 2, 4, 4),
            "hits": (6, 2, 4, 4),
            "reached": (6, 2, 4, 4),
            "embedding": (6, 8),
        }.items()
    )
    assert result.outputs["hits"].dtype == np.int32
    assert result.outputs["reached"].dtype == np.bool_
    np.testing.assert_array_equal(result.outputs["reached"], result.outputs["hits"] > 0)
    assert result.surface.dtype == np.float32
    assert (result.seed, result.model.trained, result.model.coord_version) == (3, False, 2)
    metrics = result.metrics
    assert metrics.initial == 6 * 16
    assert metrics.created == metrics.completed + metrics.stalled
    assert int(result.outputs["hits"].sum()) == metrics.completed == sum(metrics.planes.values())
    assert result.trace.totals["terminate"] == metrics.created
    assert result.memory.state_bytes > 0
    assert result.timing.total_ms >= result.timing.compute_ms > 0
    assert [sample["sample"] for sample in result.samples] == list(range(6))


def test_trace_columns_are_arrays_and_a_data_frame(
    client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    trace = client.simulate(embeddings, seed=3).trace
    assert len(trace) == sum(trace.totals.values())
    assert trace["energy"].dtype == np.float32
    frame = trace.to_pandas()
    assert list(frame.columns)[:4] == ["seq", "step", "kind", "sample"]
    counts = frame["kind"].value_counts()
    assert {str(kind): int(counts[kind]) for kind in counts.index} == trace.totals


@pytest.mark.parametrize("store", [True, False])
def test_a_trace_that_is_cut_at_inline_warns(
    client: FlowClient, embeddings: NDArray[np.float32], store: bool
) -> None:
    trace = client.simulate(embeddings, seed=3, store=store, trace={"inline": 7}).trace
    assert trace.inline_truncated
    whole = sum(trace.recorded.values())
    assert whole > 7
    part = f"7 of {whole:,} records, cut at inline"
    assert part in repr(trace)
    advice = "client.download_trace" if store else "trace={'inline': N}"
    with pytest.warns(TruncatedTraceWarning, match=part) as caught:
        frame = trace.to_pandas()
    assert len(frame) == 7
    assert advice in str(caught[0].message)
    assert caught[0].filename == __file__


def test_a_whole_trace_does_not_warn(client: FlowClient, embeddings: NDArray[np.float32]) -> None:
    trace = client.simulate(embeddings, seed=3).trace
    # Warnings are errors in tests.
    assert len(trace.to_pandas()) == len(trace)
    assert repr(trace) == f"Trace({len(trace):,} records)"


def test_an_answer_in_json_equals_one_in_tensors(
    server: LiveServer, client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    fields: dict[str, Any] = {
        "options": {"noise_std": 0.2, "spawn": {"max_children": 2}},
        "seed": 11,
        "sample_keys": [5, 4, 3, 2, 1, 0],
        "outputs": ALL_OUTPUTS,
        "trace": {"capacity": 64, "keep": "earliest", "kinds": ["spawn", "terminate"]},
        "model": "default",
        "timeout_ms": 60_000,
    }

    class InJson(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.headers["accept"] = "application/json"
            return super().handle_request(request)

    as_tensors = client.simulate(embeddings, **fields)
    with FlowClient(server.url, transport=InJson()) as other:
        as_json = other.simulate(embeddings, **fields)
    assert_same(as_json, as_tensors)
    assert len(as_tensors.trace) > 0
    assert as_tensors.samples == as_json.samples
    assert [sample["sample_key"] for sample in as_tensors.samples] == [5, 4, 3, 2, 1, 0]
    assert as_tensors.data.keys() == as_json.data.keys()
    assert as_tensors.data["trace"].keys() == as_json.data["trace"].keys()
    assert as_tensors.memory.predicted_bytes == as_json.memory.predicted_bytes
    # The caller may change the results.
    as_tensors.surface[:] = 0


def test_parts_with_their_keys_equal_the_whole(
    client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    whole = client.simulate(embeddings, seed=1).surface
    part = client.simulate(embeddings[4:], seed=1, sample_keys=[4, 5]).surface
    np.testing.assert_array_equal(whole[4:], part)


def test_a_dry_run_returns_the_cost(client: FlowClient, embeddings: NDArray[np.float32]) -> None:
    estimate = client.dry_run(embeddings)
    assert estimate.flows == 6 * 16
    assert estimate.predicted_bytes > 0
    assert estimate.flow_steps_bound >= estimate.flows


def test_a_stored_run_can_be_read_again(
    client: FlowClient, embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    result = client.simulate(embeddings, seed=2, outputs=ALL_OUTPUTS)
    assert result.run_id is not None
    run = client.run(result.run_id)
    assert (run.state, run.ended, run.problem) == ("succeeded", True, None)
    assert run.metrics == result.metrics
    assert client.wait(result.run_id) == run
    np.testing.assert_array_equal(client.inputs(result.run_id), embeddings)
    for name, array in result.outputs.items():
        stored = client.outputs(result.run_id, name)
        assert stored.dtype == array.dtype
        np.testing.assert_array_equal(stored, array)
    records = client.trace(result.run_id)
    for name, column in result.trace.columns.items():
        np.testing.assert_array_equal(records[name], column)
    assert client.memory(result.run_id) == result.memory
    assert client.profile(result.run_id)
    newest = next(iter(client.runs(page_size=1)))
    assert newest.run_id == result.run_id

    table = pq.read_table(client.download_trace(result.run_id, tmp_path / "trace.parquet"))
    assert table.num_rows == len(records)
    picture = client.download_heat_map(result.run_id, tmp_path / "surface.png", sample=3)
    assert picture.read_bytes().startswith(b"\x89PNG")

    client.delete_run(result.run_id)
    with pytest.raises(NotFound):
        client.run(result.run_id)


def test_a_queued_run_is_followed_to_its_end(
    client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    expected = client.simulate(embeddings, seed=8)
    queued = client.submit_run(embeddings, seed=8, idempotency_key="once only")
    again = client.submit_run(embeddings, seed=8, idempotency_key="once only")
    assert again.run_id == queued.run_id
    events = list(client.events(queued.run_id))
    assert events[-1].ended
    assert {"state", "step"} <= {event.event for event in events}
    assert all(event.id is not None for event in events)
    resumed = list(client.events(queued.run_id, last_event_id=events[-2].id))
    assert resumed == events[-1:]
    seen: list[str] = []
    run = client.wait(queued.run_id, lambda run: seen.append(run.state))
    assert (run.state, seen) == ("succeeded", ["succeeded"])
    assert run.metrics is not None
    assert run.metrics.completed == expected.metrics.completed
    np.testing.assert_array_equal(client.outputs(run.run_id), expected.surface)
    assert list(client.samples(run.run_id, page_size=4)) == list(expected.samples)
    with pytest.raises(Conflict):
        client.cancel(run.run_id)


def test_a_running_run_can_be_cancelled(client: FlowClient) -> None:
    # It would run for a million steps.
    options = {"max_steps": 10**6, "projection_age": 10**6, "displacement_scale": 1e-9}
    run = client.submit_run(
        np.zeros((4, 8)), options={**options, "convergence.enabled": False, "spawn.mode": "off"}
    )
    cancelled = client.cancel(run.run_id)
    assert client.wait(cancelled.run_id).state == "cancelled"


def test_a_trace_can_be_filtered(client: FlowClient, embeddings: NDArray[np.float32]) -> None:
    result = client.simulate(embeddings, seed=2)
    assert result.run_id is not None
    some = client.trace(result.run_id, kind="terminate", sample=3, step_from=1, step_to=2)
    assert set(some["kind"]) == {2}
    assert set(some["sample"]) == {3}
    assert set(some["step"]) <= {1, 2}
    both = client.trace(result.run_id, kind=["spawn", "reflect"])
    assert len(both) == result.trace.totals["spawn"] + result.trace.totals["reflect"]
    assert len(client.trace(result.run_id, limit=5)) == 5
    assert len(client.trace(result.run_id, flow=10**9)) == 0


def test_every_page_of_runs_is_read(client: FlowClient, embeddings: NDArray[np.float32]) -> None:
    made = [client.simulate(embeddings[:1]).run_id for _ in range(3)]
    listed = [run.run_id for run in client.runs(page_size=2)]
    assert listed[:3] == made[::-1]
    assert len(listed) == len(set(listed))
    assert set(made) <= {run.run_id for run in client.runs(state="succeeded", kind="simulate")}
    assert not set(made) & {run.run_id for run in client.runs(state="cancelled")}


def test_models(client: FlowClient, tmp_path: Path) -> None:
    config = {flag.partition("=")[0]: int(flag.partition("=")[2]) for flag in TINY_FLAGS[1::2]}
    model = client.create_model("second", preset="debug", config=config, model_seed=4)
    assert (model.name, model.trained, model.config["embedding_dim"]) == ("second", False, 8)
    assert {model.name for model in client.models()} >= {"default", "second"}
    assert client.model("second").config == model.config
    checkpoint = client.download_model("second", tmp_path / "second.safetensors")
    assert checkpoint.stat().st_size > 1000
    assert client.simulate(np.zeros((1, 8)), model="second").model.name == "second"
    with pytest.raises(Conflict):
        client.create_model("second", preset="debug")


def test_models_of_the_package(client: FlowClient) -> None:
    model = client.model("spectrometer")
    assert (model.trained, model.read_only, model.output_width) == (True, True, 200)
    assert model.description is not None
    assert model.sample_url == "/v1/models/spectrometer/sample"
    sample = client.sample_rows("spectrometer")
    assert sample.targets is not None
    assert (sample.inputs.shape, sample.targets.shape) == ((64, 100), (64, 200))
    assert sample.inputs.dtype == sample.targets.dtype == np.float32
    result = client.simulate(sample.inputs[:2], model="spectrometer", outputs=["embedding"])
    assert result.outputs["embedding"].shape == (2, 200)
    default = client.model("default")
    assert (default.description, default.sample_url) == (None, None)
    with pytest.raises(NotFound, match="spectrometer"):
        client.sample_rows("default")
    with pytest.raises(Conflict, match="part of Energy Flow"):
        client.delete_model("spectrometer")


def test_the_server_describes_itself(client: FlowClient) -> None:
    assert client.live()
    assert client.ready()
    assert "versions" in client.system()


def test_refusals_are_typed(client: FlowClient, embeddings: NDArray[np.float32]) -> None:
    with pytest.raises(Unprocessable, match="8") as caught:
        client.simulate(embeddings[:, :5])
    assert caught.value.errors
    invalid = embeddings.copy()
    invalid[2, 3] = np.nan
    with pytest.raises(Unprocessable, match="finite") as caught:
        client.simulate(invalid)
    assert caught.value.errors[0].loc == ("embeddings", 2, 3)
    with pytest.raises(Unprocessable) as caught:
        client.simulate(
            np.where(np.isnan(invalid), 1e39, invalid.astype(np.float64)),
            options={"noise_std": -1, "spawn.percentile": 200},
        )
    assert len(caught.value.errors) >= 2
    with pytest.raises(NotFound):
        client.simulate(embeddings, model="nowhere")
    with pytest.raises(NotFound):
        client.outputs("no-such-run")
    # The server still works.
    assert client.simulate(embeddings).metrics.completed > 0


@pytest.mark.slow
def test_a_key_is_required_and_sent(tmp_path: Path, embeddings: NDArray[np.float32]) -> None:
    with live_server(tmp_path, [*TINY_FLAGS, "--api-key", "open sesame"]) as guarded:
        with FlowClient(guarded.url) as client, pytest.raises(Unauthorized):
            client.simulate(embeddings)
        with FlowClient(guarded.url, api_key="wrong") as client, pytest.raises(Unauthorized):
            client.system()
        with FlowClient(guarded.url, api_key="open sesame") as client:
            assert client.simulate(embeddings).metrics.completed > 0


def test_an_unreachable_server_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with FlowClient(url) as client, pytest.raises(ServerUnreachable, match=url):
            client.system()


def test_the_asynchronous_client_does_the_same(
    server: LiveServer, client: FlowClient, embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    async def use() -> None:
        async with AsyncFlowClient(server.url, retry=NO_RETRY) as other:
            assert await other.live()
            assert await other.ready()
            await other.wait_until_ready(LIMIT_SECONDS)
            results = await asyncio.gather(
                *(other.simulate(embeddings, seed=9, outputs=ALL_OUTPUTS) for _ in range(3))
            )
            for result in results:
                assert_same(result, expected)
            run_id = results[0].run_id
            assert run_id is not None
            assert (await other.run(run_id)).state == "succeeded"
            assert (await other.wait(run_id)).ended
            np.testing.assert_array_equal(await other.outputs(run_id), expected.surface)
            assert len(await other.trace(run_id, limit=7)) == 7
            assert (await other.dry_run(embeddings)).flows == 96
            assert len([sample async for sample in other.samples(run_id)]) == 6
            queued = await other.submit_run(embeddings, seed=9)
            events = [event async for event in other.events(queued.run_id)]
            assert events[-1].ended
            with pytest.raises(Conflict):
                await other.cancel(queued.run_id)
            config = {"embedding_dim": 8, "mapper_hidden_dim": 16}
            assert (await other.create_model("async", config=config)).name == "async"
            assert (await other.memory(run_id)).state_bytes > 0
            assert await other.profile(run_id)
            assert await other.system()
            assert run_id in [run.run_id async for run in other.runs(page_size=2)]
            assert "default" in [model.name async for model in other.models()]
            assert (await other.model("default")).name == "default"
            assert (await other.sample_rows("dictionary")).inputs.shape == (256, 384)
            np.testing.assert_array_equal(await other.inputs(run_id), embeddings)
            trace = await other.download_trace(run_id, tmp_path / "trace.ndjson", format="ndjson")
            assert len(trace.read_bytes().splitlines()) == len(expected.trace)
            picture = await other.download_heat_map(run_id, tmp_path / "surface.png")
            assert picture.stat().st_size > 0
            model = await other.download_model("default", tmp_path / "model.safetensors")
            assert model.stat().st_size > 0
            await other.delete_run(run_id)
            with pytest.raises(NotFound):
                await other.run(run_id)

    expected = client.simulate(embeddings, seed=9, outputs=ALL_OUTPUTS)
    asyncio.run(use())


def test_importing_the_client_is_light() -> None:
    code = (
        "import sys, energy_flow.client\n"
        "heavy = {'torch', 'fastapi', 'pyarrow', 'pandas', 'matplotlib', 'pydantic'}\n"
        "sys.exit(f'imported: {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_server_closes_no_connection_before_its_clients_do(server: LiveServer) -> None:
    """Otherwise it could close a connection while a request is being sent."""
    keepalive = httpx.Limits().keepalive_expiry
    assert keepalive is not None
    url = httpx.URL(server.url)
    connection = http.client.HTTPConnection(url.host, url.port, timeout=LIMIT_SECONDS)
    for pause in (0.0, keepalive + 1.0):
        time.sleep(pause)
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
    connection.close()


def test_runs_are_labelled_listed_and_deleted(
    client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    queued = client.submit_run(embeddings, name="Queued", tags=["client", "b"], note="a\nb")
    assert (queued.name, queued.tags, queued.note) == ("Queued", ("b", "client"), "a\nb")
    client.wait(queued.run_id)
    simulated = client.simulate(embeddings, tags=["client"], options={"noise_std": 0.06}).run_id
    assert simulated is not None
    by_tag = [run.run_id for run in client.runs(tag="client", sort="created", page_size=1)]
    assert by_tag == [queued.run_id, simulated]
    assert [run.run_id for run in client.runs(tag=["client", "b"])] == [queued.run_id]
    given = client.runs(tag="client", options={"noise_std": 0.06})
    assert [run.run_id for run in given] == [simulated]
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert not list(client.runs(tag="client", created_before=hour_ago))
    assert len(list(client.runs(tag="client", created_after=hour_ago))) == 2
    changed = client.change_run(queued.run_id, name="")
    assert (changed.name, changed.tags) == (None, ("b", "client"))
    deletion = client.delete_runs([queued.run_id, "nothing", simulated])
    assert deletion.deleted == (queued.run_id, simulated)
    assert [one.id for one in deletion.kept] == ["nothing"]
    assert isinstance(deletion.kept[0].problem, NotFound)
