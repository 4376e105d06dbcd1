"""``TrainConfig``: everything that decides what a training computes, and its guard.

The same names serve Python, ``--set optimiser.learning_rate=0.002``, TOML and JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from energy_flow.config.flow_config import PositiveInt, Precision
from energy_flow.config.validation import Group, broken_rules, faults_of, merge, nest, without
from energy_flow.errors import ConfigError
from energy_flow.training.config_rules import REFUSED, TOLD, model_faults

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]


class Decay(StrEnum):
    """How a value goes from its peak to its end."""

    LINEAR = "linear"
    COSINE = "cosine"


class BackPropagation(StrEnum):
    """What is kept of a run for its gradients."""

    FULL = "full"
    CHECKPOINTED = "checkpointed"
    TRUNCATED = "truncated"


class Negatives(StrEnum):
    """Which targets a prediction is told apart from."""

    BATCH = "batch"
    TRAIN = "train"


class Metric(StrEnum):
    """Figures of a validation that a training may stop by; larger is better."""

    COSINE = "cosine"
    TOP_1 = "top_1"
    TOP_10 = "top_10"


class ModelChoice(Group):
    """What is trained."""

    preset: str | None = Field(None, description="of an untrained model; null is debug")
    checkpoint: str | None = Field(None, description="file of a model to go on from")
    config: dict[str, Any] = Field({}, description="changes; with a checkpoint, of run fields")


class DataChoice(Group):
    """Pairs of embeddings: tensors ``inputs`` and ``targets``, each [rows, embedding_dim]."""

    train: str | None = Field(None, description="a .safetensors file")
    val: str | None = Field(None, description="a .safetensors file, measured once, at the end")
    rows: tuple[int, int] | None = Field(None, description="of train: from, to before; null: all")
    held_out: float = Field(0.05, ge=0, lt=1, description="share of train rows not trained on")
    held_out_seed: int = Field(0, ge=0, le=2**63 - 1)


class Term(Group):
    """A loss term; the loss is the weighted sum of those that are there."""

    weight: Weight = 1.0


class SurfaceTerm(Term):
    """1 - cosine between the surface and the input mapper's energies of the target."""

    detach_target: bool = Field(True, description="no gradient through the target's energies")


class InfoNCETerm(Term):
    """Cross entropy of finding the row's own target among others."""

    temperature: float = Field(0.05, gt=0)
    negatives: Negatives = Negatives.BATCH


class Losses(Group):
    """Terms by name; one that is absent costs nothing."""

    cosine: Term | None = None
    mse: Term | None = None
    surface: SurfaceTerm | None = None
    info_nce: InfoNCETerm | None = None


class OptimiserChoice(Group):
    """AdamW (Loshchilov and Hutter, 2019); matrices decay, biases and encodings do not."""

    learning_rate: float = Field(1e-3, gt=0, le=10)
    weight_decay: float = Field(0.01, ge=0, le=10)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-8, gt=0)
    clip_norm: float | None = Field(1.0, gt=0, description="of all gradients together; null: off")


class Ramp(Group):
    """A value over a training: up or down to ``peak``, then to ``end``.

    ``start`` is its value before the first step and ``end`` that after the last; one that is null
    is what the field itself says.
    """

    start: float | None = Field(None, ge=0)
    peak: float | None = Field(None, ge=0)
    end: float | None = Field(None, ge=0)
    warm_up: Share = Field(0.0, description="share of all steps from start to peak")
    decay: Decay = Decay.COSINE


class Schedule(Group):
    """What changes while training; null leaves a value as its field says."""

    learning_rate: Ramp | None = Ramp(start=0.0, end=0.0, warm_up=0.05)
    displacement_scale: Ramp | None = None
    noise_std: Ramp | None = None


class BackPropagationChoice(Group):
    """How gradients go back through the steps of a run."""

    mode: BackPropagation = BackPropagation.FULL
    steps: PositiveInt | None = Field(None, description="most steps back; truncated only")


class Batch(Group):
    """Rows of one optimiser step."""

    rows: PositiveInt = 32
    accumulation: PositiveInt = Field(1, description="equal parts that go one after the other")


class Length(Group):
    """How long; one of the two."""

    epochs: float | None = Field(None, gt=0)
    steps: PositiveInt | None = None


class Validation(Group):
    """Retrieval among the targets of the held-out rows."""

    every: PositiveInt = Field(100, description="optimiser steps between two")
    rows: PositiveInt = Field(64, description="simulated at once")


class EarlyStopping(Group):
    """Ends a training whose held-out figure no longer grows; its best weights are kept anyway."""

    metric: Metric = Metric.COSINE
    patience: PositiveInt | None = Field(None, description="validations without growth; null: off")
    min_improvement: float = Field(0.0, ge=0)


class Checkpoints(Group):
    """What is kept on disk to go on from."""

    every: PositiveInt = Field(100, description="optimiser steps between two")
    keep: PositiveInt = 2


class _Fields(Group):
    """The fields with their types and ranges; ``TrainConfig`` adds the combinations."""

    model: ModelChoice = ModelChoice()
    data: DataChoice = DataChoice()
    losses: Losses = Losses()
    optimiser: OptimiserChoice = OptimiserChoice()
    schedule: Schedule = Schedule()
    back_propagation: BackPropagationChoice = BackPropagationChoice()
    batch: Batch = Batch()
    length: Length = Length()
    validation: Validation = Validation()
    early_stopping: EarlyStopping = EarlyStopping()
    checkpoints: Checkpoints = Checkpoints()
    precision: Precision | None = Field(None, description="of the networks; null: the model's")
    max_skipped: PositiveInt = Field(10, description="steps in a row that may be skipped")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="of batches and exploration noise")


class TrainConfig(_Fields):
    """Everything that decides what a training computes; frozen, keyword-only.

    Raises:
        ConfigError: on any unknown field, type, range or combination, all of them at once.
    """

    def __init__(self, **fields: Any) -> None:
        faults = []
        try:
            super().__init__(**fields)
            checked = self.to_dict()
            unsure: set[str] = set()
        except ValidationError as error:
            faults = faults_of(error, TrainConfig)
            checked, unsure = without(_Fields, fields, faults)
        faults += broken_rules(REFUSED, checked, unsure)
        faults += model_faults(checked, unsure)
        if faults:
            raise ConfigError(*faults)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], changes: Mapping[str, Any] = {}) -> Self:
        """Builds a config from plain data with nested or dotted keys (JSON, TOML).

        Args:
            changes: of the same kind, which go before.
        """
        return cls(**merge(nest(fields), nest(changes)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, nested, every field present."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return data

    def replace(self, fields: Mapping[str, Any]) -> Self:
        """A copy with other values for any fields, nested or dotted."""
        return self.from_dict(self.to_dict(), fields)

    def warnings(self) -> tuple[str, ...]:
        """Settings that are allowed but cannot have the effect one would expect."""
        values = self.to_dict()
        return tuple(rule.message(values) for rule in TOLD if rule.broken(values))
