# Generated from energy_flow/client/_async/client.py by scripts/unasync.py; edit that file.
"""``FlowClient``, the blocking client of an Energy Flow server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from numpy.typing import ArrayLike

from energy_flow.client import calls, simulation
from energy_flow.client._sync.ablations import Ablations
from energy_flow.client._sync.connection import Connection
from energy_flow.client._sync.datasets import Datasets
from energy_flow.client._sync.experiments import Experiments
from energy_flow.client._sync.models import ModelMethods
from energy_flow.client._sync.runs import RunMethods
from energy_flow.client._sync.texts import Texts
from energy_flow.client.answers import json_as, read_object
from energy_flow.client.connection import DEFAULT_URL, client_arguments
from energy_flow.client.retry import Retry
from energy_flow.client.simulation import Estimate, Simulation, read_simulation
from energy_flow.client.text_encoder import EncoderChoice


class FlowClient(RunMethods, ModelMethods):
    """The blocking client of an Energy Flow server.

    Use it as a context manager, or call :meth:`close`. Every method may raise
    :class:`~energy_flow.client.errors.FlowClientError`; where the server refuses, it is a
    :class:`~energy_flow.client.errors.ProblemError`.

    Args:
        url: address of the server.
        api_key: sent as bearer token.
        retry: when a request is sent again while the server is busy (429, 503); ``NO_RETRY``
            disables that.
        timeout: seconds to wait for an answer; by default without limit.
        connect_timeout: seconds to wait for a connection.
        transport: carries the requests instead of the network, for tests.

    Raises:
        ValueError: ``url`` is not the address of a web server.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        connect_timeout: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        arguments = client_arguments(url, api_key, timeout, connect_timeout)
        self._connection = Connection(arguments, retry or Retry(), transport)
        self._ablations = Ablations(self._connection)
        self._datasets = Datasets(self._connection)
        self._experiments = Experiments(self._connection)
        self._texts = Texts(self._connection)

    @property
    def url(self) -> str:
        """Return the address of the server."""
        return self._connection.url

    @property
    def ablations(self) -> Ablations:
        """Return the ablations of the models of the server."""
        return self._ablations

    @property
    def datasets(self) -> Datasets:
        """Return the datasets of the server."""
        return self._datasets

    @property
    def experiments(self) -> Experiments:
        """Return the experiments of the server."""
        return self._experiments

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def simulate(
        self,
        embeddings: ArrayLike | None = None,
        *,
        texts: Sequence[str] | None = None,
        encoder: EncoderChoice | None = None,
        options: Mapping[str, Any] | None = None,
        seed: int | None = None,
        sample_keys: Sequence[int] | None = None,
        outputs: Sequence[str] | None = None,
        trace: Mapping[str, Any] | None = None,
        model: str | None = None,
        store: bool | None = None,
        timeout_ms: int | None = None,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        note: str | None = None,
    ) -> Simulation:
        """Simulate a batch now and return everything.

        Args:
            embeddings: rows of numbers, [rows, dimension], or the answer of an embeddings API.
            texts: in place of embeddings: sentences, a row each, which are encoded in this process.
                This needs ``energy-flow[text]``, unless the encoder is an object.
            encoder: of texts: name or folder of a model of sentence-transformers, which is loaded
                once, or an object whose method ``encode`` takes a list of texts and returns their
                embeddings. By default ``DEFAULT_ENCODER`` of ``energy_flow.client``.
            options: run-time fields of the config, for example ``{"noise_std": 0.1}``.
            seed: of the noise.
            sample_keys: one per row; a row with its key gives the same result in any batch. By
                default the index of the row.
            outputs: a name of :class:`energy_flow.choices.Output`, such as ``surface``, or several.
            trace: ``capacity``, ``keep``, ``kinds``, and ``inline``, the number of records that
                come with the answer.
            model: name of a model on the server.
            store: whether the server keeps the run; by default it does.
            timeout_ms: time after which the server aborts the run.
            name: what the run is called; need not be unique.
            tags: by which :meth:`runs` finds it.
            note: text about it.

        Raises:
            ValueError: both or neither of embeddings and texts are given, the embeddings are not
                rows of numbers, a text is empty, or the model takes rows of another width than the
                encoder gives.
            ModuleNotFoundError: sentence-transformers is not installed.
            EncoderUnavailable: the encoder cannot be loaded.
            ProblemError: the server refuses.
        """
        rows = self._texts.rows(embeddings, texts, encoder, model)
        request = simulation.simulate(
            rows,
            options=options,
            seed=seed,
            sample_keys=sample_keys,
            outputs=outputs,
            trace=trace,
            model=model,
            store=store,
            timeout_ms=timeout_ms,
            name=name,
            tags=tags,
            note=note,
        )
        return self._connection.ask(request, read_simulation)

    def dry_run(
        self,
        embeddings: ArrayLike | None = None,
        *,
        texts: Sequence[str] | None = None,
        encoder: EncoderChoice | None = None,
        options: Mapping[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        trace: Mapping[str, Any] | None = None,
        model: str | None = None,
    ) -> Estimate:
        """Check the arguments as :meth:`simulate` does and return the cost; run nothing.

        Args:
            embeddings: as for :meth:`simulate`.
            texts: as for :meth:`simulate`; they are encoded.
            encoder: as for :meth:`simulate`.
            options: as for :meth:`simulate`.
            outputs: as for :meth:`simulate`.
            trace: as for :meth:`simulate`.
            model: as for :meth:`simulate`.

        Raises:
            ValueError: as :meth:`simulate`.
            ModuleNotFoundError: as :meth:`simulate`.
            EncoderUnavailable: as :meth:`simulate`.
            ProblemError: the server refuses.
        """
        rows = self._texts.rows(embeddings, texts, encoder, model)
        request = simulation.simulate(
            rows, dry_run=True, options=options, outputs=outputs, trace=trace, model=model
        )
        return self._connection.ask(request, json_as(Estimate))

    def system(self) -> Mapping[str, Any]:
        """Return the versions, the device, the memory, the queue and the engine of the server."""
        return self._connection.ask(calls.get(calls.api_path("system")), read_object)

    def ready(self) -> bool:
        """Return whether the server accepts work; not, if there is no answer."""
        return self._connection.is_up("/readyz")

    def live(self) -> bool:
        """Return whether the process of the server answers."""
        return self._connection.is_up("/livez")

    def wait_until_ready(self, timeout_seconds: float | None = None) -> None:
        """Wait until the server accepts work.

        Args:
            timeout_seconds: time limit; by default none.

        Raises:
            ResponseTimeout: it is not ready in time.
        """
        self._connection.wait_until_ready(timeout_seconds)
