"""``AsyncFlowClient.datasets``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from numpy.typing import ArrayLike

from energy_flow.client import calls, datasets
from energy_flow.client._async.connection import AsyncConnection
from energy_flow.client.datasets import Dataset, dataset_from_json
from energy_flow.client.exchange import json_as, read_nothing


class AsyncDatasets:
    """The datasets of a server."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def put(
        self,
        name: str,
        source: ArrayLike | Path,
        *,
        targets: ArrayLike | None = None,
        format: str | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Dataset:
        """Keeps embeddings, and maybe targets, under a name; the same again changes nothing.

        Args:
            source: a file (a path, or its name), or rows of numbers, [rows, dim].
            targets: with an array, a row for each of its rows, [rows, targets_dim].
            format: of a file: ``safetensors``, ``npy``, ``parquet`` or ``jsonl``; by default as its
                suffix says.
            on_progress: called with the bytes of a file that have been sent, and all of them.

        Raises:
            OSError: the file cannot be read.
            ValueError: the format is not known, or the arrays are not rows of numbers.
            Conflict: the name is used for other content.
            Unprocessable: the server says what is wrong with the content.
        """
        request = datasets.put(name, source, targets, format, on_progress)
        return await self._connection.ask(request, json_as(dataset_from_json))

    def list(self, *, page_size: int | None = None) -> AsyncIterator[Dataset]:
        """Every dataset on the server, newest first, read page by page."""
        return self._connection.items(calls.at("datasets"), dataset_from_json, page_size)

    async def get(self, name: str) -> Dataset:
        """One dataset."""
        return await self._connection.ask(
            calls.get(calls.at("datasets", name)), json_as(dataset_from_json)
        )

    async def download(self, name: str, path: str | Path) -> Path:
        """Writes a dataset's numbers to a ``.safetensors`` file."""
        return await self._connection.download(datasets.download(name, Path(path)))

    async def delete(self, name: str) -> None:
        """Forgets a dataset; runs that have taken rows of it can still be replayed.

        Raises:
            Conflict: an unfinished run, or an experiment, needs it.
        """
        await self._connection.ask(calls.delete(calls.at("datasets", name)), read_nothing)
