"""Trained models that are part of the package, with rows to try them with.

For example::

    from energy_flow import checkpoint, pretrained

    model = pretrained.find("spectrometer")
    processor = checkpoint.load(model.checkpoint)

The files lie beside this module: ``NAME.safetensors`` is a checkpoint, and
``NAME_sample.safetensors`` has rows of the task that the model was trained for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT: Final = "dictionary"
"""Name of the model that is used where none is chosen, by a new server for example."""

_FOLDER: Final = Path(__file__).resolve().parent

_DESCRIPTIONS: Final = {
    "dictionary": (
        "Predicts the embedding of a word from that of its definition; flows take one step, "
        "down or up by the sign of their energy"
    ),
    "spectrometer": (
        "Carries blobs of a 10 × 10 picture to two exit planes: positive ones along y to z0, "
        "negative ones along x to zdepth, strong ones farther than weak ones"
    ),
}


@dataclass(frozen=True, slots=True)
class PretrainedModel:
    """A trained model of the package.

    Attributes:
        name: its name.
        description: what it does, in one line.
        checkpoint: its ``.safetensors`` file, which ``checkpoint.load`` reads.
        sample: a ``.safetensors`` file with ``inputs`` [rows, dim] and ``targets`` [rows, width],
            by which the model was not trained.
    """

    name: str
    description: str
    checkpoint: Path
    sample: Path


def names() -> tuple[str, ...]:
    """Return the names of all models of the package."""
    return tuple(_DESCRIPTIONS)


def find(name: str) -> PretrainedModel:
    """Return a model of the package.

    Args:
        name: one of :func:`names`.

    Raises:
        KeyError: no model has the name.
    """
    if name not in _DESCRIPTIONS:
        raise KeyError(f"there is no pretrained model {name!r}; there are {', '.join(names())}")
    return PretrainedModel(
        name,
        _DESCRIPTIONS[name],
        _FOLDER / f"{name}.safetensors",
        _FOLDER / f"{name}_sample.safetensors",
    )
