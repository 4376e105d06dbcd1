"""POST /v1/simulate: the answer in each form, alone and beside other requests."""

from __future__ import annotations

import asyncio
import io
import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from energy_flow import FlowProcessor
from energy_flow.choices import Output, names_of
from energy_flow.testing import tiny_config
from energy_flow.trace.records import COLUMN_DTYPES, KINDS
from service.requests.decode import parse_request
from tests.support.bodies import NPY, npy
from tests.support.servers import (
    DIMENSION,
    RunningServer,
    find_leftovers,
    request_endless_run,
    rows,
)
from tests.support.waits import until

OUTPUTS = list(names_of(Output))


def simulate(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/simulate", json={"embeddings": rows().tolist(), **fields})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def without_costs(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the members that equal requests have in common."""
    metrics = {name: value for name, value in answer["metrics"].items() if "step_ms" not in name}
    kept = ("outputs", "samples", "seed", "model", "warnings")
    trace = {**answer["trace"], "url": None}
    return {**{name: answer[name] for name in kept}, "metrics": metrics, "trace": trace}


def test_only_embeddings_are_required(client: httpx.Client) -> None:
    answer = simulate(client)
    assert set(answer) == {
        "run_id",
        "model",
        "seed",
        "outputs",
        "trace",
        "memory",
        "metrics",
        "timing",
        "samples",
        "warnings",
    }
    digest = client.get("/v1/models/default").json()["digest"]
    document = {"name": "default", "trained": False, "coord_version": 2, "digest": digest}
    assert answer["model"] == document
    assert list(answer["outputs"]) == ["surface"]
    assert np.shape(answer["outputs"]["surface"]) == (3, 4, 4)
    assert [sample["sample"] for sample in answer["samples"]] == [0, 1, 2]
    assert [sample["sample_key"] for sample in answer["samples"]] == [0, 1, 2]


def test_the_answer_has_every_field_of_the_contract(client: httpx.Client) -> None:
    answer = simulate(client, outputs=OUTPUTS)
    assert set(answer["trace"]) == {
        "totals",
        "recorded",
        "dropped",
        "records",
        "inline_truncated",
        "url",
    }
    assert list(answer["trace"]["records"]) == list(COLUMN_DTYPES)
    assert set(answer["memory"]) == {
        "device",
        "host",
        "state_bytes",
        "trace_bytes",
        "predicted_bytes",
        "steps",
    }
    device = answer["memory"]["device"]
    assert device.pop("limit_bytes") > 0
    assert device == {"allocated_bytes": None, "reserved_bytes": None, "peak_bytes": None}
    assert set(answer["timing"]) == {
        "queue_ms",
        "compute_ms",
        "total_ms",
        "flow_steps_per_second",
    }
    assert {
        "created",
        "initial",
        "spawned",
        "completed",
        "stalled",
        "terminated",
        "planes",
        "reflected",
        "spawns_suppressed",
        "steps",
        "flow_steps",
        "mean_path_steps",
        "mean_path_length",
        "z_displacement_variance",
        "completion_ratio",
        "mean_step_ms",
        "max_step_ms",
        "overflow",
    } <= set(answer["metrics"])
    assert np.shape(answer["outputs"]["planes"]) == (3, 2, 4, 4)
    assert np.shape(answer["outputs"]["hits"]) == (3, 2, 4, 4)
    assert np.shape(answer["outputs"]["embedding"]) == (3, DIMENSION)


def test_counts_agree_with_each_other(client: httpx.Client) -> None:
    answer = simulate(client, outputs=["hits"])
    metrics, trace = answer["metrics"], answer["trace"]
    assert metrics["created"] == metrics["initial"] + metrics["spawned"]
    assert metrics["created"] == metrics["completed"] + metrics["stalled"]
    assert np.sum(answer["outputs"]["hits"]) == metrics["completed"]
    assert trace["totals"] == {
        "spawn": metrics["spawned"],
        "reflect": metrics["reflected"],
        "terminate": sum(metrics["terminated"].values()),
    }
    kinds = trace["records"]["kind"]
    assert {kind: kinds.count(kind) for kind in KINDS} == trace["recorded"]
    for name in ("created", "spawned", "completed", "flow_steps"):
        assert sum(sample[name] for sample in answer["samples"]) == metrics[name]


def test_answers_equal_the_results_of_the_processor(client: httpx.Client) -> None:
    answer = simulate(client, outputs=OUTPUTS, seed=7, sample_keys=[5, 6, 7])
    processor = FlowProcessor(tiny_config())
    result = processor.simulate(rows(), seed=7, sample_keys=[5, 6, 7], outputs=OUTPUTS)
    for name, expected in result.outputs.items():
        assert np.array_equal(np.array(answer["outputs"][name], dtype=expected.dtype), expected)
    records = answer["trace"]["records"]
    for name, dtype in COLUMN_DTYPES.items():
        document = (
            [KINDS.index(kind) for kind in records[name]] if name == "kind" else records[name]
        )
        assert np.array_equal(np.array(document, dtype=dtype), result.trace.columns[name])
    expected_metrics = result.metrics.to_dict()
    for name in set(expected_metrics) - {"mean_step_ms", "max_step_ms"}:
        assert answer["metrics"][name] == expected_metrics[name]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_body_is_equivalent(client: httpx.Client, dtype: Any, order: Any) -> None:
    by_json = simulate(
        client,
        seed=3,
        sample_keys=[4, 5, 6],
        outputs=["surface", "hits"],
        options={"noise_std": 0.1},
        trace={"capacity": 8, "inline": 5},
    )
    answer = client.post(
        "/v1/simulate",
        params={
            "seed": 3,
            "sample_keys": "4,5,6",
            "outputs": "surface,hits",
            "options": json.dumps({"noise_std": 0.1}),
            "trace": json.dumps({"capacity": 8, "inline": 5}),
        },
        content=npy(np.asarray(rows(), dtype=dtype, order=order)),
        headers=NPY,
    )
    assert answer.status_code == 200, answer.text
    assert without_costs(answer.json()) == without_costs(by_json)


def test_simultaneous_requests_have_independent_results(client: httpx.Client) -> None:
    bodies = [
        {"embeddings": rows(40, seed).tolist(), "seed": seed, "outputs": ["surface", "hits"]}
        for seed in range(6)
    ]

    def ask(body: dict[str, Any]) -> dict[str, Any]:
        return without_costs(client.post("/v1/simulate", json=body).json())

    alone = [ask(body) for body in bodies]
    with ThreadPoolExecutor(6) as callers:
        together = list(callers.map(ask, bodies))
    assert together == alone


def test_a_batch_in_two_parts_with_keys_equals_the_whole(client: httpx.Client) -> None:
    whole = simulate(client, embeddings=rows(6).tolist())
    parts = [
        simulate(client, embeddings=rows(6)[a:b].tolist(), sample_keys=list(range(a, b)))
        for a, b in ((0, 2), (2, 6))
    ]
    joined = [surface for part in parts for surface in part["outputs"]["surface"]]
    assert joined == whole["outputs"]["surface"]


@pytest.mark.slow
def test_a_run_in_many_chunks_is_one_answer(client: httpx.Client) -> None:
    batch = rows(1500)
    answer = client.post(
        "/v1/simulate?outputs=surface,hits",
        content=npy(batch),
        headers=NPY,
    ).json()
    processor = FlowProcessor(tiny_config())
    expected = processor.simulate(batch, outputs=("surface", "hits"))
    for name, output in expected.outputs.items():
        assert np.array_equal(np.array(answer["outputs"][name], dtype=output.dtype), output)
    metrics = expected.metrics.to_dict()
    for name in set(metrics) - {"mean_step_ms", "max_step_ms"}:
        assert answer["metrics"][name] == metrics[name], name
    assert answer["trace"]["totals"] == expected.trace.totals
    assert answer["trace"]["inline_truncated"]
    assert len(answer["trace"]["records"]["seq"]) == 10_000
    assert [sample["sample"] for sample in answer["samples"]] == list(range(1500))


def test_the_trace_in_the_answer_can_be_cut(client: httpx.Client) -> None:
    whole = simulate(client)["trace"]
    cut = simulate(client, trace={"inline": 4})["trace"]
    assert cut["inline_truncated"]
    assert not whole["inline_truncated"]
    assert cut["totals"] == whole["totals"]
    assert {name: column[:4] for name, column in whole["records"].items()} == cut["records"]


def test_tracing_can_be_switched_off(client: httpx.Client) -> None:
    trace = simulate(client, trace={"capacity": 0})["trace"]
    assert trace["records"]["seq"] == []
    assert sum(trace["totals"].values()) > 0
    assert sum(trace["recorded"].values()) == 0


def test_an_overflow_is_reported(client: httpx.Client) -> None:
    answer = simulate(client, trace={"capacity": 2})
    assert "trace_capacity" in answer["metrics"]["overflow"]
    assert sum(answer["trace"]["dropped"].values()) > 0


def test_warnings_are_reported(client: httpx.Client) -> None:
    options = {"max_steps": 2, "convergence": {"min_steps": 50}}
    assert simulate(client, options=options)["warnings"]


def test_a_run_need_not_be_stored(client: httpx.Client) -> None:
    answer = simulate(client, store=False)
    assert answer["trace"]["url"] is None
    assert client.get(f"/v1/runs/{answer['run_id']}").status_code == 404


def test_a_stored_run_can_be_read(client: httpx.Client) -> None:
    answer = simulate(client, seed=11)
    run = client.get(f"/v1/runs/{answer['run_id']}").json()
    assert run["state"] == "succeeded"
    assert run["metrics"] == answer["metrics"]
    assert run["seed"] == 11
    assert run["error"] is None
    assert client.get(answer["trace"]["url"]).status_code == 200


def test_numbers_are_finite_or_null(client: httpx.Client) -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for entry in value:
                check(entry)
        if isinstance(value, float):
            assert math.isfinite(value)

    options = {"spawn": {"mode": "off"}, "min_displacement": 3.0}
    check(simulate(client, options=options, outputs=OUTPUTS))


def test_a_dry_run_returns_the_cost_and_runs_nothing(server: RunningServer) -> None:
    client = server.client
    # Runs of other tests may still be on their way out.
    server.wait_until_idle()
    before = client.get("/v1/system").json()["engine"]["flow_steps"]
    answer = client.post("/v1/simulate?dry_run=true", json={"embeddings": rows().tolist()})
    assert answer.status_code == 200
    document = answer.json()
    assert document["flows"] == 3 * 16
    # Flows can double in each step, up to the limit of 64.
    assert document["flow_steps_bound"] == 3 * (16 + 32 + 64 + 64)
    body = {"embeddings": rows().tolist(), "options": {"spawn.mode": "off"}}
    without_spawning = client.post("/v1/simulate?dry_run=true", json=body).json()
    assert without_spawning["flow_steps_bound"] == 3 * 16 * 4
    assert document["predicted_bytes"] > 0
    assert document["queue_wait_ms"] >= 0
    assert client.get("/v1/system").json()["engine"]["flow_steps"] == before
    bad = client.post("/v1/simulate?dry_run=true", json={"embeddings": [[1.0]]})
    assert bad.status_code == 422


def test_a_disconnect_ends_the_run_of_the_request(server: RunningServer) -> None:
    client = server.client

    def kept() -> list[str]:
        runs = client.get("/v1/runs?limit=1000").json()["items"]
        return find_leftovers(server.data_dir) + [run["run_id"] for run in runs]

    server.wait_until_idle()
    before = kept()
    with request_endless_run(server):
        until(lambda: client.get("/v1/system").json()["engine"]["active_samples"])
    # Of itself it would never end.
    server.wait_until_idle()
    until(lambda: kept() == before)
    assert simulate(client)["metrics"]["created"] > 0


@pytest.mark.slow
def test_the_event_loop_runs_while_a_large_body_is_parsed() -> None:
    numbers = np.random.default_rng(0).normal(size=(4000, 768)).astype(np.float32)
    buffer = io.BytesIO()
    buffer.write(b'{"embeddings":')
    buffer.write(json.dumps(numbers.tolist()).encode())
    buffer.write(b"}")
    body = buffer.getvalue()
    assert len(body) > 30_000_000

    async def rounds_meanwhile() -> int:
        reading = asyncio.create_task(parse_request(body, "application/json", {}))
        rounds = 0
        while not reading.done():
            await asyncio.sleep(0.001)
            rounds += 1
        request = reading.result()
        assert request.numbers is not None
        assert np.array_equal(request.numbers.astype(np.float32), numbers)
        return rounds

    # A parser that holds the interpreter's lock to the end would allow one or two.
    assert asyncio.run(rounds_meanwhile()) > 5


def test_probes_are_answered_while_a_large_body_is_read(server: RunningServer) -> None:
    client = server.client
    text = json.dumps(rows(9_000).tolist(), separators=(",", ":"))[:-1]
    body = f'{{"embeddings":{text}]}}'.encode()
    assert len(body) < 2_000_000
    headers = {"content-type": "application/json"}
    answered = 0
    with ThreadPoolExecutor(1) as caller:
        # The body may be read before the first probe is on its way; then it is sent again.
        while not answered:
            asked = caller.submit(
                client.post, "/v1/simulate?dry_run=true", content=body, headers=headers
            )
            while not asked.done():
                assert client.get("/livez").status_code == 200
                answered += not asked.done()
            assert asked.result().status_code == 200
