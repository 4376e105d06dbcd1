"""Tables of the index, as SQLAlchemy maps them; Alembic's migrations make them."""

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
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_Json = JSON(none_as_null=True)

# SQLite counts up only in an INTEGER primary key; AUTOINCREMENT keeps it from reusing a number.
_Position = BigInteger().with_variant(Integer, "sqlite")


class Table(DeclarativeBase):
    """What all tables share."""


class RunRow(Table):
    """A run. Times are seconds since the epoch, UTC.

    ``position`` orders runs by their arrival. ``request`` is what is needed to run it (again):
    options, outputs, trace and timeout; its embeddings lie in its folder, or are ``samples`` rows
    of a dataset from ``dataset_from`` on. ``safe`` says that a power cut cannot hurt its files any
    more.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("idempotency_key", name="runs_idempotency_key"),
        UniqueConstraint("experiment_id", "trial", name="runs_trial"),
        # A list of some of the runs, newest first, reads no others.
        Index("ix_runs_state", "state", "position"),
        Index("ix_runs_kind", "kind", "position"),
        Index("ix_runs_experiment_state", "experiment_id", "state"),
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
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))
    experiment_id: Mapped[str | None] = mapped_column(String(64))
    trial: Mapped[int | None] = mapped_column(Integer)


class ExperimentRow(Table):
    """An experiment. Its trials are runs, which have its id and their number in it.

    ``request`` is what was asked for; ``samples`` are those of each trial, ``dataset_from`` the
    first row. ``cancelling`` says that it was cancelled, before all of it has ended. Once it has,
    ``counts`` says how many trials are in each state, and ``samples_done`` and ``flow_steps`` are
    those of all trials. ``last_event_id`` is beyond any that was told.
    """

    __tablename__ = "experiments"
    __table_args__ = (
        UniqueConstraint("idempotency_key", name="experiments_idempotency_key"),
        Index("ix_experiments_state", "state", "position"),
        Index("ix_experiments_kind", "kind", "position"),
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
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))


class ModelRow(Table):
    """A model whose checkpoint lies in the data directory."""

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
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))


class DatasetContentRow(Table):
    """Numbers that lie in the data directory as the file of their digest.

    They stay as long as a dataset's name, a run or an experiment refers to the digest.
    """

    __tablename__ = "dataset_contents"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    rows: Mapped[int] = mapped_column(BigInteger)
    dim: Mapped[int] = mapped_column(BigInteger)
    targets_dim: Mapped[int | None] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)


class DatasetRow(Table):
    """A dataset's name; several may share their content."""

    __tablename__ = "datasets"
    __table_args__ = ({"sqlite_autoincrement": True},)

    position: Mapped[int] = mapped_column(_Position, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float] = mapped_column(Float)
    digest: Mapped[str] = mapped_column(ForeignKey("dataset_contents.digest"), index=True)
