"""``StoredModels``: the checkpoints in the data directory, and their rows in the index."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine import LoadedModel
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.inputs import FLOAT32_BYTES
from service.models.checkpoint_checks import check_file
from service.models.model import Model
from service.problems import Problem, storage_limit
from service.store.atomic_files import UnfinishedFile, fsync
from service.store.database import Database
from service.store.folders import check_removable, make_again, remove_unreferenced
from service.store.idempotency import IdempotencyKey, find_created
from service.store.references import check_model_unused
from service.store.tables import ModelRow


class StoredModels:
    """Models that are stored. Methods block, and the caller keeps others from changing a model.

    Attributes:
        folder: Folder of the checkpoints.
        max_bytes: Most bytes of all checkpoints, if there is a limit.

    Args:
        database: The index.
        folder: Folder of the checkpoints.
        max_bytes: Most bytes of all checkpoints, if there is a limit.
    """

    def __init__(self, database: Database, folder: Path, max_bytes: int | None) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._database = database
        folder.mkdir(parents=True, exist_ok=True)

    def read_all(self) -> list[Model]:
        """Return all stored models, oldest first."""
        with self._database.session() as session:
            rows = list(session.scalars(select(ModelRow).order_by(ModelRow.position)))
        return [self._model(row) for row in rows]

    def path(self, name: str) -> Path:
        """Return the file of a checkpoint.

        Args:
            name: Name of the model.
        """
        return self.folder / f"{name}.safetensors"

    def find_created(self, idempotency: IdempotencyKey | None) -> str | None:
        """Return the name of the model that an earlier request with the same key created, if any.

        Raises:
            Problem: 422, the key was used for another request.
        """
        row = find_created(self._database, ModelRow, idempotency)
        return None if row is None else row.name

    def stored_bytes(self) -> int:
        """Return the bytes of all checkpoints."""
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
        """Return a file for a checkpoint that is being received.

        Raises:
            Problem: 503, the data directory is gone.
            OSError: The file cannot be created.
        """
        make_again(self.folder)
        return UnfinishedFile(self.folder)

    def add(
        self,
        name: str,
        write: Callable[[], LoadedModel],
        *,
        idempotency: IdempotencyKey | None = None,
        is_limited: bool = True,
        check: Callable[[Session], None] | None = None,
    ) -> Model:
        """Store a model under an unused name: first its file, then its row.

        Args:
            name: Name of the model.
            write: Writes the file, and returns what is in it.
            idempotency: Idempotency key of the request.
            is_limited: Whether the limit of all checkpoints holds.
            check: Refuses the name, in the transaction that adds the row.

        Returns:
            The model, which is served, and not loaded.

        Raises:
            Problem: 507, all checkpoints would have too many bytes; else as ``check``.
            OSError: The file could not be written.
        """
        path = self.path(name)
        created_at = time.time()
        try:
            make_again(self.folder)
            written = write()
            fsync(self.folder)
            row = ModelRow(
                name=name,
                created_at=created_at,
                trained=written.trained,
                digest=written.digest,
                config=written.config.to_dict(),
                bytes=path.stat().st_size,
            )
            if idempotency is not None:
                idempotency.write_to(row)
            if is_limited:
                self._check_limit(row.bytes)
            with self._database.session(durable=True) as session:
                session.add(row)
                if check is not None:
                    # Written first, so that no other transaction takes the name meanwhile.
                    session.flush()
                    check(session)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return self._model(row, is_served=True)

    def restore_file(self, model: Model, checkpoint: UnfinishedFile) -> None:
        """Store the sent checkpoint of a known model if its file is lost or damaged.

        A sound file stays: equal weights can come in a larger one.

        Args:
            model: The model.
            checkpoint: The complete file.

        Raises:
            Problem: 507, all checkpoints would have too many bytes.
            OSError: The file could not be written.
        """
        path = self.path(model.name)
        try:
            check_file(model, path)
        except Problem:
            size = checkpoint.path.stat().st_size
            of_model = ModelRow.name == model.name
            with self._database.session() as session:
                counted = session.scalars(select(ModelRow.bytes).where(of_model)).one()
            if size > counted:
                self._check_limit(size - counted)
            checkpoint.place(path)
            fsync(self.folder)
            with self._database.session(durable=True) as session:
                session.execute(update(ModelRow).where(of_model).values(bytes=size))

    @contextmanager
    def removed(self, name: str) -> Iterator[None]:
        """Remove the row of a model before a block that forgets it, and its file afterwards.

        Args:
            name: Name of the model.

        Raises:
            Problem: 409, an unfinished run or an experiment uses it.
            OSError: Its checkpoint cannot be removed; nothing is removed then.
        """
        path = self.path(name)
        check_removable(path)

        def remove(session: Session) -> None:
            check_model_unused(session, name)
            session.execute(delete(ModelRow).where(ModelRow.name == name))

        def make_room() -> bool:
            with self._database.session() as session:
                check_model_unused(session, name)
            path.unlink(missing_ok=True)
            return True

        with self._database.removing() as removal:
            removal.run(remove, make_room)
            yield
            remove_unreferenced(path)

    def _model(self, row: ModelRow, *, is_served: bool = False) -> Model:
        return Model(
            row.name,
            FlowConfig.from_dict(row.config),
            row.trained,
            row.digest,
            row.created_at,
            self.path(row.name),
            is_loaded=False,
            position=row.position,
            is_served=is_served,
        )

    def _check_limit(self, needed: int) -> None:
        stored = self.stored_bytes()
        if self.max_bytes is not None and stored + needed > self.max_bytes:
            raise storage_limit("models", needed, stored, self.max_bytes, "--max-models-bytes")
