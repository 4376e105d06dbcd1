"""All named models: that of the settings, those of the package, and those of callers."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from energy_flow.choices import unknown_name
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import Engine, LoadedModel
from energy_flow.engine.loaded_models import model_key
from energy_flow.errors import CheckpointError, Fault
from energy_flow.simulation.checkpoint import describe
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.footprint import require_fit
from energy_flow.simulation.inputs import FLOAT32_BYTES
from service.models.checkpoint_checks import check_file, check_unchanged, make_unreadable_problem
from service.models.model import Model, check_name, make_config
from service.models.packaged import find_packaged
from service.problems import Problem, storage_limit
from service.schemas.model import ModelFields
from service.store.atomic_files import UnfinishedFile, fsync
from service.store.database import Database
from service.store.idempotency import IdempotencyKey, find_created
from service.store.names import DEFAULT, check_new_name
from service.store.references import check_model_unused
from service.store.tables import ModelRow
from service.threads import Threads, in_thread

log = logging.getLogger(__name__)


class ModelRegistry:
    """All models by name. Methods block, except the coroutines.

    Args:
        database: The index.
        folder: Folder of the checkpoints.
        engine: Engine that loads the models.
        max_bytes: Most bytes of all checkpoints, if there is a limit.

    Attributes:
        max_bytes: Most bytes of all checkpoints, if there is a limit.
    """

    def __init__(
        self, database: Database, folder: Path, engine: Engine, max_bytes: int | None = None
    ) -> None:
        self.max_bytes = max_bytes
        self._database = database
        self._folder = folder
        self._engine = engine
        self._models: dict[str, Model] = {}
        # As they are before they are loaded. A stored model hides the one of its name.
        self._packaged: dict[str, Model] = {}
        # Held while models are created and loaded, which can take seconds.
        self._making = threading.Lock()
        # Held while a row that refers to a model is added, and while a model is removed.
        self._removing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, default: FlowConfig, checkpoint: Path | None, *, warm_up: bool) -> None:
        """Load the default model, and find the others without loading them.

        Args:
            default: Config of the default model, if it has no checkpoint.
            checkpoint: Checkpoint of the default model.
            warm_up: Whether to prepare the default model for its first run.

        Raises:
            CheckpointError: The checkpoint is refused.
            ConfigError: The config is refused.
        """
        loaded = (
            self._load_untrained(default, prepare=warm_up)
            if checkpoint is None
            else self._engine.load_model(checkpoint, prepare=warm_up)
        )
        self._packaged = find_packaged()
        self._models[DEFAULT] = Model(
            DEFAULT,
            loaded.config,
            loaded.trained,
            loaded.digest,
            time.time(),
            checkpoint,
            is_loaded=True,
            # Listed last, behind the models of the package.
            position=-len(self._packaged) - 1,
        )
        self._models |= self._packaged
        with self._database.session() as session:
            rows = list(session.scalars(select(ModelRow).order_by(ModelRow.position)))
        for row in rows:
            if row.name in self._packaged:
                log.info(
                    "the stored model %r hides the one that is part of Energy Flow; "
                    "delete it to use that one",
                    row.name,
                )
            self._models[row.name] = self._model(row, is_loaded=False)

    def find(self, name: str) -> Model:
        """Return the model of that name, loaded or not.

        Raises:
            Problem: 404.
        """
        model = self._models.get(name)
        if model is None:
            known = unknown_name(name, sorted(self._models))
            raise Problem(
                404,
                f"there is no model {name!r}; {known}",
                faults=[Fault(("model",), known, name)],
            )
        return model

    async def ready(self, name: str) -> Model:
        """Return the model of that name, loaded.

        Raises:
            Problem: 404; 409, its checkpoint has changed on the disk or cannot be read.
        """
        model = self.find(name)
        return model if model.is_loaded else await in_thread(Threads.CHANGES, self._load, name)

    async def reload(self, model: Model) -> Model:
        """Return a model, loaded again if it was unloaded since a request was checked.

        Args:
            model: The model as the request uses it.

        Raises:
            Problem: 404, it was removed; 409, its name belongs to another model now, or its
                checkpoint has changed on the disk or cannot be read.
        """
        self.find(model.name).check_same(model.digest, model.config)
        return await self.ready(model.name)

    async def ready_for_run(self, name: str, digest: str, config: FlowConfig) -> Model:
        """Return the model that a stored run refers to, loaded.

        Args:
            name: Name of the model.
            digest: Digest of the weights that the run uses.
            config: Config of the run.

        Raises:
            Problem: 409, the model was removed, is another one now, or its checkpoint has changed
                on the disk or cannot be read.
        """
        model = self._models.get(name)
        if model is None:
            message = f"the model {name!r} of the run no longer exists; create or upload it again"
            raise Problem(409, message, extra={"model": name})
        model.check_same(digest, config)
        return await self.ready(name)

    def newest_first(self) -> list[Model]:
        """Return all models, newest first and the default model last."""
        return sorted(self._models.values(), key=lambda model: -model.position)

    def create(
        self, fields: ModelFields, idempotency: IdempotencyKey | None = None
    ) -> tuple[Model, bool]:
        """Create an untrained model durably.

        Args:
            fields: Request for the model.
            idempotency: Idempotency key of the request.

        Returns:
            The model, and whether an earlier request with the same key created it.

        Raises:
            ConfigError: The preset or the config is refused.
            Problem: 409, the name is used, or one that differs only in case; 422, the name is
                reserved, or the key was used for another request; 507, all checkpoints would have
                too many bytes.
        """
        check_name(fields.name)
        with self._making:
            row = find_created(self._database, ModelRow, idempotency)
            if row is not None:
                return self.find(row.name), True
            if fields.name in self._models:
                exists = _describe_owner(self._models[fields.name])
                raise Problem(409, f"model {fields.name!r} {exists}; choose another name")
            self.check_new_name(fields.name)
            loaded = self._load_untrained(make_config(fields))
            path = self._path(fields.name)
            write = partial(self._engine.save_model, loaded.digest, loaded.config, path)
            return self._add(fields.name, loaded, write, idempotency), False

    def check_new_name(self, name: str) -> None:
        """Refuse a name that no model has and no new one can have.

        Args:
            name: Name of the model.

        Raises:
            Problem: 409, a model has a name that differs only in case; 422, the name is reserved.
        """
        if name not in self._models:
            check_new_name(name, list(self._models))

    def put(
        self, name: str, checkpoint: UnfinishedFile, *, is_checked: bool = False
    ) -> tuple[Model, bool]:
        """Check an uploaded checkpoint and store it durably under a name.

        Args:
            name: Name of the model.
            checkpoint: The complete file.
            is_checked: Whether the name and the limit of all checkpoints were checked when the
                work began that made the model.

        Returns:
            The model, and whether its name is new.

        Raises:
            CheckpointError: The file is no checkpoint, is damaged, or has another version.
            ConfigError: One sample of the model does not fit in memory.
            Problem: 409, another model has the name, or one that differs only in case; 422, the
                name is reserved; 507, all checkpoints would have too many bytes.
        """
        check_name(name)
        if not is_checked:
            self.check_new_name(name)
        checkpoint.fsync()
        self._check_fit(describe(checkpoint.path)["config"])
        loaded = self._engine.load_model(checkpoint.path)
        with self._making:
            known = self._models.get(name)
            if known is not None and not (is_checked and known.is_packaged):
                self._release(loaded.digest, loaded.config)
                sent = (loaded.digest, loaded.config, loaded.trained)
                if sent != (known.digest, known.config, known.trained):
                    instead = "" if known.is_packaged else ", or delete it first"
                    raise Problem(
                        409,
                        f"model {name!r} {_describe_owner(known)} and is not the one that was "
                        f"sent; choose another name{instead}",
                        extra={"digest": known.digest, "sent_digest": loaded.digest},
                    )
                if not known.is_read_only:
                    # The file of the known model may be lost or damaged.
                    checkpoint.place(self._path(name))
                    fsync(self._folder)
                return known, False
            if not is_checked:
                try:
                    self.check_new_name(name)
                except Problem:
                    self._release(loaded.digest, loaded.config)
                    raise
            write = partial(checkpoint.place, self._path(name))
            return self._add(name, loaded, write, is_limited=not is_checked), True

    def stored_bytes(self) -> int:
        """Return the bytes of all checkpoints in the data directory."""
        query = select(func.coalesce(func.sum(ModelRow.bytes), 0))
        with self._database.session() as session:
            return int(session.scalar(query) or 0)

    def check_room(self, config: FlowConfig, count: int) -> None:
        """Refuse models that are to be made later, if there is no room for them now.

        Args:
            config: Config of the models.
            count: Number of models.

        Raises:
            Problem: 507, all checkpoints would have too many bytes.
        """
        weights = sum(math.prod(shape) for shape in FlowProcessor.shapes(config).values())
        self._check_limit(count * weights * FLOAT32_BYTES)

    def unfinished_file(self) -> UnfinishedFile:
        """Return a file for a checkpoint that is being uploaded.

        Raises:
            OSError: The file cannot be created.
        """
        return UnfinishedFile(self._folder)

    def delete(self, name: str) -> None:
        """Remove a model and its checkpoint; a model of the package is visible again.

        Args:
            name: Name of the model.

        Raises:
            Problem: 404; 409, it is the default model or part of the package, or an unfinished run
                or an experiment uses it.
        """
        with self._making, self._removing:
            model = self.find(name)
            if model.is_packaged:
                raise Problem(409, f"model {name!r} {_describe_owner(model)} and cannot be deleted")
            if name == DEFAULT:
                raise Problem(
                    409, "the default model cannot be deleted; the server's settings choose it"
                )
            path = self._path(name)

            def remove(session: Session) -> None:
                check_model_unused(session, name)
                session.execute(delete(ModelRow).where(ModelRow.name == name))

            def make_room() -> None:
                with self._database.session() as session:
                    check_model_unused(session, name)
                path.unlink(missing_ok=True)

            with self._database.removing() as removal:
                removal.run(remove, make_room)
                del self._models[name]
                if name in self._packaged:
                    self._models[name] = self._packaged[name]
                self._release(model.digest, model.config)
                path.unlink(missing_ok=True)

    @contextmanager
    def prevent_removal(self, name: str) -> Iterator[None]:
        """Prevent the removal of models while a block adds a row that refers to one.

        Args:
            name: Name of the model.

        Raises:
            Problem: 404, the model was removed before.
        """
        with self._removing:
            self.find(name)
            yield

    def unload(self, name: str) -> Model:
        """Unload the networks of a model; runs that use them continue.

        Args:
            name: Name of the model.

        Raises:
            Problem: 404; 409, it is the default model.
        """
        with self._making:
            model = self.find(name)
            if name == DEFAULT:
                raise Problem(409, "the default model cannot be unloaded")
            model = replace(model, is_loaded=False)
            self._models[name] = model
            self._release(model.digest, model.config)
            return model

    def checkpoint(self, model: Model) -> Path:
        """Return the checkpoint of a model; that of the default model is written on demand.

        Args:
            model: A model of this registry.

        Raises:
            Problem: 409, the checkpoint has changed on the disk, or cannot be read.
            OSError: The checkpoint could not be written.
        """
        if model.checkpoint is not None:
            check_file(model, model.checkpoint)
            return model.checkpoint
        path = self._folder / f".{model.name}-{model.digest}.safetensors"
        with self._making:
            try:
                check_file(model, path)
            except Problem:
                self._engine.save_model(model.digest, model.config, path)
        return path

    def _load_untrained(self, config: FlowConfig, *, prepare: bool = True) -> LoadedModel:
        # Before anything is allocated: a request can ask for weights of any size.
        self._check_fit(config)
        return self._engine.load_model(config, prepare=prepare)

    def _check_fit(self, config: FlowConfig) -> None:
        if self._engine.memory_limit_bytes is not None:
            require_fit(config, self._engine.memory_limit_bytes)

    def _load(self, name: str) -> Model:
        with self._making:
            model = self.find(name)
            if not model.is_loaded and model.checkpoint is not None:
                loaded = self._load_checkpoint(model, model.checkpoint)
                try:
                    check_unchanged(model, loaded.digest, loaded.config, trained=loaded.trained)
                except Problem:
                    self._release(loaded.digest, loaded.config)
                    raise
                model = replace(model, is_loaded=True)
                self._models[name] = model
            return model

    def _load_checkpoint(self, model: Model, path: Path) -> LoadedModel:
        try:
            return self._engine.load_model(path)
        except (CheckpointError, OSError) as error:
            raise make_unreadable_problem(model, error) from error

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
        idempotency: IdempotencyKey | None = None,
        *,
        is_limited: bool = True,
    ) -> Model:
        """Store a model under an unused name: first its file, then its row."""
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
            idempotency.write_to(row)
        try:
            write()
            fsync(self._folder)
            row.bytes = path.stat().st_size
            if is_limited:
                self._check_limit(row.bytes)
            with self._database.session(durable=True) as session:
                session.add(row)
        except BaseException:
            path.unlink(missing_ok=True)
            self._release(loaded.digest, loaded.config)
            raise
        model = self._model(row, is_loaded=True)
        self._models[name] = model
        return model

    def _check_limit(self, needed: int) -> None:
        stored = self.stored_bytes()
        if self.max_bytes is not None and stored + needed > self.max_bytes:
            raise storage_limit("models", needed, stored, self.max_bytes, "--max-models-bytes")


def _describe_owner(model: Model) -> str:
    """Return why the name of a model is used, as the end of a sentence about it."""
    return "is part of Energy Flow" if model.is_packaged else "already exists"
