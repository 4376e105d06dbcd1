"""Which files a training reads and where it keeps its own, found without torch."""

from __future__ import annotations

from pathlib import Path

from energy_flow.errors import ConfigError, Fault
from energy_flow.training.config import TrainConfig
from energy_flow.training.event_log import EVENTS

CHECKPOINTS = "checkpoints"


def require_data(config: TrainConfig) -> str:
    """Return the file to train on.

    Args:
        config: config of the training.

    Raises:
        ConfigError: the config names none.
    """
    if config.data.train is None:
        raise ConfigError(Fault(("data", "train"), "must name a file to train on"))
    return config.data.train


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
