"""Datasets on a server, and the requests about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from energy_flow.client import calls
from energy_flow.client.exchange import Request
from energy_flow.client.results import mapping, read_as

FORMATS: Mapping[str, str] = {
    ".npy": "npy",
    ".safetensors": "safetensors",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
"""Formats of files by their suffixes."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as the server knows it.

    Attributes:
        digest: SHA-256 of the file that :meth:`download` writes; the same numbers have the same.
        dim: numbers in each row. targets_dim: numbers in a row of targets; none without them.
        data: everything that the server said about it.
    """

    name: str
    digest: str
    rows: int
    dim: int
    targets_dim: int | None
    bytes: int
    created_at: str
    data: Mapping[str, Any] = field(repr=False)


def dataset_from_json(data: Any) -> Dataset:
    """The typed form of a dataset."""
    return read_as(Dataset, {**mapping(data, "a dataset"), "data": data})


def put(
    name: str,
    source: ArrayLike | Path,
    targets: ArrayLike | None,
    format: str | None,
    on_progress: Callable[[int, int], object] | None,
) -> Request:
    """A request to keep a file or an array under a name.

    Raises:
        OSError: there is no such file.
        ValueError: the format is not known, or the arrays are not rows of numbers.
    """
    path = calls.at("datasets", name)
    if isinstance(source, Path | str):
        if targets is not None:
            raise ValueError("targets go with an array; a file brings its own")
        file = Path(source)
        return calls.put_file(path, file, on_progress, format=format or file_format(file))
    if format is not None:
        raise ValueError("format is that of a file; an array needs none")
    rows = calls.embeddings_array(source)
    if targets is None:
        return _put(path, "npy", calls.npy(rows))
    from safetensors.numpy import save

    both = {"inputs": rows, "targets": calls.embeddings_array(targets)}
    return _put(path, "safetensors", save(both))


def file_format(path: Path) -> str:
    """The format of a file, by its suffix.

    Raises:
        ValueError: it tells none.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        known = ", ".join(FORMATS)
        raise ValueError(f"{path} has none of the suffixes {known}; say which format it has")
    return found


def download(name: str, to: Path) -> Request:
    """A request for the numbers, as ``.safetensors``."""
    request = calls.get(calls.at("datasets", name), "application/octet-stream")
    return replace(request, save_to=to)


def _put(path: str, format: str, body: bytes) -> Request:
    headers = {"content-type": "application/octet-stream"}
    query = (("format", format),)
    return Request("PUT", path, query=query, headers=headers, body=body, repeatable=True)
