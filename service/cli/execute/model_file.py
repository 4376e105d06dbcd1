"""The file of a model, from its path or from the name of a model of the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from energy_flow import pretrained
from service.cli.input.failures import CommandFailed


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The file of a model.

    Attributes:
        name: as it was given.
        path: of the file.
    """

    name: str
    path: Path


def find_checkpoint(model: str, word: str) -> Checkpoint:
    """Return the file of a model.

    Args:
        model: file of a checkpoint, or the name of a model of the package; a file wins.
        word: what stands for it on the command line, for messages.

    Raises:
        CommandFailed: there is no such file.
    """
    path = Path(model)
    if not path.exists() and model in pretrained.names():
        path = pretrained.find(model).checkpoint
    if not path.is_file():
        raise CommandFailed(
            f"there is no checkpoint {path}; check {word}, or name a trained model of the "
            f"package: {', '.join(pretrained.names())}"
        )
    return Checkpoint(model, path)
