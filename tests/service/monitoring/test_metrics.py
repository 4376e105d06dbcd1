"""GET /metrics: values, names and the number of series."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.support.servers import ENDLESS, RunningServer, cancel, queue, rows, serving
from tests.support.waits import until

NAME = re.compile(r"(energy_flow|process)_[a-z0-9]+(_[a-z0-9]+)*")


WORKER = "{worker=local}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("metrics")) as running:
        yield running


def scrape(server: RunningServer) -> dict[str, float]:
    """Every sample by its name and labels."""
    answer = server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found: dict[str, float] = {}
    for family in parse(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={sample.labels[name]}" for name in sorted(sample.labels))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_a_simulation_is_counted(server: RunningServer) -> None:
    before = scrape(server)
    request = {"embeddings": rows(3).tolist(), "trace": {"capacity": 8}}
    answer = server.client.post("/v1/simulate", json=request).json()
    after = scrape(server)

    def rise(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    metrics, trace = answer["metrics"], answer["trace"]
    prefix = "energy_flow_"
    assert rise(f"{prefix}samples_total") == 3
    assert rise(f"{prefix}flows_started_total") == metrics["initial"]
    assert rise(f"{prefix}flows_spawned_total") == metrics["spawned"]
    assert rise(f"{prefix}reflections_total") == metrics["reflected"]
    assert rise(f"{prefix}flow_steps_total{WORKER}") == metrics["flow_steps"]
    assert rise(f"{prefix}step_duration_seconds_count{WORKER}") == metrics["steps"]
    for reason, count in metrics["terminated"].items():
        assert rise(f"{prefix}flows_terminated_total{{reason={reason}}}") == count
    for name, counts in (
        ("events", "totals"),
        ("records", "recorded"),
        ("records_lost", "dropped"),
    ):
        for kind, count in trace[counts].items():
            assert rise(f"{prefix}trace_{name}_total{{kind={kind}}}") == count
    assert sum(trace["dropped"].values()) > 0
    assert rise(f"{prefix}runs_ended_total{{state=succeeded}}") == 1
    assert rise(f"{prefix}runs{{state=succeeded}}") == 1
    for name in ("queue", "compute", "total"):
        assert rise(f"{prefix}run_{name}_seconds_count") == 1
    route = "method=POST,route=/v1/simulate"
    assert rise(f"{prefix}http_requests_total{{{route},status=200}}") == 1
    assert rise(f"{prefix}http_request_duration_seconds_count{{{route}}}") == 1
    assert after[f"{prefix}store_bytes"] > 0
    assert after[f"{prefix}host_memory_resident_bytes"] > 0
    # What torch does not measure on a CPU is left out.
    assert f"{prefix}device_memory_peak_bytes" not in after


def test_refusals_have_a_reason(server: RunningServer) -> None:
    name = "energy_flow_http_refusals_total{reason=invalid_input}"
    before = scrape(server).get(name, 0.0)
    server.client.post("/v1/simulate", json={"embeddings": [[1.0]]})
    assert scrape(server)[name] == before + 1


def test_gauges_show_running_work(server: RunningServer) -> None:
    run_id = queue(server.client, 3, options=ENDLESS)

    def busy() -> dict[str, float] | None:
        found = scrape(server)
        return found if found[f"energy_flow_active_flows{WORKER}"] > 0 else None

    found: dict[str, float] = until(busy)
    assert found[f"energy_flow_active_runs{WORKER}"] == 1
    assert found[f"energy_flow_admitted_bytes{WORKER}"] > 0
    assert found[f"energy_flow_admitted_flow_steps{WORKER}"] > 0
    assert 0 < found[f"energy_flow_pool_occupancy_ratio{WORKER}"] < 10
    cancel(server.client, run_id)


def test_labels_are_bounded(server: RunningServer) -> None:
    for number in range(20):
        server.client.get(f"/v1/runs/none-{number}")
        server.client.get(f"/none/{number}")
        server.client.request(f"VERB{number}", "/v1/runs")
    text = server.client.get("/metrics").text
    assert "none-" not in text
    assert "/none/" not in text
    assert "VERB" not in text
    assert 'route="/v1/runs/{run_id}"' in text


def test_conventions(server: RunningServer) -> None:
    text = server.client.get("/metrics").text
    families = list(parse(text))
    assert len(families) > 40
    for family in families:
        assert NAME.fullmatch(family.name), family.name
        assert family.documentation
        samples = {sample.name for sample in family.samples}
        assert all(not name.endswith("_created") for name in samples)
        if family.type == "counter":
            assert samples == {f"{family.name}_total"}
        elif family.type == "histogram":
            assert family.name.endswith("_seconds")
        else:
            assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_openmetrics_where_it_is_accepted(server: RunningServer) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = server.client.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert list(parse_openmetrics(answer.text))  # type: ignore[no-untyped-call]


def test_two_servers_count_for_themselves(server: RunningServer, tmp_path: Path) -> None:
    with serving(tmp_path) as other:
        other.client.post("/v1/simulate", json={"embeddings": rows(1).tolist()}).raise_for_status()
        assert scrape(other)["energy_flow_samples_total"] == 1
        assert scrape(server)["energy_flow_samples_total"] != 1


def test_a_key_is_required(tmp_path: Path) -> None:
    with serving(tmp_path, api_key="secret") as running:
        assert running.client.get("/metrics").status_code == 401
        key = {"Authorization": "Bearer secret"}
        answer: httpx.Response = running.client.get("/metrics", headers=key)
        assert answer.status_code == 200
        assert 'energy_flow_http_refusals_total{reason="not_authenticated"} 1.0' in answer.text
