"""Bodies that routes parse themselves, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from energy_flow.choices import DatasetFormat
from service.media_types import FILE_FORMATS, JSON, OCTET_STREAM
from service.requests.query import COLUMN, FORMAT
from service.requests.safetensors_body import REQUEST
from service.schemas.json_schema import BINARY, refer_to
from service.schemas.simulate import SimulateFields

_FILE_PARAMETERS = {
    "model": {"type": "string"},
    "seed": {"type": "integer"},
    "sample_keys": {"type": "string", "description": "integers, separated by commas"},
    "options": {"type": "string", "description": "a JSON object"},
    "outputs": {"type": "string", "description": "names, separated by commas"},
    "trace": {"type": "string", "description": "a JSON object"},
    "store": {"type": "boolean"},
    "timeout_ms": {"type": "integer"},
    "name": {"type": "string"},
    "tags": {"type": "string", "description": "texts, separated by commas"},
    "note": {"type": "string"},
}


def describe_json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the ``openapi_extra`` of a route with a JSON body.

    Args:
        model: Model of the body.
    """
    return _describe({JSON: {"schema": refer_to(model)}})


def describe_file_body(*media_types: str) -> dict[str, Any]:
    """Return the ``openapi_extra`` of a route that receives a file.

    Args:
        media_types: Media types of the file.
    """
    return _describe(dict.fromkeys(media_types, BINARY))


def describe_embeddings_body(model: type[SimulateFields]) -> dict[str, Any]:
    """Return the ``openapi_extra`` of a route that receives embeddings in any of their forms.

    Args:
        model: Model of the JSON form.
    """
    tensors = f"the tensor embeddings, and the other members as JSON in the tensor {REQUEST}, uint8"
    file = describe_file("a file of embeddings; the other members are query parameters")
    content = {
        JSON: {"schema": refer_to(model)},
        **dict.fromkeys(FILE_FORMATS, file),
        OCTET_STREAM: describe_file(tensors),
    }
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": "with a body that is a file: the member of the JSON body",
            "schema": schema,
        }
        for name, schema in _FILE_PARAMETERS.items()
    ]
    about_the_file = {
        COLUMN: ("the column of the embeddings", {"type": "string"}),
        FORMAT: ("its format; else by Content-Type", {"enum": list(DatasetFormat)}),
    }
    parameters += [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": f"with a body that is a file: {description}",
            "schema": schema,
        }
        for name, (description, schema) in about_the_file.items()
    ]
    return {**_describe(content), "parameters": parameters}


def describe_file(description: str) -> dict[str, Any]:
    """Return the content of a file.

    Args:
        description: What the file has.
    """
    return {"schema": {**BINARY["schema"], "description": description}}


def _describe(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}
