"""Tensors as the protocol has them: names of datatypes, bytes on the wire, lists in JSON.

Binary tensors are little-endian, row-major and without padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.config.flow_config import FlowConfig
from energy_flow.trace.records import COLUMN_DTYPES
from service.requests.safetensors_body import TRACE_PREFIX

EMBEDDINGS: Final = "embeddings"

INPUT_DATATYPES: Final = ("FP32", "FP16", "BF16", "FP64")
BINARY_ONLY: Final = frozenset({"FP16", "BF16"})
"""JSON has no form of these."""

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
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FP32",
}
_WIRE: Final[Mapping[str, str]] = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}

OUTPUTS: Final = ("surface", "hits", "planes", "embedding")
TRACE_OUTPUTS: Final = tuple(TRACE_PREFIX + name for name in COLUMN_DTYPES)


def input_tensors(config: FlowConfig) -> list[dict[str, Any]]:
    """The inputs of a model, as its metadata has them."""
    return [{"name": EMBEDDINGS, "datatype": "FP32", "shape": [-1, config.embedding_dim]}]


def output_tensors(config: FlowConfig) -> list[dict[str, Any]]:
    """The outputs of a model, as its metadata has them."""
    height, width = config.lattice_height, config.lattice_width
    shapes = {
        "surface": ("FP32", [-1, height, width]),
        "hits": ("INT32", [-1, 2, height, width]),
        "planes": ("FP32", [-1, 2, height, width]),
        "embedding": ("FP32", [-1, config.embedding_dim]),
    }
    shapes |= {
        TRACE_PREFIX + name: (_DATATYPES[dtype.name], [-1]) for name, dtype in COLUMN_DTYPES.items()
    }
    return [
        {"name": name, "datatype": datatype, "shape": shape}
        for name, (datatype, shape) in shapes.items()
    ]


def datatype_of(array: NDArray[Any]) -> str:
    """The protocol's name of an output's type."""
    return _DATATYPES[array.dtype.name]


def wire_bytes(datatype: str, shape: list[int]) -> int | None:
    """Bytes of a binary tensor; ``None`` where they do not follow from its shape."""
    size = ITEM_BYTES.get(datatype)
    return None if size is None else size * prod(shape)


def from_wire(data: memoryview, datatype: str, shape: list[int]) -> NDArray[Any]:
    """A float tensor from its bytes, of which there are as many as there must be."""
    if datatype == "BF16":
        # The upper half of a float32.
        wide = np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    return np.frombuffer(data, dtype=_WIRE[datatype]).reshape(shape)


def to_wire(array: NDArray[Any]) -> memoryview:
    """The bytes of an output; a view of it where its memory is as the wire wants it."""
    ordered = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8).data
