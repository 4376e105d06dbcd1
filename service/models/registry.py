"""All named models: that of the settings, those of the package, and those of callers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from energy_flow.choices import unknown_name
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import Executor, LoadedModel
from energy_flow.engine.loaded_models import model_key
from energy_flow.errors import CheckpointError, Fault
from energy_flow.simulation.checkpoint import check_weights, describe, identify
from service.models.checkpoint_checks import check_file, check_unchanged, make_unreadable_problem
from service.models.model import Model, check_name, make_config
from service.models.new_names import NewModelNames, number_name
from service.models.packaged import find_packaged
from service.models.stored_models import StoredModels
from service.problems import Problem
from service.schemas.model import ModelFields
from service.store.atomic_files import UnfinishedFile
from service.store.database import Database
from service.store.folders import make_again
from service.store.idempotency import IdempotencyKey
from service.store.names import DEFAULT
from service.store.recovery.errors import DataDirMismatchError
from service.store.verification.verified_file import VerifiedFile
from service.threads import Threads, in_thread

log = logging.getLogger(__name__)


class ModelRegistry:
    """All models by name. Methods block, except the coroutines.

    Args:
        database: The index.
        folder: Folder of the checkpoints.
        executor: Loads the models.
        max_bytes: Most bytes of all checkpoints, if there is a limit.

    Attributes:
        stored: The checkpoints in the data directory.
        names: The names that new models can have.
    """

    def __init__(
        self, database: Database, folder: Path, executor: Executor, max_bytes: int | None = None
    ) -> None:
        self.stored = StoredModels(database, folder, max_bytes)
        self._executor = executor
        self._models: dict[str, Model] = {}
        self.names = NewModelNames(database, self._models)
        # As they are before they are loaded. A stored model hides the one of its name.
        self._packaged: dict[str, Model] = {}
        # Held while models are created and loaded, which can take seconds.
        self._making = threading.Lock()
        # Held while a row that refers to a model is added, and while a model is removed.
        self._removing = threading.Lock()

    def open(
        self, default: FlowConfig, checkpoint: Path | None, packaged: str | None, *, warm_up: bool
    ) -> None:
        """Load the default model, and find the others without loading them.

        Args:
            default: Config of the default model, if it has no checkpoint.
            checkpoint: Checkpoint of the default model.
            packaged: Name of the model of the package that is the default model as well, if it is
                one; it counts before the others.
            warm_up: Whether to prepare the default model for its first run.

        Raises:
            CheckpointError: The checkpoint is refused.
            ConfigError: One sample of the model does not fit in memory.
            CapacityError: The model does not fit in memory.
            DataDirMismatchError: The package has no model of the name.
        """
        self._packaged = find_packaged()
        origin = None if packaged is None else self._find_default_of_directory(packaged)
        if origin is not None:
            checkpoint = origin.checkpoint
        if checkpoint is None:
            self._executor.check_model(default)
        loaded = self._executor.load_model(checkpoint or default, prepare=warm_up)
        self._models[DEFAULT] = Model(
            DEFAULT,
            loaded.config,
            loaded.trained,
            loaded.digest,
            time.time(),
            checkpoint,
            is_loaded=True,
            is_served=True,
            # Listed last, behind the models of the package.
            position=-len(self._packaged) - 1,
            description=None if origin is None else origin.description,
            sample=None if origin is None else origin.sample,
        )
        self._models |= self._packaged
        for model in self.stored.read_all():
            if model.name in self._packaged:
                log.info(
                    "the stored model %r hides the one that is part of Energy Flow; "
                    "delete it to use that one",
                    model.name,
                )
            self._models[model.name] = model

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
        return self._refresh(model)

    async def ready(self, name: str) -> Model:
        """Return the model of that name, loaded.

        Raises:
            CapacityError: It does not fit in memory.
            MemoryInUse: Runs and their models have the memory.
            Problem: 404; 409, its checkpoint has changed on the disk or cannot be read.
        """
        model = self.find(name)
        return model if model.is_loaded else await in_thread(Threads.CHANGES, self._load, name)

    async def reload(self, model: Model) -> Model:
        """Return a model, loaded again if it was unloaded since a request was checked.

        Args:
            model: The model as the request uses it.

        Raises:
            CapacityError: It does not fit in memory.
            MemoryInUse: Runs and their models have the memory.
            Problem: 404, it was removed; 409, its name belongs to another model now, or its
                checkpoint has changed on the disk or cannot be read.
        """
        self.find(model.name).check_same(model.digest, model.config)
        return await self.ready(model.name)

    def find_for_run(self, name: str, digest: str, config: FlowConfig) -> Model:
        """Return the model that a stored run refers to, loaded or not.

        Args:
            name: Name of the model.
            digest: Digest of the weights that the run uses.
            config: Config of the run.

        Raises:
            Problem: 409, the model was removed, or is another one now.
        """
        model = self._models.get(name)
        if model is None:
            message = f"the model {name!r} of the run no longer exists; create or upload it again"
            raise Problem(409, message, extra={"model": name})
        model.check_same(digest, config)
        return self._refresh(model)

    async def ready_for_run(self, name: str, digest: str, config: FlowConfig) -> Model:
        """Return the model that a stored run refers to, loaded.

        Args:
            name: Name of the model.
            digest: Digest of the weights that the run uses.
            config: Config of the run.

        Raises:
            CapacityError: It does not fit in memory.
            MemoryInUse: Runs and their models have the memory.
            Problem: 409, the model was removed, is another one now, or its checkpoint has changed
                on the disk or cannot be read.
        """
        self.find_for_run(name, digest, config)
        return await self.ready(name)

    def newest_first(self) -> list[Model]:
        """Return all models, newest first and the default model last."""
        models = [self._refresh(model) for model in list(self._models.values())]
        return sorted(models, key=lambda model: -model.position)

    def find_fitting(self, dimension: int) -> list[str]:
        """Return the names of the models that take rows of a number of numbers, sorted.

        Args:
            dimension: Numbers of a row.
        """
        return sorted(
            model.name
            for model in list(self._models.values())
            if model.config.embedding_dim == dimension
        )

    def create(
        self, fields: ModelFields, idempotency: IdempotencyKey | None = None
    ) -> tuple[Model, bool]:
        """Create an untrained model durably, without loading it.

        Args:
            fields: Request for the model.
            idempotency: Idempotency key of the request.

        Returns:
            The model, and whether an earlier request with the same key created it.

        Raises:
            CapacityError: The model could not be loaded.
            ConfigError: The preset or the config is refused.
            MemoryInUse: Runs and their models have the memory.
            Problem: 409, the name is used, or will be by a training, or differs only in case from
                such a name; 422, the name is reserved, or the key was used for another request;
                507, all checkpoints would have too many bytes.
        """
        check_name(fields.name)
        with self._making:
            created = self.stored.find_created(idempotency)
            if created is not None:
                return self.find(created), True
            if fields.name in self._models:
                exists = _describe_owner(self._models[fields.name])
                raise Problem(409, f"model {fields.name!r} {exists}; choose another name")
            self.names.check(fields.name)
            path = self.stored.path(fields.name)
            write = partial(self._executor.create_checkpoint, make_config(fields), path)
            model = self.stored.add(
                fields.name,
                write,
                idempotency=idempotency,
                check=partial(self.names.check_added, name=fields.name),
            )
            return self._register(model), False

    def put(self, name: str, checkpoint: UnfinishedFile) -> tuple[Model, bool]:
        """Check an uploaded checkpoint and store it durably under a name, without loading it.

        Args:
            name: Name of the model.
            checkpoint: The complete file.

        Returns:
            The model, and whether its name is new.

        Raises:
            CapacityError: The model could not be loaded.
            CheckpointError: The file is no checkpoint, is damaged, or has another version.
            ConfigError: One sample of the model does not fit in memory.
            Problem: 409, another model has the name, or will have it after a training, or has one
                that differs only in case; 422, the name is reserved; 507, all checkpoints would
                have too many bytes.
        """
        check_name(name)
        if name not in self._models:
            self.names.check(name)
        sent = self._check(checkpoint)
        with self._making:
            known = self._models.get(name)
            if known is not None:
                if not _is_same(sent, known):
                    instead = "" if known.is_packaged else ", or delete it first"
                    raise Problem(
                        409,
                        f"model {name!r} {_describe_owner(known)} and is not the one that was "
                        f"sent; choose another name{instead}",
                        extra={"digest": known.digest, "sent_digest": sent.digest},
                    )
                if not known.is_read_only:
                    self.stored.restore_file(known, checkpoint)
                return self._refresh(known), False
            model = self.stored.add(
                name,
                self._placing(name, checkpoint, sent),
                check=partial(self.names.check_added, name=name),
            )
            return self._register(model), True

    def put_trained(self, name: str, checkpoint: UnfinishedFile) -> Model:
        """Store the model that a training has made, under its name if that is still free.

        The name and the limit of all checkpoints were checked when the training was created. Only
        in a data directory of an earlier version can another model have the name, or one that
        differs in case; then a number follows the name.

        Args:
            name: Name that the model is to have.
            checkpoint: The complete file.

        Returns:
            The model. It was stored before if the server ended before it could record that.

        Raises:
            CapacityError: The model could not be loaded.
            CheckpointError: The file is no checkpoint, or is damaged.
            ConfigError: One sample of the model does not fit in memory.
            OSError: The file could not be stored.
        """
        made = self._check(checkpoint)
        with self._making:
            for number in count(1):
                chosen = number_name(name, number)
                known = self._models.get(chosen)
                if known is not None and _is_same(made, known):
                    return self._refresh(known)
                # A training of an earlier version can have the name of a model of the package.
                if number == 1 and (known is None or known.is_packaged):
                    is_free = self.names.is_distinct(chosen)
                else:
                    is_free = self.names.is_free(chosen)
                if is_free:
                    break
            place = self._placing(chosen, checkpoint, made)
            return self._register(self.stored.add(chosen, place, is_limited=False))

    def delete(self, name: str) -> None:
        """Remove a model and its checkpoint; a model of the package is visible again.

        Args:
            name: Name of the model.

        Raises:
            Problem: 404; 409, it is the default model or part of the package, or an unfinished run
                or an experiment uses it.
            OSError: Its checkpoint cannot be removed; nothing is removed then.
        """
        with self._making, self._removing:
            model = self.find(name)
            if model.is_packaged:
                raise Problem(409, f"model {name!r} {_describe_owner(model)} and cannot be deleted")
            if name == DEFAULT:
                raise Problem(
                    409, "the default model cannot be deleted; the server's settings choose it"
                )
            with self.stored.removed(name):
                del self._models[name]
                if name in self._packaged:
                    self._models[name] = self._packaged[name]
                self._release(model)

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
            model = replace(model, is_loaded=False, is_served=False)
            self._models[name] = model
            self._release(model)
            return model

    def checkpoint(self, model: Model) -> VerifiedFile:
        """Return the verified checkpoint of a model; that of the default one is made on demand.

        Args:
            model: A model of this registry.

        Raises:
            Problem: 409, the checkpoint has changed on the disk, or cannot be read; 503, the data
                directory is gone.
            OSError: The checkpoint could not be written.
        """
        if model.checkpoint is not None:
            return check_file(model, model.checkpoint)
        path = self.stored.folder / f".{model.name}-{model.digest}.safetensors"
        with self._making:
            try:
                return check_file(model, path)
            except Problem:
                make_again(self.stored.folder)
                self._executor.save_model(model.digest, model.config, path)
        return check_file(model, path)

    def _find_default_of_directory(self, name: str) -> Model:
        if name not in self._packaged:
            raise DataDirMismatchError(
                f"the default model of the data directory is {name!r}, which this version of "
                "Energy Flow does not have; choose one with --preset or --model"
            )
        return self._packaged[name]

    def _refresh(self, model: Model) -> Model:
        """Return a model with what the executor has of it now, which unloads models by itself."""
        is_loaded = model.is_served and self._executor.has_model(model.digest, model.config)
        return model if model.is_loaded == is_loaded else replace(model, is_loaded=is_loaded)

    def _load(self, name: str) -> Model:
        with self._making:
            model = self.find(name)
            if not model.is_loaded and model.checkpoint is not None:
                loaded = self._load_checkpoint(model, model.checkpoint)
                try:
                    check_unchanged(model, loaded.digest, loaded.config, trained=loaded.trained)
                except Problem:
                    self._release(loaded)
                    raise
                model = replace(model, is_loaded=True, is_served=True)
                self._models[name] = model
            return model

    def _load_checkpoint(self, model: Model, path: Path) -> LoadedModel:
        try:
            return self._executor.load_model(path, is_permanent=False)
        except (CheckpointError, OSError) as error:
            raise make_unreadable_problem(model, error) from error

    def _release(self, model: Model | LoadedModel) -> None:
        """Unload networks that no served model has."""
        key = model_key(model.digest, model.config)
        if all(one.networks != key for one in self._models.values() if one.is_served):
            self._executor.unload_model(model.digest, model.config)

    def _check(self, checkpoint: UnfinishedFile) -> LoadedModel:
        """Check the complete file of a checkpoint, and return what is in it."""
        checkpoint.fsync()
        self._executor.check_model(describe(checkpoint.path)["config"])
        check_weights(checkpoint.path)
        found = identify(checkpoint.path)
        return LoadedModel(found["digest"], found["config"], found["trained"])

    def _placing(
        self, name: str, checkpoint: UnfinishedFile, content: LoadedModel
    ) -> Callable[[], LoadedModel]:
        """Return what gives a checked file its place."""

        def place() -> LoadedModel:
            checkpoint.place(self.stored.path(name))
            return content

        return place

    def _register(self, stored: Model) -> Model:
        model = self._refresh(stored)
        self._models[model.name] = model
        return model


def _is_same(content: LoadedModel, model: Model) -> bool:
    """Return whether a checkpoint has what a model has."""
    return (content.digest, content.config, content.trained) == (
        model.digest,
        model.config,
        model.trained,
    )


def _describe_owner(model: Model) -> str:
    """Return why the name of a model is used, as the end of a sentence about it."""
    return "is part of Energy Flow" if model.is_packaged else "already exists"
