"""The tables of the index as SQLAlchemy maps them; Alembic's migrations create them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from energy_flow.choices import ENDED_STATES

# Columns called ``bytes`` hide the type.
Binary = bytes

_Json = JSON(none_as_null=True)

# SQLite numbers rows only in an INTEGER primary key; AUTOINCREMENT never reuses a number.
_Position = BigInteger().with_variant(Integer, "sqlite")


class Table(DeclarativeBase):
    """The base of all tables."""


class KeyedRow:
    """Columns of a row that a request with an ``Idempotency-Key`` can create.

    Attributes:
        idempotency_key: The caller's key.
        idempotency_digest: SHA-256 of the request.
    """

    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))


class RunRow(KeyedRow, Table):
    """A run. Times are seconds since the epoch, UTC.

    Attributes:
        position: Number in the order of arrival.
        name: What people call it; empty for none.
        tags: Its tags, sorted.
        note: Text about it.
        request: What is needed to run it, besides its embeddings: options, outputs and timeout.
        samples: Number of samples; the embeddings are in the run's folder, or are as many rows of
            a dataset.
        dataset_from: First row of the dataset.
        ended_at: Time of its end; ``None`` if it has not ended, or if its files could not be
            completed yet.
        bytes: Size of the run's folder, once it is complete.
        safe: Whether its files are on the disk, so that a power cut cannot damage them.
        last_event_id: Id of its last event, once it has ended.
        arithmetic: Number of the arithmetic that computes it.
        version: Version of the program that started it; ``None`` if it is not known.
        worker: Name of the worker that it was started on last, if it was.
        worker_kinds: Kinds of the workers that have computed its samples, in order, each once;
            empty for runs of earlier versions.
        attempts: Times that a worker has started it; ``None`` for runs of earlier versions.
        trial: Number of the trial in its experiment, if it is one.
        digests: Digests of its files, once it has ended; ``None`` for runs of earlier versions and
            of a rebuilt index. Loaded by itself, because it grows with the files.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("idempotency_key", name="runs_idempotency_key"),
        UniqueConstraint("experiment_id", "trial", name="runs_trial"),
        # A list of some of the runs, newest first, reads no others.
        Index("ix_runs_state", "state", "position"),
        Index("ix_runs_kind", "kind", "position"),
        Index("ix_runs_experiment_state", "experiment_id", "state"),
        Index("ix_runs_model", "model", "position"),
        Index("ix_runs_created_at", "created_at"),
        Index("ix_runs_name", "name", "position"),
        # Durations follow from these alone.
        Index("ix_runs_times", "started_at", "ended_at"),
        {"sqlite_autoincrement": True},
    )

    position: Mapped[int] = mapped_column(_Position, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[float] = mapped_column(Float)
    started_at: Mapped[float | None] = mapped_column(Float)
    ended_at: Mapped[float | None] = mapped_column(Float, index=True)
    model: Mapped[str] = mapped_column(String(64))
    model_digest: Mapped[str] = mapped_column(String(64))
    trained: Mapped[bool] = mapped_column(Boolean)
    seed: Mapped[int] = mapped_column(BigInteger)
    samples: Mapped[int] = mapped_column(BigInteger)
    dataset: Mapped[str | None] = mapped_column(String(64))
    dataset_digest: Mapped[str | None] = mapped_column(String(64), index=True)
    dataset_from: Mapped[int | None] = mapped_column(BigInteger)
    samples_done: Mapped[int] = mapped_column(BigInteger)
    config: Mapped[dict[str, Any]] = mapped_column(_Json)
    request: Mapped[dict[str, Any]] = mapped_column(_Json)
    metrics: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    trace: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    timing: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    warnings: Mapped[list[str]] = mapped_column(_Json)
    error: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    bytes: Mapped[int] = mapped_column(BigInteger)
    safe: Mapped[bool] = mapped_column(Boolean)
    last_event_id: Mapped[int] = mapped_column(BigInteger)
    arithmetic: Mapped[int] = mapped_column(Integer)
    version: Mapped[str | None] = mapped_column(String(64))
    worker: Mapped[str | None] = mapped_column(String(64))
    worker_kinds: Mapped[list[str]] = mapped_column(_Json)
    attempts: Mapped[int | None] = mapped_column(Integer)
    experiment_id: Mapped[str | None] = mapped_column(String(64))
    trial: Mapped[int | None] = mapped_column(Integer)
    digests: Mapped[Binary | None] = mapped_column(LargeBinary, deferred=True)
    name: Mapped[str] = mapped_column(String(200))
    tags: Mapped[list[str]] = mapped_column(_Json)
    note: Mapped[str] = mapped_column(Text)

    @property
    def is_complete(self) -> bool:
        """Whether it has ended and its files do not change any more."""
        return self.state in ENDED_STATES and self.ended_at is not None


class ExperimentRow(KeyedRow, Table):
    """An experiment. Its trials are runs with its id.

    Attributes:
        position: Number in the order of arrival.
        tags: Its tags, sorted.
        note: Text about it.
        cancelling: Whether it was cancelled, also before all of its trials have ended.
        dataset_from: First row of the dataset.
        samples: Number of samples of each trial.
        trials: Number of trials.
        request: What the caller asked for.
        counts: Number of trials in each state, once the experiment has ended.
        samples_done: Samples of all trials, once the experiment has ended.
        flow_steps: Flow-steps of all trials, once the experiment has ended.
        last_event_id: An id that no event so far exceeds.
        arithmetic: Largest number of the arithmetics of its trials.
        version: Version of the program that created it; ``None`` if it is not known.
    """

    __tablename__ = "experiments"
    __table_args__ = (
        UniqueConstraint("idempotency_key", name="experiments_idempotency_key"),
        Index("ix_experiments_state", "state", "position"),
        Index("ix_experiments_kind", "kind", "position"),
        Index("ix_experiments_created_at", "created_at"),
        Index("ix_experiments_times", "started_at", "ended_at"),
        {"sqlite_autoincrement": True},
    )

    position: Mapped[int] = mapped_column(_Position, primary_key=True, autoincrement=True)
    experiment_id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    cancelling: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[float] = mapped_column(Float)
    started_at: Mapped[float | None] = mapped_column(Float)
    ended_at: Mapped[float | None] = mapped_column(Float)
    model: Mapped[str] = mapped_column(String(64), index=True)
    model_digest: Mapped[str] = mapped_column(String(64))
    trained: Mapped[bool] = mapped_column(Boolean)
    coord_version: Mapped[int] = mapped_column(Integer)
    dataset: Mapped[str] = mapped_column(String(64), index=True)
    dataset_digest: Mapped[str] = mapped_column(String(64))
    dataset_from: Mapped[int] = mapped_column(BigInteger)
    samples: Mapped[int] = mapped_column(BigInteger)
    trials: Mapped[int] = mapped_column(Integer)
    request: Mapped[dict[str, Any]] = mapped_column(_Json)
    counts: Mapped[dict[str, int] | None] = mapped_column(_Json)
    samples_done: Mapped[int] = mapped_column(BigInteger)
    flow_steps: Mapped[int] = mapped_column(BigInteger)
    warnings: Mapped[list[str]] = mapped_column(_Json)
    error: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    last_event_id: Mapped[int] = mapped_column(BigInteger)
    arithmetic: Mapped[int] = mapped_column(Integer)
    version: Mapped[str | None] = mapped_column(String(64))
    tags: Mapped[list[str]] = mapped_column(_Json)
    note: Mapped[str] = mapped_column(Text)


class ListKeyRow(Table):
    """A value by which runs or experiments are selected: a tag, or a given option.

    Attributes:
        owner: Table of the row that has it.
        field: ``tag``, or ``option`` with the dotted name of the option.
        value: The tag, or the value of the option as JSON.
        position: Position of the row that has it.
    """

    __tablename__ = "list_keys"
    __table_args__ = (Index("ix_list_keys_position", "owner", "position"),)

    owner: Mapped[str] = mapped_column(String(16), primary_key=True)
    field: Mapped[str] = mapped_column(String(128), primary_key=True)
    value: Mapped[str] = mapped_column(String(200), primary_key=True)
    position: Mapped[int] = mapped_column(_Position, primary_key=True, autoincrement=False)


class ListTextRow(Table):
    """The text in which a list is searched; narrow, because a search reads all of them.

    Attributes:
        owner: Table of the row that it is about.
        position: Position of that row.
        text: Name, tags and note without differences in case.
    """

    __tablename__ = "list_texts"

    owner: Mapped[str] = mapped_column(String(16), primary_key=True)
    position: Mapped[int] = mapped_column(_Position, primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(Text)


class ModelRow(KeyedRow, Table):
    """A model whose checkpoint is in the data directory.

    Attributes:
        position: Number in the order of arrival.
        digest: SHA-256 of the weights.
        bytes: Size of the checkpoint.
    """

    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint("idempotency_key", name="models_idempotency_key"),
        {"sqlite_autoincrement": True},
    )

    position: Mapped[int] = mapped_column(_Position, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float] = mapped_column(Float)
    trained: Mapped[bool] = mapped_column(Boolean)
    digest: Mapped[str] = mapped_column(String(64))
    config: Mapped[dict[str, Any]] = mapped_column(_Json)
    bytes: Mapped[int] = mapped_column(BigInteger)


class DatasetContentRow(Table):
    """The numbers of a dataset, which are in the data directory as the file of their digest.

    They are kept as long as a dataset, a run or an experiment refers to the digest.

    Attributes:
        digest: SHA-256 of the file.
        rows: Number of rows.
        dim: Numbers in a row of inputs.
        targets_dim: Numbers in a row of targets, if there are targets.
        bytes: Size of the file.
        pieces: Digests of the pieces of the file; ``None`` until they are needed, if an earlier
            version stored it. Loaded by itself, because it grows with the file.
    """

    __tablename__ = "dataset_contents"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    rows: Mapped[int] = mapped_column(BigInteger)
    dim: Mapped[int] = mapped_column(BigInteger)
    targets_dim: Mapped[int | None] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    pieces: Mapped[Binary | None] = mapped_column(LargeBinary, deferred=True)


class DatasetRow(Table):
    """The name of a dataset; several names can refer to the same content."""

    __tablename__ = "datasets"
    __table_args__ = ({"sqlite_autoincrement": True},)

    position: Mapped[int] = mapped_column(_Position, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float] = mapped_column(Float)
    digest: Mapped[str] = mapped_column(ForeignKey("dataset_contents.digest"), index=True)


class IdentityRow(Table):
    """The id that the index shares with its data directory; there is one row at most.

    Attributes:
        id: The id, in hexadecimal.
    """

    __tablename__ = "identity"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)


class ApiKeyRow(Table):
    """An API key; the key itself is not stored. Times are seconds since the epoch, UTC.

    Attributes:
        id: Its id, in hexadecimal.
        name: Its name; of the keys that are not revoked, each has another.
        digest: SHA-256 of the key, in hexadecimal.
        revoked_at: When it was revoked; ``None`` while it can be used.
    """

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float] = mapped_column(Float)
    revoked_at: Mapped[float | None] = mapped_column(Float)
