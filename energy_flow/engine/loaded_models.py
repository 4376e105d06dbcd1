"""``LoadedModels``: the models whose networks are ready to run, by digest and shape."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from energy_flow.config.flow_config import MODEL_FIELDS, FlowConfig
from energy_flow.errors import EngineUnavailable, ModelNotLoaded
from energy_flow.simulation.checkpoint import load
from energy_flow.simulation.flow_processor import FlowProcessor

ModelKey = tuple[str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that an engine has loaded.

    Attributes:
        digest: SHA-256 of its weights, in hexadecimal.
        config: the model's own config.
        trained: whether the weights come from training.
    """

    digest: str
    config: FlowConfig
    trained: bool


def model_key(digest: str, config: FlowConfig) -> ModelKey:
    """Return the key of the networks of a run.

    The digest covers the weights alone. Models of different lattices can have equal weights, so
    the fields that belong to the model are part of the key.

    Args:
        digest: digest of the weights.
        config: config of the model, or of a run of it.
    """
    fields = config.to_dict()
    return digest, tuple(fields[name] for name in sorted(MODEL_FIELDS))


def make_processor(source: FlowConfig | Path, device: str) -> FlowProcessor:
    """Return a model.

    Args:
        source: a checkpoint, or the config of an untrained model.
        device: where the model is to be.

    Raises:
        CheckpointError: the file is not a usable checkpoint.
        OSError: the file cannot be read.
    """
    if isinstance(source, FlowConfig):
        return FlowProcessor(source, device=device)
    return load(source, device)


class LoadedModels:
    """Models by key; any thread may call the methods."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[ModelKey, FlowProcessor] = {}
        self._closed_because: EngineUnavailable | None = None

    def add(self, processor: FlowProcessor) -> LoadedModel:
        """Add a model; an equal one is replaced.

        Args:
            processor: model on the engine's device.
        """
        digest = processor.digest()
        with self._lock:
            self._models[model_key(digest, processor.config)] = processor
        return LoadedModel(digest, processor.config, processor.trained)

    def get(self, digest: str, config: FlowConfig) -> FlowProcessor:
        """Return the networks of a model.

        Args:
            digest: digest of the weights.
            config: config of the model, or of a run of it.

        Raises:
            EngineUnavailable: the models are closed.
            ModelNotLoaded: the model is not loaded.
        """
        with self._lock:
            # Callers load a model that is not loaded, which a stopped engine does not do.
            if self._closed_because is not None:
                raise EngineUnavailable(str(self._closed_because))
            processor = self._models.get(model_key(digest, config))
        if processor is None:
            raise ModelNotLoaded(digest)
        return processor

    def remove(self, digest: str, config: FlowConfig) -> None:
        """Forget a model; runs that use it continue.

        Args:
            digest: digest of the weights.
            config: config of the model.
        """
        with self._lock:
            self._models.pop(model_key(digest, config), None)

    def close(self, reason: EngineUnavailable) -> None:
        """Forget all models.

        Args:
            reason: why none can be used any more.
        """
        with self._lock:
            self._closed_because = reason
            self._models.clear()
