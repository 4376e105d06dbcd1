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
from energy_flow.engine import Engine, LoadedModel
from energy_flow.engine.loaded_models import model_key
from energy_flow.errors import ConfigError, EnergyFlowError, Fault
from energy_flow.simulation.checkpoint import describe
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
        is_loaded: whether the engine has its networks.
        position: of its row in the index; 0 for the default.
    """

    name: str
    config: FlowConfig
    trained: bool
    digest: str
    created_at: float
    checkpoint: Path | None
    is_loaded: bool
    position: int = 0


class ModelRegistry:
    """All models by name. Methods block, but for the coroutines.

    Args:
        folder: where checkpoints lie.
        engine: which loads them.
    """

    def __init__(self, database: Database, folder: Path, engine: Engine) -> None:
        self._database = database
        self._folder = folder
        self._engine = engine
        self._models: dict[str, Model] = {}
        # Held while models are made and loaded, which can take long.
        self._making = threading.Lock()
        # Held while a row that refers to a model is added, and while one is removed.
        self._removing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, default: FlowConfig, checkpoint: Path | None, *, warm_up: bool) -> None:
        """Loads the default model and finds the others.

        Args:
            default: config of the default model, where there is no checkpoint.
            checkpoint: the default model.
            warm_up: whether to prepare the default model for its first run.

        Raises:
            CheckpointError, ConfigError: the default model is refused.
        """
        loaded = (
            self._load_untrained(default, prepare=warm_up)
            if checkpoint is None
            else self._engine.load_model(checkpoint, prepare=warm_up)
        )
        self._models[DEFAULT] = Model(
            DEFAULT, loaded.config, loaded.trained, loaded.digest, time.time(), checkpoint, True
        )
        with self._database.session() as session:
            rows = list(session.scalars(select(ModelRow).order_by(ModelRow.position)))
        for row in rows:
            self._models[row.name] = self._model(row, is_loaded=False)
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

    async def ready(self, name: str, digest: str | None = None) -> Model:
        """Return the model of that name, loaded.

        Args:
            name: of the model.
            digest: of the weights that it must have, if given.

        Raises:
            Problem: 404.
            EnergyFlowError: the model has other weights.
        """
        model = self.find(name)
        if digest not in (None, model.digest):
            raise EnergyFlowError(f"the model {name!r} has other weights than when it was asked")
        return model if model.is_loaded else await asyncio.to_thread(self._load, name)

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
            loaded = self._load_untrained(config_of(fields))
            path = self._path(fields.name)
            write = partial(self._engine.save_model, loaded.digest, loaded.config, path)
            return self._add(fields.name, loaded, write, idempotency), False

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
        loaded = self._engine.load_model(checkpoint.path)
        with self._making:
            known = self._models.get(name)
            if known is not None:
                self._release(loaded.digest, loaded.config)
                sent = (loaded.digest, loaded.config, loaded.trained)
                if sent != (known.digest, known.config, known.trained):
                    raise Problem(
                        409,
                        f"the model {name!r} is another one; take another name, or delete it first",
                        extra={"digest": known.digest, "sent_digest": sent[0]},
                    )
                return known, False
            return self._add(name, loaded, partial(checkpoint.place, self._path(name))), True

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
            model = self._models.pop(name)
            self._release(model.digest, model.config)
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
            model = replace(model, is_loaded=False)
            self._models[name] = model
            self._release(model.digest, model.config)
            return model

    def checkpoint(self, model: Model) -> Path:
        """A file with the model; the default one's is made when it is first asked for."""
        if model.checkpoint is not None:
            return model.checkpoint
        path = self._folder / f".{model.name}-{model.digest}.safetensors"
        with self._making:
            if not path.exists():
                self._engine.save_model(model.digest, model.config, path)
        return path

    def _load_untrained(self, config: FlowConfig, *, prepare: bool = True) -> LoadedModel:
        # Before anything is allocated: weights of any size can be asked for.
        self._check_fit(config)
        return self._engine.load_model(config, prepare=prepare)

    def _check_fit(self, config: FlowConfig) -> None:
        if self._engine.memory_limit_bytes is not None:
            require_fit(config, self._engine.memory_limit_bytes)

    def _load(self, name: str) -> Model:
        with self._making:
            model = self.find(name)
            if not model.is_loaded and model.checkpoint is not None:
                loaded = self._engine.load_model(model.checkpoint)
                if loaded.digest != model.digest:
                    self._release(loaded.digest, loaded.config)
                    raise Problem(
                        409,
                        f"the checkpoint of the model {name!r} has changed on the disk; delete the "
                        "model and upload it again",
                        extra={"digest": model.digest, "file_digest": loaded.digest},
                    )
                model = replace(model, is_loaded=True)
                self._models[name] = model
            return model

    def _release(self, digest: str, config: FlowConfig) -> None:
        """Unload networks that no loaded model has."""
        key = model_key(digest, config)
        used = (one for one in self._models.values() if one.is_loaded)
        if all(model_key(one.digest, one.config) != key for one in used):
            self._engine.unload_model(digest, config)

    def _model(self, row: ModelRow, *, is_loaded: bool) -> Model:
        return Model(
            row.name,
            FlowConfig.from_dict(row.config),
            row.trained,
            row.digest,
            row.created_at,
            self._path(row.name),
            is_loaded,
            row.position,
        )

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def _add(
        self,
        name: str,
        loaded: LoadedModel,
        write: Callable[[], None],
        idempotency: tuple[str, str] | None = None,
    ) -> Model:
        """Keeps a model whose name is free: its file, then its row."""
        path = self._path(name)
        row = ModelRow(
            name=name,
            created_at=time.time(),
            trained=loaded.trained,
            digest=loaded.digest,
            config=loaded.config.to_dict(),
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
            self._release(loaded.digest, loaded.config)
            raise
        model = self._model(row, is_loaded=True)
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
