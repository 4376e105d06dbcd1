"""The cost of a run: memory and step profile, their shapes and their JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from energy_flow import FlowProcessor, SimulationResult
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.model_footprint import parameter_count
from energy_flow.telemetry.profile import PHASES
from tests.support.small_model import LIVELY, embeddings, make_varied, small_config

COUNT = 3


def run(**options: Any) -> SimulationResult:
    return make_varied().simulate(embeddings(COUNT), options={**LIVELY, **options})


def check_plain(value: Any, path: str = "") -> None:
    """Assert that a document has JSON types and finite numbers only."""
    if isinstance(value, dict):
        assert all(isinstance(name, str) for name in value), path
        for name, inner in value.items():
            check_plain(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_plain(inner, f"{path}[{index}]")
    else:
        assert value is None or type(value) in {bool, int, float, str}, (path, type(value))
        assert not isinstance(value, float) or math.isfinite(value), path


def test_documents_are_plain_and_finite() -> None:
    for options in ({}, {"min_displacement": 9.0}, {"trace.capacity": 0}, {"max_steps": 6}):
        result = run(**options)
        for document in (
            result.metrics.to_dict(),
            result.memory.to_dict(),
            result.profile.to_dict(),
            *(sample.to_dict() for sample in result.samples),
            *(step.to_dict() for step in result.steps),
        ):
            check_plain(document)
            json.dumps(document, allow_nan=False)


def test_memory_report() -> None:
    result = run()
    document = result.memory.to_dict()
    assert set(document) == {
        *("device", "host", "state_bytes", "trace_bytes", "predicted_bytes", "steps"),
    }
    assert set(document["device"]) == {
        *("allocated_bytes", "reserved_bytes", "peak_bytes", "limit_bytes"),
    }
    assert set(document["host"]) == {"rss_bytes", "peak_rss_bytes"}
    assert [step["step"] for step in document["steps"]] == list(range(len(result.steps)))
    assert [step["active_flows"] for step in document["steps"]] == [s.active for s in result.steps]
    assert document["host"]["peak_rss_bytes"] >= document["host"]["rss_bytes"] > 0
    assert document["host"]["peak_rss_bytes"] == max(
        step["host_rss_bytes"] for step in document["steps"]
    )
    assert document["device"]["peak_bytes"] is None, "a processor of a CPU cannot know"
    assert document["state_bytes"] > 0


def test_bytes_of_the_ring_follow_its_capacity() -> None:
    assert run(**{"trace.capacity": 0}).memory.trace_bytes == 0
    assert run(**{"trace.kinds": []}).memory.trace_bytes == 0
    one, two = (run(**{"trace.capacity": n}).memory.trace_bytes for n in (100, 200))
    assert two == 2 * one
    assert one >= 100 * COUNT * (3 * 8 + 3 * 4 + 3 + 5 * 4) * 0.8


@pytest.mark.parametrize("capacity", [0, 100, 4096])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_stays_within_its_prediction(precision: str, capacity: int) -> None:
    result = run(**{"precision": precision, "trace.capacity": capacity})
    memory = result.memory
    config = make_varied().config.with_options(
        {**LIVELY, "precision": precision, "trace.capacity": capacity}
    )
    assert memory.predicted_bytes == footprint(config, COUNT).total
    assert memory.state_bytes <= footprint(config, COUNT).state
    assert memory.trace_bytes <= footprint(config, COUNT).trace


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"carrier_num_layers": 3, "lattice_width": 5, "neuron_output_dim": 3},
        {"carrier_hidden_size": 7, "mapper_hidden_dim": 9, "neuron_hidden_dim": 11},
    ],
)
def test_weights_are_predicted_from_shapes(fields: dict[str, int]) -> None:
    config = small_config(**fields)
    held = sum(parameter.numel() for parameter in FlowProcessor(config).parameters())
    assert parameter_count(config) == held


def test_prediction_grows_with_what_is_asked_for() -> None:
    base = footprint(small_config(), 2)
    assert footprint(small_config(), 4).state == 2 * base.state
    assert footprint(small_config(), 4).weights == base.weights
    assert footprint(small_config(max_active_flows=128), 2).state > base.state
    assert footprint(small_config(**{"trace.capacity": 8192}), 2).trace == 2 * base.trace


def test_profile() -> None:
    result = run()
    document = result.profile.to_dict()
    assert set(document) == {"steps", "mean", "max", "per_step"}
    assert document["steps"] == len(result.steps)
    assert set(document["mean"]) == set(document["max"]) == set(PHASES)
    per_step = document["per_step"]
    assert set(per_step) == {"active_flows", "pool_flows", *PHASES}
    assert all(len(column) == document["steps"] for column in per_step.values())
    assert per_step["active_flows"] == per_step["pool_flows"]
    assert per_step["active_flows"] == [COUNT * 16, *(s.active for s in result.steps[:-1])]
    for phase in PHASES:
        column = per_step[phase]
        assert min(column) >= 0
        assert document["max"][phase] == max(column)
        assert document["mean"][phase] == pytest.approx(sum(column) / len(column))
    for row in zip(*(per_step[phase] for phase in PHASES), strict=True):
        assert row[3] == pytest.approx(sum(row[:3]))
    metrics = result.metrics.to_dict()
    assert metrics["mean_step_ms"] == document["mean"]["step_ms"]
    assert metrics["max_step_ms"] == document["max"]["step_ms"]
    assert metrics["flow_steps"] == sum(per_step["active_flows"])
    assert result.flow_steps_per_second is not None
    assert result.flow_steps_per_second > 0


def test_profile_before_any_step(tmp_path: Path) -> None:
    state = make_varied().start(embeddings(1))
    (cohort,) = state.cohorts
    document = make_varied().finish(state, cohort).profile.to_dict()
    assert document["steps"] == 0
    assert set(document["mean"].values()) == set(document["max"].values()) == {None}
    file = tmp_path / "profile.json"
    run().profile.write(file)
    check_plain(json.loads(file.read_text(encoding="utf-8")))


def test_metrics_of_a_run_that_only_stalled() -> None:
    document = run(min_displacement=9.0).metrics.to_dict()
    assert document["completion_ratio"] == 0
    assert document["mean_path_steps"] == 1
    assert document["planes"] == {"z0": 0, "zdepth": 0}
