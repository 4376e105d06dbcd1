"""Models on a server, and the requests about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from energy_flow.ablation.result import AblationResult
from energy_flow.choices import ENDED_STATES
from energy_flow.client import calls
from energy_flow.client.datasets import DatasetRows
from energy_flow.client.displayed import Displayed
from energy_flow.client.errors import ProblemError, UnexpectedAnswer
from energy_flow.client.exchange import Reply, Request, problem_of

DEFAULT_MODEL: Final = "default"
"""Name of the model that a request without a model uses."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """The model that a run used.

    Attributes:
        name: its name on the server.
        trained: whether its weights are trained.
        coord_version: version of the coordinates that it uses.
        digest: SHA-256 of its weights.
    """

    name: str
    trained: bool
    coord_version: int
    digest: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Model(Displayed):
    """A model on the server.

    Attributes:
        name: its name on the server.
        trained: whether its weights are trained.
        loaded: whether it is in memory; if it is not, its next run loads it.
        digest: SHA-256 of its weights.
        created_at: time (ISO 8601).
        config: its config.
        data: the whole answer of the server.
        output_width: numbers of an output embedding; ``None`` of a server that does not name it.
        description: what it does, in one line; ``None`` if that is not known.
        read_only: whether it can neither be deleted nor replaced.
        sample_url: path of rows to try it with; ``None`` if it has none.
    """

    name: str
    trained: bool
    loaded: bool
    digest: str
    created_at: str
    config: Mapping[str, Any] = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
    output_width: int | None = None
    description: str | None = None
    read_only: bool = False
    sample_url: str | None = None

    def _facts(self) -> Mapping[str, object]:
        return {
            "name": self.name,
            "trained": self.trained,
            "loaded": self.loaded,
            "embedding_dim": self.embedding_dim,
            "output_width": self.output_width,
            "digest": self.digest[:12],
        }

    @property
    def embedding_dim(self) -> int | None:
        """Return the numbers of a row that it takes; ``None`` if its config does not state them."""
        width = self.config.get("embedding_dim")
        return width if isinstance(width, int) else None


@dataclass(frozen=True, slots=True)
class SampleRows:
    """Rows to try a model with.

    Attributes:
        inputs: embeddings, float32 [rows, dimension].
        targets: what the model should answer, float32 [rows, output width]; ``None`` if that is not
            known.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, repr=False)
class Ablation(Displayed):
    """A model that the server measures with parts of its flows switched off.

    Attributes:
        ablation_id: its id.
        state: ``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        model: the model that is measured.
        dataset: where its rows come from.
        done: rows that have been simulated, of all variants together.
        total: rows to simulate.
        current: the part that is switched off now, a name of ``choices.Ablation``; ``None`` while
            the model is measured as it is, and while the intervals are computed.
        created_at: time of the request (ISO 8601).
        result: the figures, once it has succeeded; ``print(result.table())`` shows them.
        data: the whole answer of the server.
    """

    ablation_id: str
    state: str
    model: ModelVersion
    dataset: DatasetRows
    done: int
    total: int
    current: str | None
    created_at: str
    result: AblationResult | None = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)

    def _facts(self) -> Mapping[str, object]:
        return {
            "ablation_id": self.ablation_id,
            "state": self.state,
            "model": self.model.name,
            "dataset": self.dataset.name,
            "rows": f"{self.done} of {self.total}",
        }

    @property
    def ended(self) -> bool:
        """Return whether the ablation is in a state that it never leaves."""
        return self.state in ENDED_STATES

    @property
    def problem(self) -> ProblemError | None:
        """Return why the ablation failed, if it did."""
        return problem_of(self.data)


def model_path(name: str, *parts: str) -> str:
    """Return the path of a model, or of something below it."""
    return calls.api_path("models", name, *parts)


def create(
    name: str, preset: str | None, config: Mapping[str, Any] | None, model_seed: int | None
) -> Request:
    """Return a request for an untrained model."""
    fields = {"name": name, "preset": preset, "config": config, "model_seed": model_seed}
    return calls.post_once(calls.api_path("models"), fields)


def put(name: str, file: Path, on_progress: Callable[[int, int], object] | None) -> Request:
    """Return a request to keep a checkpoint under a name.

    Args:
        name: of the model.
        file: the checkpoint.
        on_progress: called with the bytes sent so far and all bytes.

    Raises:
        OSError: there is no such file.
    """
    return calls.put_file(model_path(name), file, on_progress)


def download(name: str, to: Path) -> Request:
    """Return a request that writes a model's checkpoint to a file."""
    return calls.get_file(model_path(name), to, calls.BYTES)


def sample(name: str) -> Request:
    """Return a request for the sample rows of a model."""
    return calls.get(model_path(name, "sample"), calls.BYTES)


def read_sample(reply: Reply) -> SampleRows:
    """Return the rows in a ``.safetensors`` answer.

    Raises:
        UnexpectedAnswer: there are none.
    """
    try:
        tensors = load(reply.body)
        targets = tensors.get("targets")
        return SampleRows(
            tensors["inputs"].astype(np.float32),
            None if targets is None else targets.astype(np.float32),
        )
    except (SafetensorError, KeyError) as error:
        raise UnexpectedAnswer(f"the sample rows cannot be read: {error!r}") from None


def ablation_path(model: str, *parts: str) -> str:
    """Return the path of the ablations of a model, or of something below it."""
    return model_path(model, "ablations", *parts)


def ablate(
    model: str,
    dataset: str,
    rows: Sequence[int] | None,
    resamples: int | None,
    options: Mapping[str, Any] | None,
) -> Request:
    """Return a request for an ablation."""
    fields = {"dataset": dataset, "rows": rows, "resamples": resamples, "options": options}
    return calls.post(ablation_path(model), fields)
