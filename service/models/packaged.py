"""Models that are part of Energy Flow, as models of a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from energy_flow import pretrained
from energy_flow.simulation.checkpoint import identify
from service.models.model import Model


@dataclass(frozen=True, slots=True)
class SampleRows:
    """Rows to try a model with.

    Attributes:
        inputs: float32 [rows, dim].
        targets: What the model should answer, float32 [rows, width]; ``None`` if that is not known.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32] | None


def find_packaged() -> dict[str, Model]:
    """Return the models of the package by name; their weights are not loaded.

    Raises:
        CheckpointError: A checkpoint is damaged.
        OSError: A file cannot be read.
    """
    return {
        name: _describe(pretrained.find(name), -number)
        for number, name in enumerate(pretrained.names(), start=1)
    }


def read_sample(path: Path) -> SampleRows:
    """Return the sample rows of a model.

    Args:
        path: Its ``.safetensors`` file.

    Raises:
        OSError: The file cannot be read.
    """
    tensors: dict[str, NDArray[Any]] = load(path.read_bytes())
    targets = tensors.get("targets")
    return SampleRows(
        tensors["inputs"].astype(np.float32),
        None if targets is None else targets.astype(np.float32),
    )


def _describe(model: pretrained.PretrainedModel, position: int) -> Model:
    found = identify(model.checkpoint)
    return Model(
        model.name,
        found["config"],
        found["trained"],
        found["digest"],
        model.checkpoint.stat().st_mtime,
        model.checkpoint,
        is_loaded=False,
        position=position,
        is_packaged=True,
        description=model.description,
        sample=model.sample,
    )
