"""``TrainConfig``: every setting that decides what a training computes, and its validation.

The same names serve Python, ``--set optimiser.learning_rate=0.002``, TOML and JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError

from energy_flow.choices import Precision, ValidationMetric
from energy_flow.config.flow_config import FlowConfig, PositiveInt
from energy_flow.config.validation import (
    Group,
    check_rules,
    collect_faults,
    drop_faulty_fields,
    find_booleans,
    find_repeats,
    list_warnings,
    merge,
    nest,
    reporting,
)
from energy_flow.errors import ConfigError
from energy_flow.training.combinations import REFUSED, WARNED, find_model_warnings
from energy_flow.training.gradient_modes import BackPropagationConfig
from energy_flow.training.losses import Losses
from energy_flow.training.model_source import ModelSource, known_config, model_faults
from energy_flow.training.schedules import Schedule


class DataConfig(Group):
    """Pairs: tensors ``inputs`` [rows, embedding_dim] and ``targets`` [rows, output width]."""

    train: str | None = Field(None, description="a .safetensors file of pairs to train on")
    val: str | None = Field(
        None, description="a .safetensors file of pairs, measured once, at the end; null: none"
    )
    rows: tuple[int, int] | None = Field(
        None,
        description="first row of the training pairs and the row behind the last one; null: all",
    )
    held_out: float = Field(
        0.05, ge=0, lt=1, description="share of the training pairs that is kept for validations"
    )
    held_out_seed: int = Field(
        0, ge=0, le=2**63 - 1, description="seed by which the held-out pairs are chosen"
    )


class OptimiserConfig(Group):
    """AdamW (Loshchilov and Hutter, 2019); biases and encodings have no weight decay."""

    learning_rate: float = Field(1e-3, gt=0, le=10, description="size of a step of AdamW")
    weight_decay: float = Field(
        0.01,
        ge=0,
        le=10,
        description="decay of weights per step, in units of the learning rate",
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the mean of gradients per step")
    beta2: float = Field(
        0.999, ge=0, lt=1, description="decay of the mean of squared gradients per step"
    )
    epsilon: float = Field(1e-8, gt=0, description="term that keeps AdamW's divisor above 0")
    clip_norm: float | None = Field(
        1.0, gt=0, description="largest norm of all gradients together; null: no limit"
    )


class BatchConfig(Group):
    """Rows of one optimiser step."""

    rows: PositiveInt = Field(32, description="pairs of an optimiser step")
    accumulation: PositiveInt = Field(
        1, description="equal parts of a batch that are computed in turn; divides batch.rows"
    )


class LengthConfig(Group):
    """Length of the training; one of the two."""

    epochs: float | None = Field(
        None, gt=0, description="passes over the training pairs; null: by steps"
    )
    steps: PositiveInt | None = Field(None, description="optimiser steps; null: by epochs")


class ValidationConfig(Group):
    """Retrieval among the targets of the held-out rows."""

    every: PositiveInt = Field(100, description="optimiser steps between two validations")
    rows: PositiveInt = Field(64, description="held-out pairs that are simulated at once")


class EarlyStoppingConfig(Group):
    """When a training ends before its length; its best weights are kept anyway."""

    metric: ValidationMetric = Field(
        ValidationMetric.COSINE, description="figure of a validation that should improve"
    )
    patience: PositiveInt | None = Field(
        None, description="validations without improvement that end the training; null: no end"
    )
    min_improvement: float = Field(
        0.0, ge=0, description="growth of the figure that counts as an improvement"
    )


class CheckpointsConfig(Group):
    """Snapshots on disk from which a training can be resumed."""

    every: PositiveInt = Field(100, description="optimiser steps between two snapshots")
    keep: PositiveInt = Field(2, description="newest snapshots that are kept")


class _Fields(Group):
    """The fields with their types and ranges; ``TrainConfig`` adds the combinations."""

    model: ModelSource = Field(ModelSource(), description="model that the training starts from")
    data: DataConfig = Field(DataConfig(), description="pairs of inputs and targets")
    losses: Losses = Field(Losses(), description="terms of the loss")
    optimiser: OptimiserConfig = Field(OptimiserConfig(), description="settings of AdamW")
    schedule: Schedule = Field(Schedule(), description="values that change over the training")
    back_propagation: BackPropagationConfig = Field(
        BackPropagationConfig(), description="how gradients go back through the steps of a run"
    )
    batch: BatchConfig = Field(BatchConfig(), description="rows of an optimiser step")
    length: LengthConfig = Field(LengthConfig(), description="length of the training")
    validation: ValidationConfig = Field(
        ValidationConfig(), description="measurements on the held-out pairs"
    )
    early_stopping: EarlyStoppingConfig = Field(
        EarlyStoppingConfig(), description="when the training ends before its length"
    )
    checkpoints: CheckpointsConfig = Field(
        CheckpointsConfig(), description="snapshots from which the training can be resumed"
    )
    precision: Precision | None = Field(
        None, description="dtype of the neuron, the GRU and the hidden state; null: the model's"
    )
    max_skipped: PositiveInt = Field(10, description="optimiser steps in a row that may be skipped")
    seed: int = Field(
        0,
        ge=0,
        le=2**63 - 1,
        description="seed of the order of pairs and of the exploration noise",
    )


class TrainConfig(_Fields):
    """Every setting that decides what a training computes.

    Args:
        **fields: by name; groups as objects or mappings.

    Raises:
        ConfigError: with every unknown field and every fault of type, range or combination.
    """

    def __init__(self, **fields: Any) -> None:
        faults = find_booleans(TrainConfig, fields)
        try:
            super().__init__(**fields)
            checked = self.to_dict()
            unsure = {".".join(map(str, fault.loc)) for fault in faults}
        except ValidationError as error:
            faults = collect_faults(error, TrainConfig, found=faults)
            checked, unsure = drop_faulty_fields(_Fields, fields, faults)
        faults += check_rules(REFUSED, checked, unsure)
        faults += model_faults(checked, unsure)
        if faults:
            raise ConfigError(*faults)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], changes: Mapping[str, Any] = {}) -> Self:
        """Return a config from plain data with nested or dotted keys, such as JSON or TOML.

        Args:
            fields: values by name.
            changes: values that replace some of them.

        Raises:
            ConfigError: with every fault.
        """
        with reporting([*find_repeats(fields), *find_repeats(changes)]):
            return cls(**merge(nest(fields), nest(changes)))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data with nested groups."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return data

    def replace(self, fields: Mapping[str, Any]) -> Self:
        """Return a copy with other values for any fields.

        Args:
            fields: values by name, nested or dotted.

        Raises:
            ConfigError: with every fault.
        """
        return self.from_dict(self.to_dict(), fields)

    def warnings(self, model: FlowConfig | None = None) -> tuple[str, ...]:
        """Return a message for every setting that is allowed and has no or an unusual effect.

        Args:
            model: config of the model that is trained. Without it, messages that depend on the
                model are those of an untrained one, and are left out where the model is in a
                checkpoint.
        """
        plain = self.to_dict()
        model = model or known_config(self.model)
        about_model = () if model is None else find_model_warnings(plain, model)
        return (*list_warnings(WARNED, plain), *about_model)
