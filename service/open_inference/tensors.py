"""Tensors in the protocol: datatypes, shapes, and bytes.

Binary tensors are little-endian, row-major and without padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import Output, names_of
from energy_flow.config.flow_config import FlowConfig
from energy_flow.simulation.tally.outputs import output_shape
from energy_flow.trace.records import COLUMN_DTYPES
from service.requests.safetensors_body import TRACE_PREFIX

EMBEDDINGS: Final = "embeddings"

INPUT_DATATYPES: Final = ("FP32", "FP16", "BF16", "FP64")
BINARY_ONLY: Final = frozenset({"FP16", "BF16"})
"""Datatypes that JSON cannot hold."""

ITEM_BYTES: Final[Mapping[str, int]] = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "BF16": 2,
    "FP32": 4,
    "FP64": 8,
}

_DATATYPES: Final[Mapping[str, str]] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FP32",
}
_BYTE_ORDERED: Final[Mapping[str, str]] = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}

OUTPUTS: Final = names_of(Output)
TRACE_OUTPUTS: Final = tuple(TRACE_PREFIX + name for name in COLUMN_DTYPES)


def input_tensors(config: FlowConfig) -> list[dict[str, Any]]:
    """Return the inputs of a model as its metadata has them."""
    return [{"name": EMBEDDINGS, "datatype": "FP32", "shape": [-1, config.embedding_dim]}]


def output_tensors(config: FlowConfig) -> list[dict[str, Any]]:
    """Return the outputs of a model as its metadata has them."""
    shapes = {
        output.value: (_DATATYPES[output.dtype], [-1, *output_shape(output, config)])
        for output in Output
    }
    shapes |= {
        TRACE_PREFIX + name: (_DATATYPES[dtype.name], [-1]) for name, dtype in COLUMN_DTYPES.items()
    }
    return [
        {"name": name, "datatype": datatype, "shape": shape}
        for name, (datatype, shape) in shapes.items()
    ]


def datatype_of(array: NDArray[Any]) -> str:
    """Return the protocol's name of an output's dtype."""
    return _DATATYPES[array.dtype.name]


def count_bytes(datatype: str, shape: list[int]) -> int | None:
    """Return the bytes of a binary tensor; ``None`` if its datatype has no fixed size."""
    size = ITEM_BYTES.get(datatype)
    return None if size is None else size * prod(shape)


def decode_tensor(data: memoryview, datatype: str, shape: list[int]) -> NDArray[Any]:
    """Return a tensor of floats, as a view of its bytes if numpy has the datatype.

    Args:
        data: Its bytes, of the right number.
        datatype: One of :data:`INPUT_DATATYPES`.
        shape: Its shape.
    """
    if datatype == "BF16":
        # BF16 is the upper half of FP32.
        bits = np.frombuffer(data, dtype="<u2").astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32).reshape(shape)
    return np.frombuffer(data, dtype=_BYTE_ORDERED[datatype]).reshape(shape)


def encode_tensor(array: NDArray[Any]) -> memoryview:
    """Return the bytes of an output, without a copy if its memory has their order."""
    ordered = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8).data
