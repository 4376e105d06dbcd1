"""Named models: the default one of the settings, and those that callers make."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.presets import preset
from energy_flow.engine import Engine
from energy_flow.errors import ConfigError, Fault
from energy_flow.runtime.threads import apart
from energy_flow.simulation.checkpoint import describe, load, save
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.footprint import require_fit
from service.problems import Problem, invalid
from service.schemas import ModelFields
from service.store.atomic_files import UnfinishedFile, sync
from service.store.database import Database
from service.store.references import check_model_unused
from service.store.tables import ModelRow

log = logging.getLogger(__name__)

DEFAULT = "default"

SERVED_DEFAULT = "energy_flow"
"""What the Open Inference Protocol calls the default model, so that no other has this name."""


@dataclass(frozen=True)
class Model:
    """A model that may be loaded.

    Attributes:
        digest: SHA-256 of its weights.
        checkpoint: its file; ``None`` for the default model of a preset, whose weights follow from
            its config.
        processor: its networks, once they are loaded.
        position: of its row in the index; 0 for the default.
    """

    name: str
    config: FlowConfig
    trained: bool
    digest: str
    created_at: float
    checkpoint: Path | None
    processor: FlowProcessor | None
    position: int = 0

    @property
    def loaded(self) -> FlowProcessor:
        """Its networks.

        Raises:
            RuntimeError: they are not loaded; :meth:`ModelRegistry.ready` sees to that.
        """
        if self.processor is None:
            raise RuntimeError(f"the model {self.name!r} is not loaded")
        return self.processor


class ModelRegistry:
    """All models by name. Methods block, but for the coroutines.

    Args:
        folder: where checkpoints lie.
        device: where models are loaded.
    """

    def __init__(self, database: Database, folder: Path, engine: Engine, device: str) -> None:
        self._database = database
        self._folder = folder
        self._engine = engine
        self._device = device
        self._models: dict[str, Model] = {}
        # Held while models are made and loaded, which can take long.
        self._making = threading.Lock()
        # Held while a row that refers to a model is added, and while one is removed.
        self._removing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, default: FlowConfig, checkpoint: Path | None) -> None:
        """Loads the default model and finds the others.

        Args:
            default: config of the default model, where there is no checkpoint.
            checkpoint: the default model.

        Raises:
            CheckpointError, ConfigError: the default model is refused.
        """
        processor = self._untrained(default) if checkpoint is None else self._loaded(checkpoint)
        self._models[DEFAULT] = Model(
            DEFAULT,
            processor.config,
            processor.trained,
            processor.digest(),
            time.time(),
            checkpoint,
            processor,
        )
        with self._database.session() as session:
            rows = list(session.scalars(select(ModelRow).order_by(ModelRow.position)))
        for row in rows:
            self._models[row.name] = self._model(row, None)
        self._remove_leftovers()

    def find(self, name: str) -> Model:
        """The model of that name, loaded or not.

        Raises:
            Problem: 404.
        """
        model = self._models.get(name)
        if model is None:
            known = ", ".join(sorted(self._models))
            raise Problem(
                404,
                f"there is no model {name!r}; known are {known}",
                faults=[Fault(("model",), f"known are {known}", name)],
            )
        return model

    async def ready(self, name: str) -> Model:
        """The model of that name, loaded."""
        model = self.find(name)
        return model if model.processor is not None else await asyncio.to_thread(self._load, name)

    def newest_first(self) -> list[Model]:
        """All models, the default last."""
        return sorted(self._models.values(), key=lambda model: -model.position)

    def create(
        self, fields: ModelFields, idempotency: tuple[str, str] | None = None
    ) -> tuple[Model, bool]:
        """Makes an untrained model, durably.

        Args:
            idempotency: the caller's key and a digest of the request.

        Returns:
            the model, and whether an earlier request with the same key had made it.

        Raises:
            ConfigError: the preset or the config is refused.
            Problem: 409, the name is taken; 422, the key was used for another request.
        """
        check_name(fields.name)
        with self._making:
            if idempotency is not None:
                known = self._with_key(*idempotency)
                if known is not None:
                    return known, True
            if fields.name in self._models:
                raise Problem(409, f"there is a model {fields.name!r} already")
            processor = self._untrained(config_of(fields))
            write = partial(save, processor, self._path(fields.name))
            return self._add(fields.name, processor, write, idempotency), False

    def put(self, name: str, checkpoint: UnfinishedFile) -> tuple[Model, bool]:
        """Names a checkpoint that was sent, durably, once all of it has been checked.

        Returns:
            the model, and whether its name is new.

        Raises:
            CheckpointError: it is none, of another version, damaged, or not what its config says.
            ConfigError: not even one sample of it fits in memory.
            Problem: 409, the name is taken by another model; 422, it is reserved.
        """
        check_name(name)
        checkpoint.make_safe()
        self._check_fit(describe(checkpoint.path)["config"])
        processor = self._loaded(checkpoint.path)
        with self._making:
            known = self._models.get(name)
            if known is not None:
                sent = (processor.digest(), processor.config, processor.trained)
                if sent != (known.digest, known.config, known.trained):
                    raise Problem(
                        409,
                        f"the model {name!r} is another one; take another name, or delete it first",
                        extra={"digest": known.digest, "sent_digest": sent[0]},
                    )
                return known, False
            return self._add(name, processor, partial(checkpoint.place, self._path(name))), True

    def unfinished_file(self) -> UnfinishedFile:
        """For a checkpoint that is being sent.

        Raises:
            OSError: there is no room.
        """
        return UnfinishedFile(self._folder)

    def delete(self, name: str) -> None:
        """Forgets a model and removes its checkpoint.

        Raises:
            Problem: 404; 409, it is the default model, or an unfinished run or an experiment needs
                it.
        """
        with self._making, self._removing:
            self.find(name)
            if name == DEFAULT:
                raise Problem(409, "the default model cannot be deleted; it is the settings'")
            with self._database.session(durable=True) as session:
                check_model_unused(session, name)
                session.execute(delete(ModelRow).where(ModelRow.name == name))
            del self._models[name]
            self._path(name).unlink(missing_ok=True)

    @contextmanager
    def keeping(self, name: str) -> Iterator[None]:
        """While the block lasts no model is removed, so that it can add a row that refers to it.

        Raises:
            Problem: 404, the model is gone.
        """
        with self._removing:
            self.find(name)
            yield

    def unload(self, name: str) -> Model:
        """Lets go of a model's networks; runs that use them go on.

        Raises:
            Problem: 404; 409, the default model stays loaded.
        """
        with self._making:
            model = self.find(name)
            if name == DEFAULT:
                raise Problem(409, "the default model stays loaded")
            model = replace(model, processor=None)
            self._models[name] = model
            return model

    def checkpoint(self, model: Model) -> Path:
        """A file with the model; the default one's is made when it is first asked for."""
        if model.checkpoint is not None:
            return model.checkpoint
        path = self._folder / f".{model.name}-{model.digest}.safetensors"
        with self._making:
            if not path.exists():
                save(model.loaded, path)
        return path

    def _untrained(self, config: FlowConfig) -> FlowProcessor:
        # Before anything is allocated: weights of any size can be asked for.
        self._check_fit(config)
        return self._on_device(lambda: FlowProcessor(config, device=self._device))

    def _check_fit(self, config: FlowConfig) -> None:
        if self._engine.memory_limit_bytes is not None:
            require_fit(config, self._engine.memory_limit_bytes)

    def _loaded(self, path: Path) -> FlowProcessor:
        return self._on_device(lambda: load(path, device=self._device))

    def _on_device(self, make: Callable[[], FlowProcessor]) -> FlowProcessor:
        """Makes a model where it will run: an accelerator belongs to the engine's thread.

        On a CPU, steps need not wait for that, and no other thread must go on computing.
        """
        processor = apart(make) if self._device == "cpu" else self._engine.call(make).result()
        self._engine.call(processor.prepare).result()
        return processor

    def _load(self, name: str) -> Model:
        with self._making:
            model = self.find(name)
            if model.processor is None and model.checkpoint is not None:
                processor = self._loaded(model.checkpoint)
                model = replace(model, processor=processor)
                self._models[name] = model
            return model

    def _model(self, row: ModelRow, processor: FlowProcessor | None) -> Model:
        return Model(
            row.name,
            FlowConfig.from_dict(row.config),
            row.trained,
            row.digest,
            row.created_at,
            self._path(row.name),
            processor,
            row.position,
        )

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def _add(
        self,
        name: str,
        processor: FlowProcessor,
        write: Callable[[], None],
        idempotency: tuple[str, str] | None = None,
    ) -> Model:
        """Keeps a model whose name is free: its file, then its row."""
        path = self._path(name)
        row = ModelRow(
            name=name,
            created_at=time.time(),
            trained=processor.trained,
            digest=processor.digest(),
            config=processor.config.to_dict(),
            bytes=0,
        )
        if idempotency is not None:
            row.idempotency_key, row.idempotency_digest = idempotency
        try:
            write()
            sync(self._folder)
            row.bytes = path.stat().st_size
            with self._database.session(durable=True) as session:
                session.add(row)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        model = self._model(row, processor)
        self._models[name] = model
        return model

    def _with_key(self, key: str, digest: str) -> Model | None:
        with self._database.session() as session:
            row = session.scalars(
                select(ModelRow).where(ModelRow.idempotency_key == key)
            ).one_or_none()
        if row is None:
            return None
        if row.idempotency_digest != digest:
            raise Problem(422, "this Idempotency-Key was used for another request")
        return self.find(row.name)

    def _remove_leftovers(self) -> None:
        known = {model.checkpoint for model in self._models.values()}
        for path in self._folder.iterdir():
            if path not in known:
                log.info("removing leftover %s", path.name)
                path.unlink()


def check_name(name: str) -> None:
    """Refuses a name that no model may have.

    Raises:
        Problem: 422.
    """
    if name == SERVED_DEFAULT:
        said = f"is what /v2 calls the model {DEFAULT!r}; take another name"
        raise invalid([Fault(("name",), said, name)])


def config_of(fields: ModelFields) -> FlowConfig:
    """The config that a request for a model describes.

    Raises:
        ConfigError: with every fault.
    """
    changes: dict[str, Any] = dict(fields.config)
    if fields.model_seed is not None:
        if changes.get("model_seed", fields.model_seed) != fields.model_seed:
            said = "is given twice, here and in the config"
            raise ConfigError(Fault(("model_seed",), said, fields.model_seed))
        changes["model_seed"] = fields.model_seed
    base = preset(fields.preset)
    try:
        return base.replace(changes)
    except ConfigError as error:
        raise ConfigError(
            *(Fault(("config", *fault.loc), fault.msg, fault.got) for fault in error.faults)
        ) from None
