"""An inference request, from the bytes of its body to what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from energy_flow.errors import Fault
from service.open_inference.json_data import read_document
from service.open_inference.schemas import (
    InferFields,
    InferInput,
    InferOutput,
    InferParameters,
)
from service.open_inference.tensors import (
    BINARY_ONLY,
    EMBEDDINGS,
    INPUT_DATATYPES,
    OUTPUTS,
    TRACE_OUTPUTS,
    from_wire,
    wire_bytes,
)
from service.problems import Problem, invalid
from service.requests.embeddings import faults_of_rows
from service.requests.validate import validate

HEADER_LENGTH = "Inference-Header-Content-Length"

Names = tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Inference:
    """What is asked for.

    Attributes:
        numbers: embeddings [rows, dimension], of any float dtype; ``None`` if they have faults.
        outputs: names in the order of the answer, and whether each goes as bytes.
        faults: what is wrong with all of it, so far.
    """

    id: str | None
    parameters: InferParameters
    numbers: NDArray[Any] | None
    outputs: Names
    faults: tuple[Fault, ...] = ()


def read_inference(body: bytes, header_length: str | None, dimension: int) -> Inference:
    """Reads a body that is not compressed (any more).

    Args:
        header_length: bytes of JSON, as the header says; ``None``: all of it is JSON.
        dimension: of the model, for a body that is nothing but one embedding.

    Raises:
        Problem: 400, 422 or 501.
    """
    if header_length is None:
        return _of_document(read_document(body), memoryview(b""))
    length = _length(header_length, len(body))
    if length == 0:
        return _raw(body, dimension)
    return _of_document(read_document(body[:length]), memoryview(body)[length:])


def _length(text: str, most: int) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 19) or int(digits) > most:
        raise Problem(
            400, f"{HEADER_LENGTH} must be from 0 to the {most:,} bytes of the body, not {text!r}"
        )
    return int(digits)


def _raw(body: bytes, dimension: int) -> Inference:
    """The bytes of one embedding, and all outputs as bytes."""
    needed = 4 * dimension
    if len(body) != needed:
        said = f"a body without JSON is one embedding of {needed:,} bytes, not {len(body):,}"
        raise Problem(400, said)
    numbers = np.frombuffer(body, dtype="<f4").reshape(1, dimension)
    outputs = tuple((name, True) for name in OUTPUTS)
    return Inference(None, InferParameters(), numbers, outputs)


def _of_document(document: dict[str, Any], tail: memoryview) -> Inference:
    try:
        request = InferFields.model_validate(document)
    except ValidationError as error:
        raise invalid(
            Fault(tuple(entry["loc"]), str(entry["msg"]), entry.get("input"))
            for entry in error.errors()
        ) from None
    _refuse_what_is_not_offered(request)
    bodies = _cut(request.inputs, tail)
    given = {name: value for name, value in (request.parameters or {}).items() if value is not None}
    parameters, faults = validate(InferParameters, given)
    faults = [Fault(("parameters", *fault.loc), fault.msg, fault.got) for fault in faults]
    numbers, input_faults = _embeddings(request.inputs, bodies)
    outputs, output_faults = _outputs(request.outputs, parameters.binary_data_output is True)
    return Inference(
        request.id, parameters, numbers, outputs, (*faults, *input_faults, *output_faults)
    )


def _refuse_what_is_not_offered(request: InferFields) -> None:
    tensors: list[InferInput | InferOutput] = [*request.inputs, *(request.outputs or ())]
    for tensor in tensors:
        parameters = tensor.parameters
        if parameters is not None and parameters.shared_memory_region is not None:
            raise Problem(501, f"{tensor.name}: shared memory is not offered; send the bytes")
    for output in request.outputs or ():
        if output.parameters is not None and output.parameters.classification:
            raise Problem(501, f"{output.name}: classification is not offered")


def _cut(inputs: Sequence[InferInput], tail: memoryview) -> list[memoryview | None]:
    """The bytes of each input, which follow each other in this order.

    Raises:
        Problem: 400, they are not what the JSON says.
    """
    bodies: list[memoryview | None] = []
    position = 0
    for tensor in inputs:
        size = None if tensor.parameters is None else tensor.parameters.binary_data_size
        if size is None:
            bodies.append(None)
            continue
        if tensor.data is not None:
            raise Problem(400, f"{tensor.name} has both data and binary_data_size")
        needed = wire_bytes(tensor.datatype, tensor.shape)
        if needed is not None and size != needed:
            said = f"{tensor.datatype} {tensor.shape} takes {needed:,} bytes, not {size:,}"
            raise Problem(400, f"binary_data_size of {tensor.name}: {said}")
        if position + size > len(tail):
            said = f"{tensor.name} takes {size:,} bytes, and {len(tail) - position:,} are left"
            raise Problem(400, f"the body ends too early: {said}")
        bodies.append(tail[position : position + size])
        position += size
    if position != len(tail):
        said = f"{len(tail) - position:,} bytes of the body belong to no input"
        raise Problem(400, f"{said}; {HEADER_LENGTH} and binary_data_size say what does")
    return bodies


def _embeddings(
    inputs: Sequence[InferInput], bodies: Sequence[memoryview | None]
) -> tuple[NDArray[Any] | None, list[Fault]]:
    faults = [
        Fault(("inputs", index, "name"), f"the model's one input is {EMBEDDINGS!r}", tensor.name)
        for index, tensor in enumerate(inputs)
        if tensor.name != EMBEDDINGS
    ]
    ours = [index for index, tensor in enumerate(inputs) if tensor.name == EMBEDDINGS]
    if len(ours) != 1:
        said = "is required" if not ours else "is given more than once"
        return None, [*faults, Fault(("inputs", EMBEDDINGS), said, len(ours))]
    index = ours[0]
    tensor, body = inputs[index], bodies[index]
    where = ("inputs", index)
    if tensor.datatype not in INPUT_DATATYPES:
        said = f"must be one of {', '.join(INPUT_DATATYPES)}"
        return None, [*faults, Fault((*where, "datatype"), said, tensor.datatype)]
    if len(tensor.shape) != 2:
        said = "must be [rows, dimension]"
        return None, [*faults, Fault((*where, "shape"), said, list(tensor.shape))]
    if body is not None:
        return from_wire(body, tensor.datatype, tensor.shape), faults
    if tensor.data is None:
        said = "is required, or parameters.binary_data_size and the bytes"
        return None, [*faults, Fault((*where, "data"), said, None)]
    if tensor.datatype in BINARY_ONLY:
        said = f"{tensor.datatype} travels as bytes only"
        return None, [*faults, Fault((*where, "data"), said, None)]
    numbers, number_faults = _numbers(tensor)
    faults += [Fault((*where, *fault.loc), fault.msg, fault.got) for fault in number_faults]
    return numbers, faults


def _numbers(tensor: InferInput) -> tuple[NDArray[Any] | None, list[Fault]]:
    """The numbers of an input that came in JSON, flat or nested."""
    rows, columns = tensor.shape
    data = tensor.data
    if isinstance(data, list):
        nested = any(isinstance(entry, list) for entry in data)
        faults = faults_of_rows(data if nested else [data])
        if faults:
            # As faults of "data", and without a row where the caller sent none.
            drop = 1 if nested else 2
            return None, [Fault(("data", *f.loc[drop:]), f.msg, f.got) for f in faults]
        data = np.array(data, dtype=np.float64)
    if not isinstance(data, np.ndarray):
        return None, [Fault(("data",), "must be a list of numbers", data)]
    if data.shape not in ((rows, columns), (rows * columns,)):
        said = f"must hold the {rows} × {columns} numbers of the shape"
        return None, [Fault(("data",), said, list(data.shape))]
    return data.reshape(rows, columns), []


def _outputs(asked: Sequence[InferOutput] | None, binary: bool) -> tuple[Names, list[Fault]]:
    if not asked:
        return tuple((name, binary) for name in OUTPUTS), []
    known = (*OUTPUTS, *TRACE_OUTPUTS)
    chosen: dict[str, bool] = {}
    faults: list[Fault] = []
    for index, output in enumerate(asked):
        where = ("outputs", index, "name")
        if output.name not in known:
            faults.append(Fault(where, f"known are {', '.join(known)}", output.name))
        elif output.name in chosen:
            faults.append(Fault(where, "is asked for more than once", output.name))
        own = None if output.parameters is None else output.parameters.binary_data
        chosen.setdefault(output.name, binary if own is None else own)
    return tuple(chosen.items()), faults
