"""``InferenceRequest``: an inference request, parsed from its body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import must_be_one_of
from energy_flow.errors import Fault
from energy_flow.runtime.safetensors_header import MAX_AXES
from service.open_inference.schemas import InferInput, InferOutput, InferParameters, InferRequest
from service.open_inference.tensors import (
    BINARY_ONLY,
    EMBEDDINGS,
    INPUT_DATATYPES,
    OUTPUTS,
    TRACE_OUTPUTS,
    count_bytes,
    decode_tensor,
)
from service.problems import Problem, cut_text, invalid
from service.requests.digits import parse_digits
from service.requests.embeddings import make_array
from service.requests.json_body import parse_object_with_arrays
from service.requests.large_arrays import LargeArray
from service.requests.members import check_members

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""Header with the length of the JSON that comes before the bytes of tensors."""


def _find_inputs(document: Any) -> list[Any]:
    inputs = document.get("inputs") if isinstance(document, dict) else None
    return inputs if isinstance(inputs, list) else []


DATA: Final = LargeArray("data", _find_inputs, ("inputs", 0, "data"), may_be_flat=True)
"""The numbers of an input in JSON."""


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that an answer is to have.

    Attributes:
        name: Name of the tensor.
        is_binary: Whether it is sent as bytes, not as JSON.
    """

    name: str
    is_binary: bool


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A request that has been parsed, but not yet checked against its model.

    Attributes:
        id: The caller's id of the request.
        parameters: Its parameters; one with a fault has its default.
        numbers: Embeddings [rows, dimension] of any float dtype; ``None`` if they have faults.
        outputs: Outputs in the order of the answer.
        faults: All faults so far.
    """

    id: str | None
    parameters: InferParameters
    numbers: NDArray[Any] | None
    outputs: tuple[RequestedOutput, ...]
    faults: tuple[Fault, ...] = ()


def parse_inference(body: bytes, header_length: str | None, dimension: int) -> InferenceRequest:
    """Return the request of a body.

    Args:
        body: The body, not compressed.
        header_length: Bytes of JSON as the header states them; ``None`` if all of it is JSON.
        dimension: Numbers of an embedding, for a body that is the bytes of one embedding.

    Raises:
        Problem: 400, the body is malformed; 422, with every fault; 501, it needs a feature that is
            not offered.
    """
    if header_length is None:
        return _parse_document(parse_object_with_arrays(body, (DATA,)), memoryview(b""))
    length = _parse_length(header_length, len(body))
    if length == 0:
        return _parse_raw(body, dimension)
    document = parse_object_with_arrays(body[:length], (DATA,))
    return _parse_document(document, memoryview(body)[length:])


def _parse_length(text: str, maximum: int) -> int:
    length = parse_digits(text.strip())
    if length is None or length > maximum:
        message = f"must be from 0 to the {maximum:,} bytes of the body, not {cut_text(text)!r}"
        raise Problem(400, f"{HEADER_LENGTH} {message}")
    return length


def _parse_raw(body: bytes, dimension: int) -> InferenceRequest:
    """Return the request of the bytes of one embedding; all outputs are sent as bytes."""
    needed = 4 * dimension
    if len(body) != needed:
        message = f"a body without JSON must be one embedding of {needed:,} bytes"
        raise Problem(400, f"{message}, not {len(body):,}")
    numbers = np.frombuffer(body, dtype="<f4").reshape(1, dimension)
    outputs = tuple(RequestedOutput(name, True) for name in OUTPUTS)
    return InferenceRequest(None, InferParameters(), numbers, outputs)


def _parse_document(document: dict[str, Any], tail: memoryview) -> InferenceRequest:
    parameters = document.get("parameters")
    if isinstance(parameters, dict):
        # Also an unknown parameter counts as absent if it is null.
        given = {name: value for name, value in parameters.items() if value is not None}
        document = {**document, "parameters": given}
    request, faults = check_members(InferRequest, document)
    if any(fault.loc[:1] != ("parameters",) or len(fault.loc) == 1 for fault in faults):
        raise invalid(faults)
    _refuse_missing_features(request)
    bodies = _cut(request.inputs, tail)
    checked = request.parameters or InferParameters()
    numbers, input_faults = _parse_embeddings(request.inputs, bodies)
    outputs, output_faults = _parse_outputs(request.outputs, checked.binary_data_output is True)
    all_faults = (*faults, *input_faults, *output_faults)
    return InferenceRequest(request.id, checked, numbers, outputs, all_faults)


def _refuse_missing_features(request: InferRequest) -> None:
    tensors: list[InferInput | InferOutput] = [*request.inputs, *(request.outputs or ())]
    for tensor in tensors:
        parameters = tensor.parameters
        if parameters is not None and parameters.shared_memory_region is not None:
            raise Problem(501, f"{tensor.name}: shared memory is not offered; send the bytes")
    for output in request.outputs or ():
        if output.parameters is not None and output.parameters.classification:
            raise Problem(501, f"{output.name}: classification is not offered; leave it out")


def _cut(inputs: Sequence[InferInput], tail: memoryview) -> list[memoryview | None]:
    """Return the bytes of each input; they follow each other in the order of the inputs.

    Raises:
        Problem: 400, the bytes are not those that the JSON describes.
    """
    bodies: list[memoryview | None] = []
    position = 0
    for tensor in inputs:
        size = None if tensor.parameters is None else tensor.parameters.binary_data_size
        if size is None:
            bodies.append(None)
            continue
        if tensor.data is not None:
            raise Problem(400, f"{tensor.name} has both data and binary_data_size; send one")
        if len(tensor.shape) > MAX_AXES:
            message = f"has {len(tensor.shape):,} axes; at most {MAX_AXES} are read"
            raise Problem(400, f"the shape of {tensor.name} {message}")
        needed = count_bytes(tensor.datatype, tensor.shape)
        if needed is not None and size != needed:
            message = f"{tensor.datatype} {tensor.shape} needs {needed:,} bytes, not {size:,}"
            raise Problem(400, f"binary_data_size of {tensor.name}: {message}")
        if position + size > len(tail):
            message = f"{tensor.name} has {size:,} bytes, and {len(tail) - position:,} are left"
            raise Problem(400, f"the body ends too early: {message}")
        bodies.append(tail[position : position + size])
        position += size
    if position != len(tail):
        message = f"{len(tail) - position:,} bytes of the body belong to no input"
        raise Problem(400, f"{message}; check {HEADER_LENGTH} and binary_data_size")
    return bodies


def _parse_embeddings(
    inputs: Sequence[InferInput], bodies: Sequence[memoryview | None]
) -> tuple[NDArray[Any] | None, list[Fault]]:
    faults = [
        Fault(("inputs", index, "name"), f"the model's one input is {EMBEDDINGS!r}", tensor.name)
        for index, tensor in enumerate(inputs)
        if tensor.name != EMBEDDINGS
    ]
    indices = [index for index, tensor in enumerate(inputs) if tensor.name == EMBEDDINGS]
    if len(indices) != 1:
        message = "is required" if not indices else "is given more than once"
        return None, [*faults, Fault(("inputs", EMBEDDINGS), message, len(indices))]
    index = indices[0]
    tensor, body = inputs[index], bodies[index]
    loc = ("inputs", index)
    if tensor.datatype not in INPUT_DATATYPES:
        message = f"must be one of {', '.join(INPUT_DATATYPES)}"
        return None, [*faults, Fault((*loc, "datatype"), message, tensor.datatype)]
    if len(tensor.shape) != 2:
        message = "must be [rows, dimension]"
        return None, [*faults, Fault((*loc, "shape"), message, list(tensor.shape))]
    if body is not None:
        return decode_tensor(body, tensor.datatype, tensor.shape), faults
    if tensor.data is None:
        message = "is required, or parameters.binary_data_size and the bytes"
        return None, [*faults, Fault((*loc, "data"), message, None)]
    if tensor.datatype in BINARY_ONLY:
        message = f"must be sent as bytes, because JSON has no {tensor.datatype}"
        return None, [*faults, Fault((*loc, "data"), message, None)]
    numbers, number_faults = _parse_numbers(tensor)
    faults += [Fault((*loc, *fault.loc), fault.msg, fault.got) for fault in number_faults]
    return numbers, faults


def _parse_numbers(tensor: InferInput) -> tuple[NDArray[Any] | None, list[Fault]]:
    """Return the numbers of an input in JSON, flat or nested."""
    rows, columns = tensor.shape
    data = tensor.data
    if not isinstance(data, list | np.ndarray):
        return None, [Fault(("data",), "must be a list of numbers", data)]
    is_flat = isinstance(data, list) and not any(isinstance(entry, list) for entry in data)
    numbers, faults = make_array([data] if is_flat else data)
    if numbers is None:
        # As faults of "data"; flat numbers have no row.
        first = 2 if is_flat else 1
        return None, [Fault(("data", *f.loc[first:]), f.msg, f.got) for f in faults]
    shape = numbers.shape[1:] if is_flat else numbers.shape
    if shape not in ((rows, columns), (rows * columns,)):
        message = f"must hold the {rows} × {columns} numbers of the shape"
        return None, [Fault(("data",), message, list(shape))]
    return numbers.reshape(rows, columns), []


def _parse_outputs(
    requested: Sequence[InferOutput] | None, is_binary: bool
) -> tuple[tuple[RequestedOutput, ...], list[Fault]]:
    if not requested:
        return tuple(RequestedOutput(name, is_binary) for name in OUTPUTS), []
    known = (*OUTPUTS, *TRACE_OUTPUTS)
    chosen: dict[str, RequestedOutput] = {}
    faults: list[Fault] = []
    for index, output in enumerate(requested):
        loc = ("outputs", index, "name")
        if output.name not in known:
            faults.append(Fault(loc, must_be_one_of(output.name, known), output.name))
        elif output.name in chosen:
            faults.append(Fault(loc, "is requested more than once", output.name))
        own = None if output.parameters is None else output.parameters.binary_data
        binary = is_binary if own is None else own
        chosen.setdefault(output.name, RequestedOutput(output.name, binary))
    return tuple(chosen.values()), faults
