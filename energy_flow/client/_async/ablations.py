"""``AsyncFlowClient.ablations``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from energy_flow.client import calls, models
from energy_flow.client._async.connection import AsyncConnection
from energy_flow.client.answers import json_as, read_nothing
from energy_flow.client.models import Ablation, ablation_path


class AsyncAblations:
    """The ablations of a server: models with parts of their flows switched off.

    The server keeps them until it stops.

    Args:
        connection: to the server.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def start(
        self,
        model: str,
        dataset: str,
        *,
        rows: Sequence[int] | None = None,
        resamples: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Ablation:
        """Queue an ablation and return at once; :meth:`wait` waits for its result.

        Args:
            model: name of the model.
            dataset: name of a dataset with targets, of the widths of the model.
            rows: of the dataset: the first row, and the row after the last.
            resamples: samples of rows from which intervals are computed.
            options: run-time fields of the config, for example ``{"noise_std": 0.1}``.

        Raises:
            NotFound: there is no such model or dataset.
            Unprocessable: the dataset does not suit the model; the server reports every fault.
        """
        request = models.ablate(model, dataset, rows, resamples, options)
        return await self._connection.ask(request, json_as(Ablation))

    def list(self, model: str, *, page_size: int | None = None) -> AsyncIterator[Ablation]:
        """List the ablations of a model that the server still keeps, newest first.

        Args:
            model: name of the model.
            page_size: ablations per request; by default the server's choice.
        """
        return self._connection.items(ablation_path(model), Ablation, page_size)

    async def get(self, model: str, ablation_id: str) -> Ablation:
        """Return an ablation.

        Args:
            model: name of the model.
            ablation_id: of the ablation.

        Raises:
            NotFound: there is none of this id, or not any more.
        """
        request = calls.get(ablation_path(model, ablation_id))
        return await self._connection.ask(request, json_as(Ablation))

    async def wait(
        self,
        model: str,
        ablation_id: str,
        on_progress: Callable[[Ablation], object] | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> Ablation:
        """Wait until an ablation has ended, in whatever state, and return it.

        Args:
            model: name of the model.
            ablation_id: of the ablation.
            on_progress: called with the ablation whenever it has changed.
            timeout_seconds: time limit; by default none.

        Raises:
            NotFound: it was removed, or the server has been started again.
            ResponseTimeout: it has not ended in time.
        """
        return await self._connection.wait_until_ended(
            f"ablation {ablation_id}",
            ablation_path(model, ablation_id),
            Ablation,
            self._connection.retry,
            on_progress,
            timeout_seconds,
        )

    async def delete(self, model: str, ablation_id: str) -> None:
        """Cancel an ablation that has not ended, or remove one that has.

        Args:
            model: name of the model.
            ablation_id: of the ablation.

        Raises:
            NotFound: there is none of this id, or not any more.
        """
        await self._connection.ask(calls.delete(ablation_path(model, ablation_id)), read_nothing)
