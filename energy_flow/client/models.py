"""Models on a server, and the requests about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energy_flow.client import calls
from energy_flow.client.exchange import Request


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


@dataclass(frozen=True, slots=True)
class Model:
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
    """

    name: str
    trained: bool
    loaded: bool
    digest: str
    created_at: str
    config: Mapping[str, Any] = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
    output_width: int | None = None


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
