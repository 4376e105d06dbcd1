"""From a config and files to a trainer that is ready to work."""

from __future__ import annotations

from pathlib import Path

from energy_flow.config.presets import preset
from energy_flow.errors import ConfigError, Fault
from energy_flow.simulation import checkpoint
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training.config import TrainConfig
from energy_flow.training.config_rules import changed_config
from energy_flow.training.data import Pairs
from energy_flow.training.store import TrainingFolder
from energy_flow.training.trainer import Trainer


def model_of(config: TrainConfig, width: int, device: str = "cpu") -> FlowProcessor:
    """The model that a training starts from.

    Args:
        width: of the embeddings; an untrained model is made for it unless ``model.config`` names
            another.

    Raises:
        ConfigError, CheckpointError: what is wrong with the config or the file.
        OSError: the file cannot be read.
    """
    choice = config.model
    changes = dict(choice.config)
    if config.precision is not None:
        changes["precision"] = config.precision
    if choice.checkpoint is not None:
        processor = checkpoint.load(choice.checkpoint, device)
        processor.config = changed_config(processor.config, changes, fixed=True)
        return processor
    base = preset(choice.preset or "debug").replace({"embedding_dim": width})
    return FlowProcessor(changed_config(base, changes, fixed=False), device=device)


def from_files(
    config: TrainConfig,
    folder: str | Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    memory_limit_bytes: int | None = None,
) -> Trainer:
    """A trainer on the files that a config names, which keeps its work in a folder.

    Args:
        folder: where a new training is kept, or the last snapshot of this one is.
        resume: go on from there; a training that has none starts from the beginning.
        memory_limit_bytes: what it may need by prediction; no limit if none.

    Raises:
        ConfigError: no file to train on is named, the folder holds a training already, or it may
            not fit into memory.
        DataError, CheckpointError, OSError: what is wrong with the files.
    """
    store = TrainingFolder(folder)
    if config.data.train is None:
        raise ConfigError(Fault(("data", "train"), "name a .safetensors file to train on"))
    if not resume and not store.is_empty():
        raise ConfigError(Fault((), f"{folder} holds a training already; resume it or use another"))
    pairs = Pairs.read(config.data.train, config.data.rows)
    val = None if config.data.val is None else Pairs.read(config.data.val)
    snapshot = store.latest(device) if resume and store.has_snapshot() else None
    trainer = Trainer(
        config,
        model_of(config, pairs.width, device) if snapshot is None else snapshot.processor,
        pairs,
        val=val,
        store=store,
        snapshot=snapshot,
        memory_limit_bytes=memory_limit_bytes,
    )
    store.rewind(trainer.step)
    return trainer
