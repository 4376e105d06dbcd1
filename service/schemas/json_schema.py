"""JSON schemas of models, as the OpenAPI document has them.

Routes refer to the schemas of their bodies and answers by name. FastAPI would make a validator for
each of them; here the document is made of all schemas at once when it is first requested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

BINARY: Final[Mapping[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
"""Content of a file."""

_TEMPLATE = "#/components/schemas/{model}"
_referenced: dict[str, type[BaseModel]] = {}


def refer_to(model: type[BaseModel]) -> dict[str, str]:
    """Return a reference to the schema of a model, which :func:`make_schemas` will contain.

    Args:
        model: The model; no other that is referred to has its name.
    """
    known = _referenced.setdefault(model.__name__, model)
    assert known is model, f"two models are called {model.__name__}"
    return {"$ref": _TEMPLATE.format(model=model.__name__)}


def make_schemas() -> dict[str, Any]:
    """Return the schemas of all models that were referred to, and of their parts, by name."""
    _, schemas = models_json_schema(
        [(model, "serialization") for model in _referenced.values()], ref_template=_TEMPLATE
    )
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions


def describe_record(names: Iterable[str], value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has a member of each name.

    Args:
        names: The names.
        value: Schema of each member.
    """
    members = [str(name) for name in names]
    return {
        "type": "object",
        "properties": dict.fromkeys(members, value),
        "required": members,
    }
