"""``LoadedModels``: the models whose networks are ready to run, by digest and shape."""

from __future__ import annotations

import threading
import time
from collections.abc import Container
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from weakref import WeakKeyDictionary

from energy_flow.config.flow_config import MODEL_FIELDS, FlowConfig
from energy_flow.errors import EngineUnavailable, ModelNotLoaded
from energy_flow.simulation.checkpoint import load
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.model_footprint import loaded_bytes

ModelKey = tuple[str, tuple[object, ...]]

SECONDS_UNTIL_USED = 1.0
"""How long a model that nothing uses yet is kept, because it was loaded for a run that follows."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that an engine has loaded, or whose checkpoint it has written.

    Attributes:
        digest: SHA-256 of its weights, in hexadecimal.
        config: the model's own config.
        trained: whether the weights come from training.
    """

    digest: str
    config: FlowConfig
    trained: bool


@dataclass(slots=True)
class _Entry:
    """A model that is ready to run.

    Attributes:
        processor: the model.
        is_permanent: whether it stays until it is unloaded by name.
        used_at: when it was last used, on the clock of ``time.monotonic()``.
        is_new: whether nothing has used it yet.
    """

    processor: FlowProcessor
    is_permanent: bool
    used_at: float
    is_new: bool = True


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
        self._models: dict[ModelKey, _Entry] = {}
        # Models that were unloaded are in memory for as long as a run uses them.
        self._alive: WeakKeyDictionary[FlowProcessor, int] = WeakKeyDictionary()
        self._closed_because: EngineUnavailable | None = None

    def add(self, processor: FlowProcessor, *, is_permanent: bool = True) -> LoadedModel:
        """Add a model; an equal one is replaced, and stays permanent if it was.

        Args:
            processor: model on the engine's device.
            is_permanent: whether :meth:`remove_oldest` leaves it.
        """
        digest = processor.digest()
        key = model_key(digest, processor.config)
        with self._lock:
            known = self._models.get(key)
            is_permanent = is_permanent or (known is not None and known.is_permanent)
            self._models[key] = _Entry(processor, is_permanent, time.monotonic())
            self._alive[processor] = loaded_bytes(processor.config)
        return LoadedModel(digest, processor.config, processor.trained)

    def get(self, digest: str, config: FlowConfig) -> FlowProcessor:
        """Return the networks of a model, which count as used now.

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
            entry = self._models.get(model_key(digest, config))
            if entry is None:
                raise ModelNotLoaded(digest)
            entry.used_at, entry.is_new = time.monotonic(), False
            return entry.processor

    def has(self, key: ModelKey) -> bool:
        """Return whether a model is loaded.

        Args:
            key: of the model.
        """
        with self._lock:
            return key in self._models

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of the models, each once."""
        with self._lock:
            return tuple(dict.fromkeys(digest for digest, _ in self._models))

    def remove(self, digest: str, config: FlowConfig) -> None:
        """Forget a model; runs that use it continue.

        Args:
            digest: digest of the weights.
            config: config of the model.
        """
        with self._lock:
            self._models.pop(model_key(digest, config), None)

    def remove_oldest(self, busy: Container[int]) -> bool:
        """Forget the model that was not used for the longest time, and return whether there is one.

        Args:
            busy: ids of the models that stay, because work uses them.
        """
        now = time.monotonic()
        with self._lock:
            idle = [
                (entry.used_at, key)
                for key, entry in self._models.items()
                if self._is_idle(entry, busy)
                and not (entry.is_new and now < entry.used_at + SECONDS_UNTIL_USED)
            ]
            if not idle:
                return False
            _, oldest = min(idle, key=itemgetter(0))
            del self._models[oldest]
            return True

    @property
    def bytes(self) -> int:
        """Memory of all models, also of those that were unloaded while a run uses them."""
        with self._lock:
            return sum(self._alive.values())

    def lasting_bytes(self, busy: Container[int]) -> int:
        """Return the memory of the models that are loaded or in use.

        Those that were unloaded, and that no work uses any more, are about to leave.

        Args:
            busy: ids of the models that work uses.
        """
        with self._lock:
            loaded = {id(entry.processor) for entry in self._models.values()}
            return sum(
                size
                for processor, size in self._alive.items()
                if id(processor) in loaded or id(processor) in busy
            )

    def permanent_bytes(self, model: ModelKey | FlowProcessor | None = None) -> int:
        """Return the memory of the models that :meth:`remove_oldest` leaves.

        Args:
            model: a model, or its key, that is not counted.
        """
        with self._lock:
            return sum(
                self._alive[entry.processor]
                for key, entry in self._models.items()
                if entry.is_permanent and key != model and entry.processor is not model
            )

    def close(self, reason: EngineUnavailable) -> None:
        """Forget all models.

        Args:
            reason: why none can be used any more.
        """
        with self._lock:
            self._closed_because = reason
            self._models.clear()

    @staticmethod
    def _is_idle(entry: _Entry, busy: Container[int]) -> bool:
        return not entry.is_permanent and id(entry.processor) not in busy
