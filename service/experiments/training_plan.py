"""What an experiment of kind ``train`` asks for, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_flow.config.validation import nest
from energy_flow.errors import Fault
from energy_flow.training import TrainConfig
from service.experiments.schemas import ExperimentFields
from service.store.datasets import Dataset

# What the experiment itself says: which model, which rows, which seed.
_SAID_ELSEWHERE = {
    "model": "name the model as 'model', and run-time fields among the options",
    "seed": "give seeds instead",
    "data.train": "name the dataset instead",
    "data.val": "rows are held out of the dataset instead",
    "data.rows": "give rows instead",
}
_OF_SIMULATIONS = ("outputs", "trace", "chunk_samples")
_LONGEST_NAME = 64


def training_faults(fields: ExperimentFields, dataset: Dataset) -> list[Fault]:
    """What is wrong with a request to train, besides its configs."""
    faults = [
        Fault((name,), "belongs to an experiment of kind 'simulate'", None)
        for name in _OF_SIMULATIONS
        if name in fields.model_fields_set
    ]
    given = nest(fields.train or {})
    data = given.get("data")
    for name, instead in _SAID_ELSEWHERE.items():
        group, dot, member = name.partition(".")
        inner = data if dot else given
        if isinstance(inner, Mapping) and (member or group) in inner:
            faults.append(Fault(("train", *name.split(".")), f"is said elsewhere: {instead}", None))
    content = dataset.content
    if content.targets_dim is None:
        faults.append(Fault(("dataset",), "has no targets to train on", dataset.name))
    elif content.targets_dim != content.dim:
        said = f"its targets must have {content.dim} numbers, as its inputs have"
        faults.append(Fault(("dataset",), said, content.targets_dim))
    if len(fields.name) > _LONGEST_NAME - 6:
        said = f"may have {_LONGEST_NAME - 6} characters: models are named after it"
        faults.append(Fault(("name",), said, fields.name))
    return faults


def train_config(
    fields: ExperimentFields,
    parameters: Mapping[str, Any],
    options: Mapping[str, Any],
    seed: int,
    rows: tuple[int, int],
) -> TrainConfig:
    """The config of one trial; its files are named when it is carried out.

    Raises:
        ConfigError: every fault, located in ``train``.
    """
    own = {"model": {"config": dict(options)}, "data.rows": list(rows), "seed": seed}
    given = TrainConfig.from_dict(fields.train or {}, dict(parameters))
    # A file is named so that options are checked as those of a model that exists.
    return given.replace({**own, "model.checkpoint": fields.model})


def size_faults(config: TrainConfig, rows: tuple[int, int]) -> list[Fault]:
    """Rows that do not suffice."""
    count = rows[1] - rows[0]
    left = count - round(count * config.data.held_out)
    if left >= config.batch.rows:
        return []
    said = f"leaves about {left} rows to train on, less than a batch of {config.batch.rows}"
    return [Fault(("rows",), said, list(rows))]


def model_name(fields: ExperimentFields, number: int, points: int) -> str:
    """What the model of a trial is called: as the experiment, with its number if there are more."""
    return fields.name if points * len(fields.seeds) == 1 else f"{fields.name}-{number}"
