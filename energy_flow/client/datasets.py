"""Datasets on a server, and the requests about them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import save

from energy_flow.choices import DatasetFormat
from energy_flow.client import calls
from energy_flow.client.exchange import Request
from energy_flow.client.tensors import embeddings_array


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """The part of a dataset that a run or an experiment is about.

    Attributes:
        name: of the dataset.
        digest: of the whole dataset.
        rows: the first row, and the row after the last.
    """

    name: str
    digest: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset on the server.

    Attributes:
        name: its name on the server.
        digest: SHA-256 of the file that ``download`` writes; equal numbers have equal digests.
        rows: how many there are.
        dim: numbers in each row.
        targets_dim: numbers in each row of targets; ``None`` without targets.
        bytes: size on the server.
        created_at: time (ISO 8601).
        data: the whole answer of the server.
    """

    name: str
    digest: str
    rows: int
    dim: int
    targets_dim: int | None
    bytes: int
    created_at: str
    # The answer to an upload also has what was read of the file.
    data: Mapping[str, Any] = field(repr=False, compare=False)


def dataset_path(name: str) -> str:
    """Return the path of a dataset."""
    return calls.api_path("datasets", name)


def put(
    name: str,
    source: ArrayLike | Path,
    targets: ArrayLike | None,
    format: str | None,
    column: str | None,
    on_progress: Callable[[int, int], object] | None,
) -> Request:
    """Return a request to keep a file or an array under a name.

    Args:
        name: of the dataset.
        source: a file, or rows of numbers [rows, dim].
        targets: with an array, [rows, targets_dim].
        format: of a file; by default that of its suffix.
        column: of a file: the one with the embeddings; by default one of the usual names.
        on_progress: called with the bytes of a file that were sent so far and all its bytes.

    Raises:
        OSError: there is no such file.
        ValueError: the format is not known, or the arrays are not rows of numbers.
    """
    path = dataset_path(name)
    if isinstance(source, Path | str):
        if targets is not None:
            raise ValueError("targets belong to an array; put those of a file into the file")
        file = Path(source)
        query = {"format": format or file_format(file)}
        if column is not None:
            query["column"] = column
        return calls.put_file(path, file, on_progress, **query)
    if format is not None or column is not None:
        raise ValueError("format and column belong to a file; leave them out with an array")
    rows = embeddings_array(source)
    if targets is None:
        return calls.put(path, _npy(rows), format=DatasetFormat.NPY)
    both = {"inputs": rows, "targets": embeddings_array(targets)}
    return calls.put(path, save(both), format=DatasetFormat.SAFETENSORS)


def file_format(path: Path) -> str:
    """Return the format of a file by its suffix.

    Raises:
        ValueError: no format has this suffix.
    """
    found = DatasetFormat.of_file(path.name)
    if found is not None:
        return found.value
    known = ", ".join(suffix for format in DatasetFormat for suffix in format.suffixes)
    raise ValueError(f"{path} has none of the suffixes {known}; give its format")


def download(name: str, to: Path) -> Request:
    """Return a request that writes a dataset to a ``.safetensors`` file."""
    return calls.get_file(dataset_path(name), to, calls.BYTES)


def _npy(rows: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()
