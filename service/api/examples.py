"""Examples of requests that a server answers, for its OpenAPI document."""

from __future__ import annotations

import json
import math
from typing import Any

from energy_flow.choices import Output, TraceKeep, TraceKind, names_of
from energy_flow.config.flow_config import FlowConfig


def make_examples(config: FlowConfig, preset: str) -> dict[str, dict[str, Any]]:
    """Return examples of JSON bodies by the paths of POST requests.

    Args:
        config: Config of the default model.
        preset: Name of the preset of new models.
    """
    runs = {
        "smallest": {"summary": "Required members only", "value": _make_smallest(config)},
        "full": {"summary": "All members", "value": _make_full(config)},
    }
    inference = {
        "smallest": {"summary": "JSON, all outputs but the trace", "value": _make_infer(config)},
        "full": {"summary": "All members", "value": _make_full_infer(config)},
    }
    model = {
        "name": "quiet",
        "preset": preset,
        "config": {
            "embedding_dim": config.embedding_dim,
            "noise_std": 0.0,
            "spawn": {"mode": "off"},
        },
        "model_seed": 1,
    }
    sweep = {
        "name": "noise-and-threshold",
        "dataset": "sentences",
        "options": _allow_noise(config),
        "sweep": {"grid": {"noise_std": [0.1, 0.2, 0.4]}},
        "seeds": [0, 1],
        "max_parallel": 2,
    }
    ablation = {"dataset": "pairs", "rows": [0, 4], "options": {"max_steps": 10}}
    return {
        "/v1/simulate": runs,
        "/v1/runs": runs,
        "/v2/models/{name}/infer": inference,
        "/v2/models/{name}/versions/{version}/infer": inference,
        "/v1/models": {"untrained": {"summary": "A model without noise", "value": model}},
        "/v1/models/{name}/ablations": {
            "held-out": {"summary": "Some pairs that were not trained on", "value": ablation}
        },
        "/v1/experiments": {"sweep": {"summary": "Six trials of a dataset", "value": sweep}},
    }


def _make_smallest(config: FlowConfig) -> dict[str, Any]:
    return {"embeddings": [_make_embedding(config)]}


def _make_full(config: FlowConfig) -> dict[str, Any]:
    return {
        "embeddings": [_make_embedding(config)],
        "model": "default",
        "seed": 7,
        "sample_keys": [0],
        "options": {**_allow_noise(config), "noise_std": 0.05, "spawn": {"mode": "off"}},
        "outputs": [Output.SURFACE.value, Output.HITS.value, Output.REACHED.value],
        "trace": {
            "capacity": 4096,
            "keep": TraceKeep.LATEST.value,
            "kinds": list(names_of(TraceKind)),
            "inline": 100,
        },
        "store": True,
        "timeout_ms": 60_000,
    }


def _make_infer(config: FlowConfig) -> dict[str, Any]:
    numbers = _make_embedding(config)
    shape = [1, len(numbers)]
    tensor = {"name": "embeddings", "shape": shape, "datatype": "FP32", "data": numbers}
    return {"inputs": [tensor]}


def _make_full_infer(config: FlowConfig) -> dict[str, Any]:
    return {
        **_make_infer(config),
        "id": "one",
        "parameters": {
            "seed": 7,
            "trace_capacity": 4096,
            "options": json.dumps({**_allow_noise(config), "noise_std": 0.05}),
            "timeout": 60_000_000,
        },
        "outputs": [
            {"name": "surface", "parameters": {"binary_data": False}},
            {"name": "trace_kind", "parameters": {"binary_data": False}},
        ],
    }


def _allow_noise(config: FlowConfig) -> dict[str, Any]:
    """Return the options with which a run of the model may have noise and any seed."""
    return {"deterministic": False} if config.deterministic else {}


def _make_embedding(config: FlowConfig) -> list[float]:
    return [round(0.05 * math.sin(position), 4) for position in range(1, config.embedding_dim + 1)]
