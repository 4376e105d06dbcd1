"""NVIDIA's unmodified client: each of its calls, over a socket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from energy_flow import pretrained
from energy_flow.choices import Output, names_of
from tests.support.inference_requests import KINDS, TRACE, TRACE_FLOATS, simulate
from tests.support.servers import RunningServer, rows
from tests.support.waits import LIMIT_SECONDS

OUTPUTS = names_of(Output)
# The default model is the first, and what callers made comes last.
PACKAGED = pretrained.names()[::-1]
COMPRESSIONS = (None, "gzip", "deflate")

Client: TypeAlias = triton.InferenceServerClient


@pytest.fixture
def kept_levels() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in ("energy_flow", "service")}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def given(array: Any, datatype: str = "FP32", binary: bool = True) -> list[Any]:
    tensor = triton.InferInput("embeddings", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return [tensor]


def wanted(names: tuple[str, ...], binary: bool = True) -> list[Any]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def test_health(client: Client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("energy_flow")
    assert client.is_model_ready("energy_flow", "1")
    assert not client.is_model_ready("energy_flow", "2")
    assert not client.is_model_ready("default")


def test_metadata(client: Client) -> None:
    server = client.get_server_metadata()
    assert server["name"] == "energy_flow"
    assert {"binary_tensor_data", "statistics", "model_repository"} <= set(server["extensions"])
    model = client.get_model_metadata("energy_flow", "1")
    assert model["versions"] == ["1"]
    assert model["inputs"] == [{"name": "embeddings", "datatype": "FP32", "shape": [-1, 8]}]
    outputs = {one["name"]: (one["datatype"], one["shape"]) for one in model["outputs"]}
    assert outputs["surface"] == ("FP32", [-1, 4, 4])
    assert outputs["hits"] == ("INT32", [-1, 2, 4, 4])
    assert outputs["planes"] == ("FP32", [-1, 2, 4, 4])
    assert outputs["reached"] == ("BOOL", [-1, 2, 4, 4])
    assert outputs["embedding"] == ("FP32", [-1, 8])
    assert outputs["trace_seq"] == ("INT64", [-1])
    assert outputs["trace_kind"] == ("UINT8", [-1])
    other = client.get_model_metadata("other")
    assert other["inputs"][0]["shape"] == [-1, 4]
    shapes = {one["name"]: one["shape"] for one in other["outputs"]}
    assert (shapes["reached"], shapes["embedding"]) == ([-1, 2, 5, 3], [-1, 6])
    config = client.get_model_config("energy_flow")
    assert config["max_batch_size"] == 0
    types = {one["name"]: one["data_type"] for one in config["output"]}
    assert types["reached"] == "TYPE_BOOL"
    assert config["input"] == [{"name": "embeddings", "data_type": "TYPE_FP32", "dims": [-1, 8]}]
    assert config["parameters"]["trained"] == {"string_value": "false"}


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
def test_results_are_those_of_simulate(
    client: Client, server: RunningServer, binary_in: bool, binary_out: bool
) -> None:
    embeddings = rows(5)
    columns = tuple(f"trace_{name}" for name in (*TRACE, *TRACE_FLOATS))
    result = client.infer(
        "energy_flow",
        given(embeddings, binary=binary_in),
        outputs=wanted((*OUTPUTS, *columns), binary_out),
        request_id="seven",
        parameters={"seed": 7, "options": json.dumps({"noise_std": 0.1})},
    )
    reported = simulate(
        server.client, embeddings, seed=7, options={"noise_std": 0.1}, outputs=list(OUTPUTS)
    )
    assert result.as_numpy("reached").dtype == np.bool_
    for name in OUTPUTS:
        ours = result.as_numpy(name)
        theirs = np.array(reported["outputs"][name], dtype=ours.dtype)
        assert ours.tobytes() == theirs.tobytes(), name
    records = reported["trace"]["records"]
    assert len(records["seq"]) > 0
    assert [KINDS[kind] for kind in result.as_numpy("trace_kind")] == records["kind"]
    for name in (*TRACE, *TRACE_FLOATS):
        if name != "kind":
            ours = result.as_numpy(f"trace_{name}")
            assert ours.tobytes() == np.array(records[name], dtype=ours.dtype).tobytes(), name
    answer = result.get_response()
    assert answer["id"] == "seven"
    assert answer["model_name"] == "energy_flow"
    assert answer["model_version"] == "1"
    parameters = answer["parameters"]
    assert all(isinstance(value, str | int | float) for value in parameters.values())
    times = {"mean_step_ms", "max_step_ms"}
    metrics = json.loads(parameters["metrics"])
    assert {k: v for k, v in metrics.items() if k not in times} == {
        k: v for k, v in reported["metrics"].items() if k not in times
    }
    assert json.loads(parameters["trace"])["totals"] == reported["trace"]["totals"]
    assert parameters["seed"] == 7
    assert parameters["predicted_bytes"] == reported["memory"]["predicted_bytes"]
    assert parameters["host_peak_rss_bytes"] > 0
    assert parameters["queue_ms"] >= 0
    assert parameters["compute_ms"] > 0


def test_an_inference_is_stored_as_a_run(client: Client, server: RunningServer) -> None:
    result = client.infer("energy_flow", given(rows(2)), parameters={"seed": 3})
    run_id = result.get_response()["parameters"]["run_id"]
    run = server.client.get(f"/v1/runs/{run_id}").json()
    assert run["state"] == "succeeded"
    assert run["seed"] == 3
    surface = server.client.get(f"/v1/runs/{run_id}/outputs/surface?format=json").json()
    assert np.array_equal(np.array(surface["data"], dtype=np.float32), result.as_numpy("surface"))
    trace = server.client.get(f"/v1/runs/{run_id}/trace?format=ndjson")
    assert len(trace.text.splitlines()) > 0


def test_a_run_that_is_not_stored(client: Client, server: RunningServer) -> None:
    result = client.infer("energy_flow", given(rows(2)), parameters={"store": False})
    run_id = result.get_response()["parameters"]["run_id"]
    assert server.client.get(f"/v1/runs/{run_id}").status_code == 404


def test_outputs_that_are_not_named(client: Client) -> None:
    result = client.infer("energy_flow", given(rows(2)))
    assert [one["name"] for one in result.get_response()["outputs"]] == list(OUTPUTS)


@pytest.mark.parametrize("response", COMPRESSIONS)
@pytest.mark.parametrize("request_", COMPRESSIONS)
def test_compression(client: Client, request_: str | None, response: str | None) -> None:
    plain = client.infer("energy_flow", given(rows(9)))
    result = client.infer(
        "energy_flow",
        given(rows(9)),
        request_compression_algorithm=request_,
        response_compression_algorithm=response,
    )
    for name in OUTPUTS:
        assert result.as_numpy(name).tobytes() == plain.as_numpy(name).tobytes()


@pytest.mark.parametrize("datatype", ["FP16", "FP64", "BF16"])
def test_other_floats(client: Client, datatype: str) -> None:
    dtypes = {"FP16": np.float16, "FP64": np.float64, "BF16": ml_dtypes.bfloat16}
    array = rows(3).astype(dtypes[datatype])
    result = client.infer("energy_flow", given(array, datatype))
    plain = client.infer("energy_flow", given(array.astype(np.float32)))
    assert result.as_numpy("surface").tobytes() == plain.as_numpy("surface").tobytes()


def test_a_trace_without_room(client: Client) -> None:
    result = client.infer(
        "energy_flow",
        given(rows(2)),
        outputs=wanted(("trace_seq",)),
        parameters={"trace_capacity": 0},
    )
    assert result.as_numpy("trace_seq").shape == (0,)
    assert sum(json.loads(result.get_response()["parameters"]["trace"])["totals"].values()) > 0


def test_async_infer(client: Client) -> None:
    waiting = [client.async_infer("energy_flow", given(rows(2))) for _ in range(3)]
    surfaces = [one.get_result().as_numpy("surface").tobytes() for one in waiting]
    assert len(set(surfaces)) == 1


def test_timeout(client: Client) -> None:
    with pytest.raises(InferenceServerException, match="deadline") as reported:
        client.infer(
            "energy_flow",
            given(np.repeat(rows(50), 20, 0)),
            timeout=1,
            parameters={"options": json.dumps({"max_steps": 200})},
        )
    assert reported.value.status() == "504"
    assert client.infer("energy_flow", given(rows(1)), timeout=30_000_000) is not None


def test_statistics(client: Client) -> None:
    def held() -> dict[str, Any]:
        return dict(client.get_inference_statistics("energy_flow")["model_stats"][0])

    before = held()
    client.infer("energy_flow", given(rows(3)))
    with pytest.raises(InferenceServerException):
        client.infer("energy_flow", given(rows(3)), parameters={"seed": -1})
    after = held()
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    for stage in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        reported, earlier = after["inference_stats"][stage], before["inference_stats"][stage]
        assert reported["count"] - earlier["count"] == 1
        assert reported["ns"] > earlier["ns"]
    assert after["memory_usage"][0]["byte_size"] > 0
    names = [one["name"] for one in client.get_inference_statistics()["model_stats"]]
    assert names == ["energy_flow", *PACKAGED, "other"]


def test_repository(client: Client) -> None:
    def states() -> dict[str, str]:
        return {one["name"]: one["state"] for one in client.get_model_repository_index()}

    unloaded = dict.fromkeys(PACKAGED, "UNAVAILABLE")
    assert states() == {"energy_flow": "READY", **unloaded, "other": "READY"}
    client.unload_model("other")
    assert states()["other"] == "UNAVAILABLE"
    assert not client.is_model_ready("other")
    with pytest.raises(InferenceServerException, match="not loaded"):
        client.infer("other", given(rows(1)[:, :4]))
    client.load_model("other")
    assert client.is_model_ready("other")
    result = client.infer("other", given(rows(2)[:, :4].copy()), model_version="1")
    assert result.as_numpy("surface").shape == (2, 5, 3)
    assert result.as_numpy("embedding").shape == (2, 6)
    with pytest.raises(InferenceServerException, match="cannot be unloaded"):
        client.unload_model("energy_flow")
    with pytest.raises(InferenceServerException, match="no model"):
        client.load_model("none")
    with pytest.raises(InferenceServerException, match="without the parameters config"):
        client.load_model("other", config="{}")


def test_trace_settings_are_read_only(client: Client) -> None:
    settings = client.get_trace_settings()
    assert settings["trace_level"] == ["OFF"]
    assert client.get_trace_settings("energy_flow") == settings
    assert client.update_trace_settings(settings={"trace_level": None}) == settings
    assert client.update_trace_settings("energy_flow", {"trace_level": ["OFF"]}) == settings
    with pytest.raises(InferenceServerException, match="read only"):
        client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})


@pytest.mark.usefixtures("kept_levels")
def test_log_settings(client: Client) -> None:
    assert client.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
    assert logging.getLogger("service").level == logging.DEBUG
    quiet = client.update_log_settings({"log_verbose_level": 0, "log_info": False})
    assert (quiet["log_info"], quiet["log_warning"]) == (False, True)
    assert client.get_log_settings() == quiet
    with pytest.raises(InferenceServerException, match="cannot be changed"):
        client.update_log_settings({"log_file": "elsewhere"})


def test_shared_memory_is_not_offered(client: Client) -> None:
    for call in (
        client.get_system_shared_memory_status,
        client.get_cuda_shared_memory_status,
        client.unregister_system_shared_memory,
        client.unregister_cuda_shared_memory,
        lambda: client.get_system_shared_memory_status("region"),
        lambda: client.register_system_shared_memory("region", "/key", 8),
        lambda: client.register_cuda_shared_memory("region", b"handle", 0, 8),
    ):
        with pytest.raises(InferenceServerException, match="shared memory") as reported:
            call()
        assert reported.value.status() == "501"
    tensor = triton.InferInput("embeddings", [1, 8], "FP32")
    tensor.set_shared_memory("region", 32)
    with pytest.raises(InferenceServerException, match="shared memory"):
        client.infer("energy_flow", [tensor])


def test_asyncio(address: str) -> None:
    async def calls() -> None:
        async with triton_aio.InferenceServerClient(address, conn_timeout=LIMIT_SECONDS) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("energy_flow")
            assert (await client.get_server_metadata())["name"] == "energy_flow"
            assert (await client.get_model_metadata("energy_flow"))["platform"] == "energy_flow"
            assert (await client.get_model_config("energy_flow"))["backend"] == "energy_flow"
            assert len(await client.get_model_repository_index()) == 2 + len(PACKAGED)
            await client.unload_model("other")
            await client.load_model("other")
            assert (await client.get_inference_statistics())["model_stats"]
            settings = await client.get_trace_settings()
            assert await client.update_trace_settings(settings={}) == settings
            assert await client.update_log_settings({}) == await client.get_log_settings()
            with pytest.raises(InferenceServerException):
                await client.get_system_shared_memory_status()
            results = await asyncio.gather(
                *(
                    client.infer(
                        "energy_flow",
                        given(rows(4), binary=binary),
                        outputs=wanted(OUTPUTS, binary),
                        request_compression_algorithm=request,
                        response_compression_algorithm=response,
                    )
                    for binary in (True, False)
                    for request in COMPRESSIONS
                    for response in COMPRESSIONS
                )
            )
            for name in OUTPUTS:
                assert len({result.as_numpy(name).tobytes() for result in results}) == 1

    asyncio.run(calls())
