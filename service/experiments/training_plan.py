"""Checks of a request for an experiment of kind ``train``, and the configs of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from energy_flow import pretrained
from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.messages import describe_width
from energy_flow.config.validation import nest
from energy_flow.errors import ConfigError, Fault
from energy_flow.training import TrainConfig
from energy_flow.training.combinations import find_model_faults
from service.schemas.experiment import ExperimentFields
from service.store.datasets import Dataset

# Fields that other members of the request set.
_SET_ELSEWHERE = {
    "model": "give model, and run-time fields as options, instead",
    "seed": "give seeds instead",
    "data.train": "give dataset instead",
    "data.val": "rows are held out of the dataset instead",
    "data.rows": "give rows instead",
}
_OF_SIMULATIONS = ("outputs", "trace", "chunk_samples")
_MAX_NAME = 64
FEW_HELD_OUT: Final = 20
"""With fewer held-out rows, a training gives a warning."""


def find_training_faults(
    fields: ExperimentFields, dataset: Dataset, model: FlowConfig
) -> list[Fault]:
    """Return the faults of a request to train, without those of its configs.

    Args:
        fields: The request.
        dataset: Its dataset.
        model: Config of its model.
    """
    sent = fields.model_dump(mode="json", include=set(_OF_SIMULATIONS))
    faults = [
        Fault((name,), "belongs to an experiment of kind 'simulate'", sent[name])
        for name in _OF_SIMULATIONS
        if name in fields.model_fields_set
    ]
    given = nest(fields.train or {})
    data = given.get("data")
    for name, instead in _SET_ELSEWHERE.items():
        group, dot, member = name.partition(".")
        inner = data if dot else given
        if isinstance(inner, Mapping) and (member or group) in inner:
            message = f"cannot be set here: {instead}"
            faults.append(Fault(("train", *name.split(".")), message, inner[member or group]))
    content = dataset.content
    if content.targets_dim is None:
        faults.append(Fault(("dataset",), "has no targets to train on", dataset.name))
    elif content.targets_dim != model.output_width:
        message = (
            f"its targets must have {describe_width(model.output_width)}, as output embeddings of "
            "the model have"
        )
        faults.append(Fault(("dataset",), message, content.targets_dim))
    if fields.name in pretrained.names():
        message = "is a model that is part of Energy Flow, and models are named after experiments"
        faults.append(Fault(("name",), f"{message}; choose another name", fields.name))
    if len(fields.name) > _MAX_NAME - 6:
        message = f"may have {_MAX_NAME - 6} characters, because models are named after it"
        faults.append(Fault(("name",), message, fields.name))
    return faults


def make_train_config(
    fields: ExperimentFields,
    parameters: Mapping[str, Any],
    options: Mapping[str, Any],
    seed: int,
    rows: tuple[int, int],
    model: FlowConfig,
) -> TrainConfig:
    """Return the config of one trial, without the paths of its files.

    Args:
        fields: The request.
        parameters: Values of the swept fields by dotted name.
        options: Run-time fields of the model.
        seed: Seed of the trial.
        rows: First row of the dataset, and the row behind the last one.
        model: Config of the model, with the options.

    Raises:
        ConfigError: With every fault.
    """
    # With a checkpoint, what depends on the model is checked as that of an existing one.
    source = {"model.checkpoint": fields.model}
    given = TrainConfig.from_dict(fields.train or {}, {**parameters, **source})
    own = {"model.config": dict(options), "data.rows": list(rows), "seed": seed}
    config = given.replace(own)
    widths = (model.embedding_dim, model.output_width)
    if faults := find_model_faults(config.to_dict(), model, *widths):
        raise ConfigError(*faults)
    return config


def find_size_faults(config: TrainConfig, rows: tuple[int, int]) -> list[Fault]:
    """Return a fault if the rows do not fill a batch.

    Args:
        config: Config of the training.
        rows: First row of the dataset, and the row behind the last one.
    """
    count = rows[1] - rows[0]
    left = count - round(count * config.data.held_out)
    if left >= config.batch.rows:
        return []
    message = f"leaves about {left} rows to train on, less than a batch of {config.batch.rows}"
    return [Fault(("rows",), message, list(rows))]


def find_size_warnings(config: TrainConfig, rows: tuple[int, int]) -> list[str]:
    """Return a warning if the best weights would be chosen by figures of few rows.

    Args:
        config: Config of the training.
        rows: First row of the dataset, and the row behind the last one.
    """
    count = round((rows[1] - rows[0]) * config.data.held_out)
    if config.data.held_out == 0 or count >= FEW_HELD_OUT:
        return []
    return [
        f"about {count} rows are held out: figures of fewer than {FEW_HELD_OUT} rows vary much by "
        "chance, and the best weights are chosen by them; raise data.held_out or give more rows"
    ]


def model_name(fields: ExperimentFields, number: int, points: int) -> str:
    """Return the name of a trial's model: the experiment's, with a number if there are several.

    Args:
        fields: The request.
        number: Number of the trial.
        points: Number of points of the sweep.
    """
    return fields.name if points * len(fields.seeds) == 1 else f"{fields.name}-{number}"
