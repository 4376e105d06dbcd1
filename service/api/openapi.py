"""The OpenAPI document: request bodies that are read by hand, refusals, and examples that work."""

from __future__ import annotations

import math
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from energy_flow.config.flow_config import FlowConfig
from service.experiments.schemas import ExperimentFields
from service.open_inference import schemas as open_inference
from service.problems import MEDIA_TYPE, TITLES
from service.requests.decode import NPY
from service.requests.safetensors_body import ANSWER, REQUEST, SAFETENSORS
from service.requests.validate import JSON
from service.schemas import (
    ModelFields,
    ProblemView,
    RunRequest,
    SimulateFields,
    SimulateRequest,
)

_REF = "#/components/schemas/{model}"

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": TITLES[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="ProblemView")}}},
    }
    for status in (400, 401, 404, 406, 409, 413, 415, 422, 429, 500, 503, 504, 507)
}
"""Every answer that is not a good one, told alike."""

_NPY_QUERY = {
    "model": {"type": "string"},
    "seed": {"type": "integer"},
    "sample_keys": {"type": "string", "description": "integers with commas"},
    "options": {"type": "string", "description": "a JSON object"},
    "outputs": {"type": "string", "description": "names with commas"},
    "trace": {"type": "string", "description": "a JSON object"},
    "store": {"type": "boolean"},
    "timeout_ms": {"type": "integer"},
}


_READ_BY_HAND = (
    SimulateRequest,
    RunRequest,
    ModelFields,
    ExperimentFields,
    ProblemView,
    open_inference.InferRequest,
    open_inference.InferParameters,
    open_inference.IndexQuestion,
    open_inference.RepositoryAction,
    open_inference.TraceSetting,
    open_inference.LogSettings,
)


def simulate_body() -> dict[str, Any]:
    """The body of a request to simulate: JSON, ``.npy`` with query parameters, ``.safetensors``."""
    return _embeddings_body(SimulateRequest)


def run_body() -> dict[str, Any]:
    """The body of a request to queue a run, likewise."""
    return _embeddings_body(RunRequest)


def _embeddings_body(model: type[SimulateFields]) -> dict[str, Any]:
    return {
        **_body(
            {
                JSON: _schema(model),
                NPY: _binary("the embeddings; all else are query parameters"),
                SAFETENSORS: _binary(
                    f"the tensor embeddings, and all else as JSON in the tensor {REQUEST}, uint8"
                ),
            }
        ),
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": f"with a {NPY} body: as the member of the JSON body",
                "schema": schema,
            }
            for name, schema in _NPY_QUERY.items()
        ],
    }


def simulate_content() -> dict[int | str, dict[str, Any]]:
    """The further form that the answer to a simulation has."""
    told = (
        "with Accept: outputs by name, records of the trace as trace_seq, trace_step and so on, "
        f"and all else as JSON in the tensor {ANSWER}, uint8"
    )
    return {200: {"content": {SAFETENSORS: _binary(told)}}}


def model_body() -> dict[str, Any]:
    """The body of a request for a model."""
    return _body({JSON: _schema(ModelFields)})


def experiment_body() -> dict[str, Any]:
    """The body of a request for an experiment."""
    return _body({JSON: _schema(ExperimentFields)})


def file_body(*media_types: str) -> dict[str, Any]:
    """The body of a request that sends a file."""
    return _body({media_type: {"schema": {"format": "binary"}} for media_type in media_types})


def document(app: FastAPI, config: FlowConfig, preset: str) -> dict[str, Any]:
    """The document with examples that this server answers well.

    Args:
        config: of the default model.
        preset: by its name.
    """
    told = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
    )
    _, schemas = models_json_schema(
        [(model, "validation") for model in _READ_BY_HAND],
        ref_template=_REF,
    )
    told.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
    runs = {
        "smallest": {"summary": "Only what is required", "value": _smallest(config)},
        "full": {"summary": "Every choice made", "value": _full(config)},
    }
    inference = {
        "smallest": {"summary": "JSON, all outputs but the trace", "value": _inference(config)},
        "full": {"summary": "Every choice made", "value": _full_inference(config)},
    }
    model = {
        "name": "quiet",
        "preset": preset,
        "config": {"noise_std": 0.0, "spawn": {"mode": "off"}},
        "model_seed": 1,
    }
    sweep = {
        "name": "noise-and-threshold",
        "dataset": "sentences",
        "sweep": {"grid": {"noise_std": [0.1, 0.2, 0.4]}},
        "seeds": [0, 1],
        "max_parallel": 2,
    }
    for path, examples in (
        ("/v1/simulate", runs),
        ("/v1/runs", runs),
        ("/v2/models/{name}/infer", inference),
        ("/v2/models/{name}/versions/{version}/infer", inference),
        ("/v1/models", {"untrained": {"summary": "A model without noise", "value": model}}),
        ("/v1/experiments", {"sweep": {"summary": "Six trials of a data set", "value": sweep}}),
    ):
        told["paths"][path]["post"]["requestBody"]["content"][JSON]["examples"] = examples
    return told


def _smallest(config: FlowConfig) -> dict[str, Any]:
    return {"embeddings": [_embedding(config)]}


def _full(config: FlowConfig) -> dict[str, Any]:
    return {
        "embeddings": [_embedding(config)],
        "model": "default",
        "seed": 7,
        "sample_keys": [0],
        "options": {"noise_std": 0.05, "spawn": {"mode": "off"}},
        "outputs": ["surface", "hits"],
        "trace": {
            "capacity": 4096,
            "keep": "latest",
            "kinds": ["spawn", "reflect", "terminate"],
            "inline": 100,
        },
        "store": True,
        "timeout_ms": 60_000,
    }


def _inference(config: FlowConfig) -> dict[str, Any]:
    numbers = _embedding(config)
    shape = [1, len(numbers)]
    tensor = {"name": "embeddings", "shape": shape, "datatype": "FP32", "data": numbers}
    return {"inputs": [tensor]}


def _full_inference(config: FlowConfig) -> dict[str, Any]:
    return {
        **_inference(config),
        "id": "one",
        "parameters": {
            "seed": 7,
            "trace_capacity": 4096,
            "options": '{"noise_std": 0.05}',
            "timeout": 60_000_000,
        },
        "outputs": [
            {"name": "surface", "parameters": {"binary_data": False}},
            {"name": "trace_kind", "parameters": {"binary_data": False}},
        ],
    }


def _embedding(config: FlowConfig) -> list[float]:
    return [round(0.05 * math.sin(position), 4) for position in range(1, config.embedding_dim + 1)]


def _schema(model: type[SimulateFields | ModelFields | ExperimentFields]) -> dict[str, Any]:
    return {"schema": {"$ref": _REF.format(model=model.__name__)}}


def _binary(description: str) -> dict[str, Any]:
    return {"schema": {"type": "string", "format": "binary", "description": description}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}
