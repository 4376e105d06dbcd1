"""What a body of an answer holds, as JSON data that can be kept and compared.

Numbers of large or binary bodies are kept as their SHA-256, or as they are where they will be
computed anew, which another machine may do with other last bits.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors

MOST_VALUES = 4000
"""Numbers of an array that are kept as they are."""

MOST_ROWS = 8
"""Rows of a table that are kept as they are."""


def body_of(media_type: str, content: bytes, *, values: bool) -> dict[str, Any]:
    """Return what a body holds, under a name for its kind.

    Args:
        media_type: of the body, without parameters.
        values: keep the numbers of arrays as they are, not their digest.

    Raises:
        ValueError: no answer has this media type.
    """
    if not content:
        return {"empty": True}
    match media_type:
        case "application/json" | "application/problem+json":
            return {"json": _unfolded(_sorted_faults(json.loads(content)))}
        case "application/x-npy":
            return {"array": _array(np.load(io.BytesIO(content), allow_pickle=False), values)}
        case "application/octet-stream":
            return _tensors(content, values)
        case "application/vnd.apache.parquet":
            return {"table": _table(pq.read_table(io.BytesIO(content)))}
        case "application/vnd.apache.arrow.stream":
            return {"table": _table(pa.ipc.open_stream(content).read_all())}
        case "application/x-ndjson":
            return _rows([json.loads(line) for line in content.splitlines()])
        case "text/csv":
            return _rows(list(csv.DictReader(io.StringIO(content.decode()))))
        case "text/event-stream":
            return {"events": events_in(content.decode())}
        case "image/png":
            return {"picture": list(struct.unpack(">II", content[16:24]))}
        case "application/x-perfetto-trace":
            return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        case "text/html":
            return {"page": True}
    raise ValueError(f"no answer is expected to be {media_type}")


def events_in(text: str) -> list[dict[str, Any]]:
    """Return the server-sent events of a text."""
    found: list[dict[str, Any]] = []
    for block in text.split("\n\n"):
        event = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in event:
            found.append({**event, "data": json.loads(event["data"])})
    return found


def with_named_tensors(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body in which tensors of the Open Inference Protocol are members by their names.

    Callers pick a tensor by its name, so there may be more of them. Bodies are recorded with lists.
    """
    document = body.get("json")
    if not isinstance(document, dict):
        return body
    named = {
        member: {entry["name"]: entry for entry in entries}
        for member in ("output", "outputs")
        if isinstance(entries := document.get(member), list)
        and all(isinstance(entry, dict) and "name" in entry for entry in entries)
    }
    return {**body, "json": {**document, **named}}


def array_of(data: NDArray[Any]) -> dict[str, Any]:
    """Return an array with its numbers."""
    return _array(data, values=True)


def _sorted_faults(document: Any) -> Any:
    """A refusal with its faults in a fixed order; anything else as it is."""
    if isinstance(document, dict) and isinstance(document.get("errors"), list):
        faults = sorted(document["errors"], key=lambda fault: str(fault.get("loc")))
        return {**document, "errors": faults}
    return document


def _unfolded(document: Any) -> Any:
    """A document to which members may be added wherever callers pick them by name.

    So a list of columns becomes an object, and so do the JSON texts of an inference.
    """
    if isinstance(document, dict) and isinstance(document.get("columns"), list):
        return {**document, "columns": dict.fromkeys(document["columns"], True)}
    if isinstance(document, dict) and isinstance(document.get("parameters"), dict):
        parameters = document["parameters"]
        texts = {name: _parsed(text) for name, text in parameters.items() if isinstance(text, str)}
        return {**document, "parameters": {**parameters, **texts}}
    return document


def _array(data: NDArray[Any], values: bool) -> dict[str, Any]:
    head: dict[str, Any] = {"dtype": str(data.dtype), "shape": list(data.shape)}
    if values and data.size <= MOST_VALUES:
        return {**head, "values": data.tolist()}
    return {**head, "sha256": hashlib.sha256(np.ascontiguousarray(data).tobytes()).hexdigest()}


def _tensors(content: bytes, values: bool) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors: Mapping[str, NDArray[Any]] = load_tensors(content)
    found: dict[str, Any] = {
        name: _array(tensor, values) for name, tensor in sorted(tensors.items()) if name != "answer"
    }
    if "answer" in tensors:
        found["answer"] = json.loads(tensors["answer"].tobytes())
    return {"tensors": found, "metadata": {k: _parsed(v) for k, v in metadata.items()}}


def _parsed(text: str) -> Any:
    """JSON data, where a text is JSON: members may be added to a config."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _table(table: pa.Table) -> dict[str, Any]:
    metadata = table.schema.metadata or {}
    return {
        "columns": {field.name: str(field.type) for field in table.schema},
        "metadata": {
            name.decode(): _parsed(value.decode())
            for name, value in metadata.items()
            if name.startswith(b"energy_flow.")
        },
        **_rows(table.to_pylist()),
    }


def _rows(rows: list[Any]) -> dict[str, Any]:
    if len(rows) <= MOST_ROWS:
        return {"rows": rows}
    text = json.dumps(rows, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"count": len(rows), "first": rows[:2], "sha256": digest}
