"""From a config, and the files that it names, to a model and a trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from energy_flow.choices import Preset
from energy_flow.config.presets import preset
from energy_flow.simulation import checkpoint
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training.config import TrainConfig
from energy_flow.training.data import Pairs
from energy_flow.training.initial_weights import set_initial_weights
from energy_flow.training.model_source import change_config, untrained_config
from energy_flow.training.store import ResumableStore, TrainingFolder
from energy_flow.training.trainer import Trainer
from energy_flow.training.training_files import check_unused, require_data


def model_of(
    config: TrainConfig, width: int, device: str = "cpu", *, target_width: int | None = None
) -> FlowProcessor:
    """Return the model that a training starts from.

    An untrained model has the widths of the data, unless ``model.config`` sets others: its
    ``embedding_dim`` is the width of the inputs, and its ``output_dim`` that of the targets where
    that is not what the config gives by itself. With mapper identity, both follow from the lattice.

    Args:
        config: config of the training.
        width: number of components of the inputs.
        device: where the model is to be.
        target_width: number of components of the targets; that of the inputs if none.

    Raises:
        ConfigError: with the faults of the config.
        CheckpointError: the file of the model cannot be used.
        OSError: the file cannot be read.
    """
    source = config.model
    changes = dict(source.config)
    if config.precision is not None:
        changes["precision"] = config.precision
    if source.checkpoint is not None:
        processor = checkpoint.load(source.checkpoint, device)
        processor.config = change_config(processor.config, changes, is_fixed=True)
        return processor
    base = preset(source.preset or Preset.DEBUG)
    made = untrained_config(base, changes, width, width if target_width is None else target_width)
    processor = FlowProcessor(made, device=device)
    set_initial_weights(processor, source.initial)
    return processor


def from_files(
    config: TrainConfig,
    folder: str | Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    memory_limit_bytes: int | None = None,
    read: Callable[[str, tuple[int, int] | None], Pairs] = Pairs.read,
) -> Trainer:
    """Return a trainer on the files that a config names, which keeps its work in a folder.

    Args:
        config: config of the training.
        folder: where the training is kept.
        resume: whether to resume the training in the folder from its last snapshot; without a
            snapshot it starts from the beginning.
        device: where to train.
        memory_limit_bytes: largest predicted memory; no limit if none.
        read: returns the pairs of a file; all, or those from a first row to before another.

    Raises:
        ConfigError: the config names no file to train on, the folder holds a training already, or
            the training may not fit in the memory.
        DataError: the pairs cannot be used.
        CheckpointError: the model or the snapshot cannot be used.
        OSError: a file cannot be read.
    """
    store = TrainingFolder(folder)
    if not resume:
        require_data(config)
        check_unused(store.path)
    return start_training(
        config, store, device=device, memory_limit_bytes=memory_limit_bytes, read=read
    )


def start_training(
    config: TrainConfig,
    store: ResumableStore,
    *,
    device: str = "cpu",
    memory_limit_bytes: int | None = None,
    read: Callable[[str, tuple[int, int] | None], Pairs] = Pairs.read,
) -> Trainer:
    """Return a trainer on the files that a config names, from the last snapshot of its store.

    Args:
        config: config of the training.
        store: where the training is kept; without a snapshot it starts from the beginning.
        device: where to train.
        memory_limit_bytes: largest predicted memory; no limit if none.
        read: returns the pairs of a file; all, or those from a first row to before another.

    Raises:
        ConfigError: the config names no file to train on, or the training may not fit in the
            memory.
        DataError: the pairs cannot be used.
        CheckpointError: the model or the snapshot cannot be used.
        OSError: a file cannot be read.
    """
    pairs = read(require_data(config), config.data.rows)
    val = None if config.data.val is None else read(config.data.val, None)
    snapshot = store.latest(device) if store.has_snapshot() else None
    trainer = Trainer(
        config,
        snapshot.processor
        if snapshot is not None
        else model_of(config, pairs.width, device, target_width=pairs.target_width),
        pairs,
        val=val,
        store=store,
        snapshot=snapshot,
        memory_limit_bytes=memory_limit_bytes,
    )
    store.rewind(trainer.step)
    return trainer
