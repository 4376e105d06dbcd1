"""Checkpoints: one ``.safetensors`` file with the weights, and the config in its metadata.

Nothing is ever unpickled. A file is checked completely before any weight is used.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from energy_flow.choices import AggregationMode
from energy_flow.config.flow_config import COORD_VERSION, FlowConfig
from energy_flow.errors import CheckpointError, Fault
from energy_flow.runtime.safetensors_file import SafetensorsFile
from energy_flow.runtime.safetensors_header import SafetensorsError
from energy_flow.simulation.checkpoint_metadata import (
    FIRST_VERSION,
    FORMAT,
    SECOND_FIELDS,
    SECOND_VERSION,
    check_metadata,
    damaged_file,
    parse_config,
)
from energy_flow.simulation.flow_processor import FlowProcessor, digest_weights

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def save(processor: FlowProcessor, path: str | Path) -> None:
    """Write a checkpoint atomically.

    Args:
        processor: the model.
        path: of the file.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in processor.state_dict().items()
    }
    version, config = _write_config(processor.config)
    metadata = {
        "format": FORMAT,
        "format_version": version,
        "coord_version": str(COORD_VERSION),
        "trained": "true" if processor.trained else "false",
        "config": json.dumps(config),
    }
    # A folder, because the library writes a temporary file of its own beside the file.
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=f".{path.name}.", suffix=".part"
    ) as folder:
        temporary = Path(folder) / path.name
        # The library gives its files the mode 0600, whatever the umask of the process.
        temporary.touch()
        mode = temporary.stat().st_mode
        save_tensors(tensors, temporary, metadata)
        # The library does not call fsync.
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)


def save_tensors(
    tensors: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as a ``.safetensors`` file.

    Args:
        tensors: by name.
        path: of the file.
        metadata: of the file.

    Raises:
        OSError: the file cannot be written, with the number of the system's error if it is known.
    """
    try:
        save_file(dict(tensors), path, metadata=None if metadata is None else dict(metadata))
    except SafetensorError as error:
        # The library has no other exception, and puts the number into its message.
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise OSError(errno.EIO, str(error), str(path)) from error
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from error


def describe(path: str | Path | IO[bytes]) -> dict[str, Any]:
    """Return the metadata of a checkpoint, without reading its weights.

    Args:
        path: of the file, or the file, open for reading.

    Returns:
        ``config`` (a FlowConfig), ``trained``, ``coord_version`` and ``format_version``.

    Raises:
        CheckpointError: the file is not a checkpoint of this format, or its names or shapes are
            not those of its config.
        OSError: the file cannot be read.
    """
    with _open(path) as file:
        metadata = check_metadata(file.metadata)
        config = parse_config(metadata)
        _check_shapes(config, {name: file.shape(name) for name in file.names})
    return {
        "config": config,
        "trained": metadata.get("trained") == "true",
        "coord_version": int(metadata["coord_version"]),
        "format_version": metadata["format_version"],
    }


def digest(path: str | Path | IO[bytes]) -> str:
    """Return the SHA-256 of the weights of a checkpoint, as ``FlowProcessor.digest``.

    One tensor at a time is in memory.

    Args:
        path: of the file, or the file, open for reading.

    Raises:
        CheckpointError: the file is not a safetensors file.
        OSError: the file cannot be read.
    """
    with _open(path) as file:
        return digest_weights(
            (name, file.read(name).to(torch.float32)) for name in sorted(file.names)
        )


def identify(path: str | Path | IO[bytes]) -> dict[str, Any]:
    """Return the metadata of a checkpoint, and the digest of its weights.

    Args:
        path: of the file, or the file, open for reading.

    Returns:
        What :func:`describe` returns, and ``digest``: that of the processor of the checkpoint.

    Raises:
        CheckpointError: as :func:`describe`.
        OSError: the file cannot be read.
    """
    return {**describe(path), "digest": digest(path)}


def check_weights(path: str | Path) -> None:
    """Refuse weights that :func:`load` refuses; one tensor at a time is in memory.

    Args:
        path: of the file.

    Raises:
        CheckpointError: a weight is not finite or of an unknown dtype.
        OSError: the file cannot be read.
    """
    with _open(path) as file:
        _FileWeights(file).check()


def load(path: str | Path, device: str | torch.device = "cpu") -> FlowProcessor:
    """Return the processor that a checkpoint holds.

    Args:
        path: of the file.
        device: where the weights are to be.

    Raises:
        CheckpointError: as :func:`describe`, or a weight is not finite or of an unknown dtype.
        OSError: the file cannot be read.
    """
    metadata = describe(path)
    with _open(path) as file:
        weights = _FileWeights(file)
        weights.check()
        processor = FlowProcessor(metadata["config"], device=device, weights=weights)
    processor.trained = metadata["trained"]
    return processor


class _FileWeights(Mapping[str, Tensor]):
    """Weights of an open file in float32; each is read when it is asked for.

    Args:
        file: the open file.
    """

    def __init__(self, file: SafetensorsFile) -> None:
        self._file = file

    def __getitem__(self, name: str) -> Tensor:
        return self._file.read(name).to(torch.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.names)

    def __len__(self) -> int:
        return len(self._file.names)

    def check(self) -> None:
        """Refuse weights of an unknown dtype, and those that are not finite.

        Raises:
            CheckpointError: with a fault for each tensor.
        """
        dtypes = {name: self._file.dtype(name) for name in sorted(self)}
        faults = [
            Fault((name,), f"must be one of {', '.join(map(str, DTYPES))}", str(dtype))
            for name, dtype in dtypes.items()
            if dtype not in DTYPES
        ]
        if faults:
            raise CheckpointError(*faults)
        faults = [
            Fault((name,), "holds a weight that is not finite, or not in the range of float32")
            for name in dtypes
            if not _is_finite(self[name])
        ]
        if faults:
            raise CheckpointError(*faults)


def _is_finite(weight: Tensor) -> bool:
    # The extremes need no copy of the tensor, which isfinite makes; both are NaN if a number is.
    return all(math.isfinite(extreme.item()) for extreme in weight.aminmax())


def _write_config(config: FlowConfig) -> tuple[str, dict[str, Any]]:
    """Return the format version of a config, and the fields to write.

    Older programs read version 1, so it is written where a config means the same to them.
    """
    fields = config.to_dict()
    is_new = config.aggregation_mode is AggregationMode.SPLAT or any(
        fields[name] != FlowConfig.model_fields[name].default for name in SECOND_FIELDS
    )
    if is_new:
        return SECOND_VERSION, fields
    return FIRST_VERSION, {name: fields[name] for name in fields if name not in SECOND_FIELDS}


@contextmanager
def _open(source: str | Path | IO[bytes]) -> Iterator[SafetensorsFile]:
    """Read a checkpoint within a block; a file that was open stays open."""
    try:
        if not isinstance(source, str | Path):
            yield SafetensorsFile(source)
            return
        if not Path(source).is_file():
            raise FileNotFoundError(f"checkpoint {source} does not exist")
        with Path(source).open("rb") as file:
            yield SafetensorsFile(file)
    except SafetensorsError as error:
        raise damaged_file(error) from None


def _check_shapes(config: FlowConfig, shapes: dict[str, list[int]]) -> None:
    """Refuse names and shapes that are not those of the config's model."""
    try:
        expected = FlowProcessor.shapes(config)
    except RuntimeError as error:
        raise CheckpointError(
            Fault(("config",), f"describes a model that is too large to exist: {error}")
        ) from None
    faults = [Fault((name,), "is missing") for name in expected if name not in shapes]
    faults += [
        Fault((name,), "is not a tensor of this model") for name in shapes if name not in expected
    ]
    faults += [
        Fault((name,), f"must have the shape {expected[name]}", shape)
        for name, shape in shapes.items()
        if name in expected and shape != expected[name]
    ]
    if faults:
        raise CheckpointError(*faults)
