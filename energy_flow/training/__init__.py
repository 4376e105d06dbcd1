"""Training a model: by the same steps as inference, in bounded memory, and resumable.

The usual way::

    from energy_flow.training import TrainConfig
    from energy_flow.training.start import from_files

    config = TrainConfig.from_dict(
        {"data.train": "pairs.safetensors", "losses.cosine": {}, "length.epochs": 3}
    )
    for event in from_files(config, "folder").run():
        print(event)

Names are loaded at their first use (PEP 562): a config is read and checked without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_flow.training.config import TrainConfig
    from energy_flow.training.trainer import Trainer

__all__ = ["TrainConfig", "Trainer"]

_MODULES = {"TrainConfig": "config", "Trainer": "trainer"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
