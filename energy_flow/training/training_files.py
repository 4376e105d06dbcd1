"""Where the files of a training are in its folder, read without torch."""

from __future__ import annotations

from pathlib import Path

from energy_flow.errors import ConfigError, Fault
from energy_flow.training.event_log import EVENTS

CHECKPOINTS = "checkpoints"


def find_snapshots(folder: Path) -> list[Path]:
    """Return the folders of the snapshots of a training, the last one at the end."""
    return sorted((folder / CHECKPOINTS).glob("step-*"))


def check_unused(folder: Path) -> None:
    """Refuse a folder that holds a training.

    Args:
        folder: where a new training is to be kept; it need not exist.

    Raises:
        ConfigError: a training is there.
    """
    if find_snapshots(folder) or (folder / EVENTS).exists():
        message = f"{folder} holds a training already; resume it or choose another folder"
        raise ConfigError(Fault((), message))
