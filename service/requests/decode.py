"""Requests to simulate, from JSON, ``.npy`` or ``.safetensors`` to drafts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from numpy.typing import NDArray

from energy_flow.errors import Fault
from service.problems import Problem
from service.requests.embeddings import PIECE_BYTES, read_json, read_npy, read_request
from service.requests.safetensors_body import REQUEST, SAFETENSORS, header_bytes, read_tensors
from service.requests.validate import JSON, Draft, validate
from service.schemas import RunFields, SimulateFields

NPY = "application/x-npy"
MEDIA_TYPES = (JSON, NPY, SAFETENSORS)

_QUERY_TEXTS = frozenset({"model"})
_QUERY_LISTS = frozenset({"outputs"})
_QUERY_NUMBER_LISTS = frozenset({"sample_keys"})
_TENSORS = ("embeddings", REQUEST)


async def read_draft(
    body: bytes,
    media_type: str,
    query: Mapping[str, list[str]],
    kind: type[SimulateFields] = SimulateFields,
) -> Draft:
    """Reads a body and the query beside it; much JSON in a thread.

    Args:
        kind: of the request.

    Raises:
        Problem: 400 or 415.
    """
    if media_type == NPY:
        # Its numbers are there; only its header is read.
        return _draft_of_npy(body, query, kind)
    if media_type == SAFETENSORS:
        return await _draft_of_safetensors(body, query, kind)
    if media_type != JSON:
        known = ", ".join(MEDIA_TYPES)
        said = f"Content-Type is {media_type or 'missing'}; known are {known}"
        raise Problem(415, said, headers={"Accept-Post": known})
    if len(body) <= PIECE_BYTES:
        return _draft_of_json(body, query, kind)
    return await asyncio.to_thread(_draft_of_json, body, query, kind)


def _draft_of_json(
    body: bytes, query: Mapping[str, list[str]], kind: type[SimulateFields]
) -> Draft:
    document, numbers, faults = read_request(body)
    faults += [_unknown_query(name, texts) for name, texts in query.items()]
    return _draft(document, numbers, faults, kind)


def _draft_of_npy(body: bytes, query: Mapping[str, list[str]], kind: type[SimulateFields]) -> Draft:
    numbers = read_npy(body)
    known = {*SimulateFields.model_fields, "sample_keys"}
    document: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, texts in query.items():
        if name not in known:
            faults.append(_unknown_query(name, texts))
        elif len(texts) > 1 and name not in _QUERY_LISTS | _QUERY_NUMBER_LISTS:
            faults.append(Fault((name,), "may be given once", texts))
        else:
            document[name] = _value_of_query(name, texts)
    return _draft(document, numbers, faults, kind)


async def _draft_of_safetensors(
    body: bytes, query: Mapping[str, list[str]], kind: type[SimulateFields]
) -> Draft:
    if header_bytes(body) <= PIECE_BYTES:
        tensors = read_tensors(body)
    else:
        tensors = await asyncio.to_thread(read_tensors, body)
    if REQUEST not in tensors or tensors[REQUEST].nbytes <= PIECE_BYTES:
        return _draft_of_tensors(tensors, query, kind)
    return await asyncio.to_thread(_draft_of_tensors, tensors, query, kind)


def _draft_of_tensors(
    tensors: Mapping[str, NDArray[Any]],
    query: Mapping[str, list[str]],
    kind: type[SimulateFields],
) -> Draft:
    document = read_json(tensors[REQUEST].tobytes()) if REQUEST in tensors else {}
    if not isinstance(document, dict):
        raise Problem(400, f"the tensor {REQUEST!r} must hold a JSON object")
    faults = [_unknown_query(name, texts) for name, texts in query.items()]
    faults += [
        Fault((name,), f"is not known; known are {', '.join(_TENSORS)}", list(tensor.shape))
        for name, tensor in tensors.items()
        if name not in _TENSORS
    ]
    numbers = tensors.get("embeddings")
    if numbers is not None and numbers.dtype.kind != "f":
        said = "must be float16, float32 or float64"
        faults.append(Fault(("embeddings",), said, str(numbers.dtype)))
        numbers = None
    return _draft(document, numbers, faults, kind)


def _value_of_query(name: str, texts: list[str]) -> Any:
    """A query parameter as the JSON value that it stands for; a text where it is none."""
    if name in _QUERY_TEXTS:
        return texts[0]
    parts = [part for text in texts for part in text.split(",") if part]
    if name in _QUERY_LISTS:
        return parts
    if name in _QUERY_NUMBER_LISTS:
        return [_json_or_text(part) for part in parts]
    return _json_or_text(texts[0])


def _json_or_text(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _draft(
    document: dict[str, Any],
    numbers: NDArray[Any] | None,
    faults: list[Fault],
    kind: type[SimulateFields],
) -> Draft:
    sample_keys = document.pop("sample_keys", None)
    # A member that says null is one that says nothing.
    given = {name: value for name, value in document.items() if value is not None}
    fields, field_faults = validate(kind, given)
    has_numbers = numbers is not None or any(fault.loc[0] == "embeddings" for fault in faults)
    faults += _source_faults(given, fields, has_numbers=has_numbers)
    return Draft(fields, numbers, sample_keys, (*field_faults, *faults))


def _source_faults(
    given: Mapping[str, Any], fields: SimulateFields, *, has_numbers: bool
) -> list[Fault]:
    """What is wrong with where the embeddings come from."""
    if not isinstance(fields, RunFields) or "dataset" not in given:
        faults = [] if has_numbers else [Fault(("embeddings",), "is required", None)]
        if isinstance(fields, RunFields) and "rows" in given:
            faults.append(
                Fault(("rows",), "are those of a dataset, and none is named", fields.rows)
            )
        return faults
    if has_numbers:
        said = "is given together with embeddings; give one or the other"
        return [Fault(("dataset",), said, given["dataset"])]
    return []


def _unknown_query(name: str, texts: list[str]) -> Fault:
    return Fault((name,), "is not a query parameter here", texts[0])
