"""Requests to simulate, parsed from JSON, ``.npy`` or ``.safetensors``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from energy_flow.choices import unknown_name
from energy_flow.errors import Fault
from service.media_types import FILE_FORMATS, JSON, NPY, OCTET_STREAM
from service.problems import Problem
from service.requests.columns import NAMES, Selection, choose_columns
from service.requests.embeddings import EMBEDDINGS, SAMPLE_KEYS, make_array
from service.requests.json_body import parse_json, parse_object, parse_object_with_arrays
from service.requests.large_arrays import PIECE_BYTES
from service.requests.members import check_members
from service.requests.npy_body import read_npy
from service.requests.parsed_request import ParsedRequest
from service.requests.query import (
    COLUMN,
    check_parameter_count,
    take_parameter,
    unknown_parameter,
)
from service.requests.safetensors_body import (
    REQUEST,
    ROWS_ARE,
    describe_array,
    read_header_length,
    read_tensors,
)
from service.schemas.simulate import RunFields, SimulateFields
from service.threads import Threads, in_thread

MEDIA_TYPES: Final = (JSON, *FILE_FORMATS, OCTET_STREAM)
"""Media types of bodies that can be parsed, those of :data:`FILE_FORMATS` by their loader."""

_TEXT_PARAMETERS = frozenset({"model", "name", "note"})
_LIST_PARAMETERS = frozenset({"outputs", "tags"})
_NUMBER_LIST_PARAMETERS = frozenset({"sample_keys"})
_TENSORS = ("embeddings", REQUEST)


async def parse_request(
    body: bytes,
    media_type: str,
    query: Mapping[str, list[str]],
    kind: type[SimulateFields] = SimulateFields,
) -> ParsedRequest:
    """Return a request; a large body is parsed in a thread.

    Args:
        body: The body.
        media_type: Its media type.
        query: All values of each query parameter.
        kind: Model of the request's members.

    Raises:
        Problem: 400, the body is malformed; 413, it has too many values or the query too many
            parameters; 415, its media type is not known; 422, a faulty member
            has no default.
    """
    check_parameter_count(query)
    if media_type == NPY:
        return make_file_request(read_npy(body), query, kind)
    if media_type == OCTET_STREAM:
        return await _parse_safetensors(body, query, kind)
    if media_type != JSON:
        known = ", ".join(MEDIA_TYPES)
        message = f"Content-Type is {media_type or 'missing'}; known are {known}"
        raise Problem(415, message, headers={"Accept-Post": known})
    if len(body) <= PIECE_BYTES:
        return _parse_json(body, query, kind)
    return await in_thread(Threads.BODIES, _parse_json, body, query, kind)


def _parse_json(
    body: bytes, query: Mapping[str, list[str]], kind: type[SimulateFields]
) -> ParsedRequest:
    members = parse_object_with_arrays(body, (EMBEDDINGS, SAMPLE_KEYS))
    numbers: NDArray[Any] | None = None
    faults: list[Fault] = []
    rows = members.pop("embeddings", None)
    if rows is not None:
        numbers, faults = make_array(rows)
    faults += [unknown_parameter(name, values[0]) for name, values in query.items()]
    return _make_request(members, numbers, faults, kind, others=("embeddings", "sample_keys"))


def make_file_request(
    numbers: NDArray[Any] | None,
    query: Mapping[str, list[str]],
    kind: type[SimulateFields],
    file_faults: Collection[Fault] = (),
) -> ParsedRequest:
    """Return the request of a file of embeddings, whose other members are query parameters.

    Args:
        numbers: The embeddings [rows, dimension]; ``None`` if they have faults.
        query: All values of each query parameter.
        kind: Model of the request's members.
        file_faults: Faults of the file.

    Raises:
        Problem: 422, a faulty member has no default.
    """
    known = {*SimulateFields.model_fields, "sample_keys"}
    members: dict[str, Any] = {}
    faults = list(file_faults)
    for name, values in query.items():
        if name not in known:
            faults.append(unknown_parameter(name, values[0], known))
        elif len(values) > 1 and name not in _LIST_PARAMETERS | _NUMBER_LIST_PARAMETERS:
            faults.append(Fault((name,), "may be given once", values))
        else:
            members[name] = _parse_parameter(name, values)
    return _make_request(members, numbers, faults, kind)


async def _parse_safetensors(
    body: bytes, query: Mapping[str, list[str]], kind: type[SimulateFields]
) -> ParsedRequest:
    column, query = take_parameter(query, COLUMN)
    if read_header_length(body) <= PIECE_BYTES:
        known = _read_known_tensors(body, column)
    else:
        known = await in_thread(Threads.BODIES, _read_known_tensors, body, column)
    if known.request is None:
        return make_file_request(known.numbers, query, kind, known.faults)
    members = await parse_object(known.request)
    faults = [*known.faults, *(unknown_parameter(name, query[name][0]) for name in query)]
    return _make_request(members, known.numbers, faults, kind)


@dataclass(frozen=True, slots=True)
class _KnownTensors:
    """The tensors of a request.

    Attributes:
        numbers: The embeddings; ``None`` if there are none, or if they have faults.
        request: JSON text of the other members, if there is one.
        faults: Their faults, and one for each other tensor.
    """

    numbers: NDArray[Any] | None
    request: bytes | None
    faults: tuple[Fault, ...]


def _read_known_tensors(body: bytes, column: str | None) -> _KnownTensors:
    tensors = read_tensors(body)
    request = tensors.pop(REQUEST, None)
    text = None if request is None else request.tobytes()
    if not tensors and text is not None:
        # Rows of a dataset, perhaps.
        return _KnownTensors(None, text, ())
    columns = [describe_array(name, tensor) for name, tensor in tensors.items()]
    chosen = choose_columns(columns, Selection(column, has_targets=False), ROWS_ARE)
    read = chosen.parts.get("inputs", ())
    usual = {name for names in NAMES.values() for name in names}
    faults = [
        Fault((name,), f"is not known; {unknown_name(name, _TENSORS)}", list(tensor.shape))
        for name, tensor in tensors.items()
        if column is None and name not in usual and name not in read
    ]
    numbers = tensors[read[0]] if read else None
    return _KnownTensors(numbers, text, (*chosen.faults, *faults))


def _parse_parameter(name: str, values: list[str]) -> Any:
    """Return a query parameter as the JSON value that it stands for, else as a string."""
    if name in _TEXT_PARAMETERS:
        return values[0]
    parts = [part for value in values for part in value.split(",") if part]
    if name in _LIST_PARAMETERS:
        return parts
    if name in _NUMBER_LIST_PARAMETERS:
        return [_parse_json_or_text(part) for part in parts]
    return _parse_json_or_text(values[0])


def _parse_json_or_text(text: str) -> Any:
    try:
        return parse_json(text.encode())
    except (Problem, UnicodeEncodeError):
        return text


def _make_request(
    members: dict[str, Any],
    numbers: NDArray[Any] | None,
    faults: list[Fault],
    kind: type[SimulateFields],
    others: Collection[str] = ("sample_keys",),
) -> ParsedRequest:
    sample_keys = members.pop("sample_keys", None)
    fields, member_faults = check_members(kind, members, others)
    has_numbers = numbers is not None or any(fault.loc[0] == "embeddings" for fault in faults)
    faults += _find_source_faults(members, fields, has_numbers=has_numbers)
    return ParsedRequest(fields, numbers, sample_keys, (*member_faults, *faults))


def _find_source_faults(
    members: Mapping[str, Any], fields: SimulateFields, *, has_numbers: bool
) -> list[Fault]:
    """Return what is wrong with where the embeddings come from."""
    dataset, rows = members.get("dataset"), members.get("rows")
    if not isinstance(fields, RunFields) or dataset is None:
        faults = [] if has_numbers else [Fault(("embeddings",), "is required", None)]
        if isinstance(fields, RunFields) and rows is not None:
            message = "are rows of a dataset; name one in dataset, or leave rows out"
            faults.append(Fault(("rows",), message, fields.rows))
        return faults
    if has_numbers:
        message = "is given together with embeddings; give one or the other"
        return [Fault(("dataset",), message, dataset)]
    return []
