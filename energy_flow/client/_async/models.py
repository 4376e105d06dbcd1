"""Methods of ``AsyncFlowClient`` about models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from energy_flow.client import calls, models
from energy_flow.client._async.connection import AsyncConnection
from energy_flow.client.answers import json_as, read_nothing
from energy_flow.client.models import Model, SampleRows, model_path


class AsyncModelMethods:
    """The methods of :class:`AsyncFlowClient` about models."""

    _connection: AsyncConnection

    def models(self, *, page_size: int | None = None) -> AsyncIterator[Model]:
        """List the models on the server.

        Args:
            page_size: models per request; by default the server's choice.
        """
        return self._connection.items(calls.api_path("models"), Model, page_size)

    async def model(self, name: str) -> Model:
        """Return a model.

        Raises:
            NotFound: there is none of this name.
        """
        return await self._connection.ask(calls.get(model_path(name)), json_as(Model))

    async def create_model(
        self,
        name: str,
        *,
        preset: str | None = None,
        config: Mapping[str, Any] | None = None,
        model_seed: int | None = None,
    ) -> Model:
        """Make an untrained model.

        Args:
            name: of the model.
            preset: the config to start from: ``debug``, ``experiment`` or ``optimized``.
            config: fields that differ from the preset.
            model_seed: seed of its weights.

        Raises:
            Conflict: the name is used.
            Unprocessable: the config is not valid; the message states why.
        """
        request = models.create(name, preset, config, model_seed)
        return await self._connection.ask(request, json_as(Model))

    async def put_model(
        self,
        name: str,
        path: str | Path,
        *,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Model:
        """Keep a checkpoint (``.safetensors``) under a name.

        The same content under the same name changes nothing.

        Args:
            name: of the model.
            path: of the checkpoint.
            on_progress: called with the bytes sent so far and all bytes.

        Raises:
            OSError: the file cannot be read.
            Conflict: the name is used for another model.
            Unprocessable: the checkpoint is not valid; the message states why.
        """
        request = models.put(name, Path(path), on_progress)
        return await self._connection.ask(request, json_as(Model))

    async def sample_rows(self, name: str) -> SampleRows:
        """Return rows to try a model with, for :meth:`simulate`.

        Args:
            name: of a model that has some, such as ``spectrometer``.

        Raises:
            NotFound: the model has none, or there is none of this name.
        """
        return await self._connection.ask(models.sample(name), models.read_sample)

    async def load_model(self, name: str) -> Model:
        """Load a model now instead of at its next run."""
        return await self._connection.ask(calls.post(model_path(name, "load")), json_as(Model))

    async def unload_model(self, name: str) -> Model:
        """Free the memory of a model; runs that use it continue.

        Raises:
            Conflict: it is the default model.
        """
        return await self._connection.ask(calls.post(model_path(name, "unload")), json_as(Model))

    async def delete_model(self, name: str) -> None:
        """Remove a model.

        Raises:
            Conflict: it is the default model or part of Energy Flow, or an unfinished run uses it.
        """
        await self._connection.ask(calls.delete(model_path(name)), read_nothing)

    async def download_model(self, name: str, path: str | Path) -> Path:
        """Write the checkpoint of a model (``.safetensors``) to a file.

        Args:
            name: of the model.
            path: of the file.

        Returns:
            The path of the file.
        """
        return await self._connection.download(models.download(name, Path(path)))
