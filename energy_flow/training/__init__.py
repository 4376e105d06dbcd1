"""Training a model: by the same steps as inference, in bounded memory, and resumable.

The usual way::

    from energy_flow.training import TrainConfig
    from energy_flow.training.start import from_files

    config = TrainConfig.from_dict(
        {"data.train": "pairs.safetensors", "losses.cosine": {}, "length.epochs": 3}
    )
    for event in from_files(config, "folder").run():
        print(event)
"""

from energy_flow.training.config import TrainConfig
from energy_flow.training.trainer import Trainer

__all__ = ["TrainConfig", "Trainer"]
