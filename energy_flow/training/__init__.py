"""Training a model: over the same steps as inference, in bounded memory, resumable.

The usual way in::

    from energy_flow.training import TrainConfig, Trainer

    trainer = Trainer(TrainConfig.from_dict({"data.train": "pairs.safetensors"}))
    for event in trainer.run():
        print(event)
"""

from energy_flow.training.config import TrainConfig
from energy_flow.training.trainer import Trainer

__all__ = ["TrainConfig", "Trainer"]
