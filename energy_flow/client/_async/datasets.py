"""``AsyncFlowClient.datasets``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from numpy.typing import ArrayLike

from energy_flow.client import calls, datasets
from energy_flow.client._async.connection import AsyncConnection
from energy_flow.client.answers import json_as, read_nothing
from energy_flow.client.datasets import Dataset, dataset_path


class AsyncDatasets:
    """The datasets of a server.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def put(
        self,
        name: str,
        source: ArrayLike | Path,
        *,
        targets: ArrayLike | None = None,
        format: str | None = None,
        column: str | None = None,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Dataset:
        """Keep embeddings, with targets if there are any, under a name.

        The same content under the same name changes nothing.

        Args:
            name: of the dataset.
            source: a file (a path, or its name), or rows of numbers, [rows, dim].
            targets: with an array, a row for each of its rows, [rows, targets_dim].
            format: of a file: a :class:`energy_flow.choices.DatasetFormat`; by default that of its
                suffix.
            column: of a file: the tensor, column or member with the embeddings, if several could
                be.
            on_progress: called with the bytes of a file that were sent so far and all its bytes.

        Raises:
            OSError: the file cannot be read.
            ValueError: the format is not known, or the arrays are not rows of numbers.
            Conflict: the name is used for other content.
            Unprocessable: the content is not valid; the message states why.
        """
        request = datasets.put(name, source, targets, format, column, on_progress)
        return await self._connection.ask(request, json_as(Dataset))

    def list(self, *, page_size: int | None = None) -> AsyncIterator[Dataset]:
        """List the datasets on the server, newest first.

        Args:
            page_size: datasets per request; by default the server's choice.
        """
        return self._connection.items(calls.api_path("datasets"), Dataset, page_size)

    async def get(self, name: str) -> Dataset:
        """Return a dataset.

        Raises:
            NotFound: there is none of this name.
        """
        return await self._connection.ask(calls.get(dataset_path(name)), json_as(Dataset))

    async def download(self, name: str, path: str | Path) -> Path:
        """Write a dataset to a ``.safetensors`` file.

        Args:
            name: of the dataset.
            path: of the file.

        Returns:
            The path of the file.
        """
        return await self._connection.download(datasets.download(name, Path(path)))

    async def delete(self, name: str) -> None:
        """Remove a dataset; runs that used rows of it can still be replayed.

        Raises:
            Conflict: an unfinished run, or an experiment, needs it.
        """
        await self._connection.ask(calls.delete(dataset_path(name)), read_nothing)
