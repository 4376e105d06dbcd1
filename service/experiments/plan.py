"""From a request for an experiment to trials that can be carried out; all faults told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.validation import nest
from energy_flow.errors import ConfigError, Fault
from energy_flow.training import TrainConfig
from service.experiments.schemas import ExperimentFields
from service.experiments.sweep import (
    MOST_TRIALS,
    Point,
    count_points,
    faults_of,
    points,
    swept_fields,
)
from service.experiments.swept_fields import OF_A_RUN, OF_A_TRAINING
from service.experiments.training_plan import (
    model_name,
    size_faults,
    train_config,
    training_faults,
)
from service.models.registry import Model
from service.problems import Problem, invalid
from service.requests.validate import merged_options
from service.store.datasets import Dataset

Check = Callable[[FlowConfig, int], None]
"""Raises ConfigError where a config with so many samples cannot fit in memory."""


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """A trial: a point of the sweep and a seed.

    Attributes:
        parameters: values of the swept fields, by dotted name.
        options: all that differs from the model's config.
        training: the config of a training, and the name of the model that comes of it; none of
            a simulation.
    """

    seed: int
    parameters: Mapping[str, Any]
    options: Mapping[str, Any]
    config: FlowConfig
    training: TrainConfig | None = None
    makes_model: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked experiment.

    Attributes:
        first_row: of the dataset. samples: of each trial.
        options: of all trials. trace: the part of them that was given as ``trace``.
        trials: in the order of their numbers.
        warnings: what some config cannot do that one would expect.
    """

    fields: ExperimentFields
    model: Model
    dataset: Dataset
    first_row: int
    samples: int
    options: Mapping[str, Any]
    trace: Mapping[str, Any]
    swept: tuple[str, ...]
    trials: tuple[TrialPlan, ...]
    warnings: tuple[str, ...]


def make_plan(
    fields: ExperimentFields,
    faults: Iterable[Fault],
    model: Model,
    dataset: Dataset,
    fits: Check,
    max_samples: int,
) -> Plan:
    """Checks an experiment, every point of its sweep included; may take seconds.

    Args:
        faults: what is wrong so far.
        max_samples: of one trial.

    Raises:
        Problem: 413, too many samples; 422, with all faults.
    """
    faults = list(faults)
    is_training = fields.kind == "train"
    faults += training_faults(fields, dataset) if is_training else _idle_faults(fields)
    first, stop, row_faults = _rows(fields.rows, dataset)
    faults += row_faults
    if dataset.content.dim != model.config.embedding_dim:
        said = f"its rows must have {model.config.embedding_dim} numbers, as the model takes them"
        faults.append(Fault(("dataset",), said, dataset.content.dim))
    trace = fields.trace.options()
    options, option_faults = merged_options(fields.options, trace)
    faults += option_faults
    faults += _seed_faults(fields.seeds)
    swept = OF_A_TRAINING if is_training else OF_A_RUN
    given = nest(fields.train or {}) if is_training else options
    sweep_faults = [*faults_of(fields.sweep, swept), *_twice(fields, given)]
    faults += sweep_faults
    count = 0 if sweep_faults else count_points(fields.sweep) * len(fields.seeds)
    if count > MOST_TRIALS:
        said = f"an experiment may have {MOST_TRIALS:,} trials: points of the sweep times seeds"
        faults.append(Fault(("sweep",), said, count))
    trials: list[TrialPlan] = []
    warnings: list[str] = []
    if not sweep_faults and count <= MOST_TRIALS:
        make = _trainings if is_training else _simulations
        trials, warnings, config_faults = make(fields, options, model, fits, (first, stop))
        faults += config_faults
    if faults:
        raise invalid(faults)
    samples = stop - first
    if samples > max_samples:
        said = f"a trial may have {max_samples:,} samples and these would have {samples:,}"
        fault = Fault(("rows",), said, samples)
        raise Problem(413, said, faults=[fault], extra={"limit_samples": max_samples})
    return Plan(
        fields=fields,
        model=model,
        dataset=dataset,
        first_row=first,
        samples=samples,
        options=options,
        trace=trace,
        swept=swept_fields(fields.sweep),
        trials=tuple(trials),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _rows(rows: list[int] | None, dataset: Dataset) -> tuple[int, int, list[Fault]]:
    held = dataset.content.rows
    if rows is None:
        return 0, held, []
    first, stop = rows
    if 0 <= first < stop <= held:
        return first, stop, []
    said = f"must be a part [from, to] of the dataset's {held} rows, 0 <= from < to <= {held}"
    return 0, held, [Fault(("rows",), said, rows)]


def _seed_faults(seeds: list[int]) -> list[Fault]:
    known: set[int] = set()
    faults = []
    for place, seed in enumerate(seeds):
        if seed in known:
            faults.append(Fault(("seeds", place), "each seed may be named once", seed))
        known.add(seed)
    return faults


def _twice(fields: ExperimentFields, options: Mapping[str, Any]) -> list[Fault]:
    """Fields that are swept and set."""
    given = set(_dotted(options))
    return [
        Fault(("sweep", _kind(fields), field), "is set for all trials too", field)
        for field in swept_fields(fields.sweep)
        if field in given
    ]


def _dotted(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in options.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")


def _kind(fields: ExperimentFields) -> str:
    return "grid" if fields.sweep is not None and fields.sweep.grid is not None else "random"


Made = tuple[list[TrialPlan], list[str], list[Fault]]


def _simulations(
    fields: ExperimentFields,
    options: Mapping[str, Any],
    model: Model,
    fits: Check,
    rows: tuple[int, int],
) -> Made:
    """A trial for every point and seed, warnings, and what is wrong with any, each thing once."""
    trials: list[TrialPlan] = []
    warnings: list[str] = []
    faults: dict[tuple[tuple[str | int, ...], str], Fault] = {}
    for point in points(fields.sweep):
        changed = {**options, **point.parameters}
        try:
            config = model.config.with_options(changed)
            fits(config, rows[1] - rows[0])
        except ConfigError as error:
            found = [_relocated(fault, fields, point) for fault in error.faults]
        else:
            warnings += config.warnings()
            trials += [
                TrialPlan(seed, point.parameters, changed, config)
                for seed in _seeds(fields, config)
            ]
            found = _fixed_seed_faults(fields, config)
        for fault in found:
            faults.setdefault((fault.loc, fault.msg), fault)
    return trials, warnings, list(faults.values())


def _trainings(
    fields: ExperimentFields,
    options: Mapping[str, Any],
    model: Model,
    fits: Check,
    rows: tuple[int, int],
) -> Made:
    """As :func:`_simulations`, for trials that train."""
    trials: list[TrialPlan] = []
    warnings: list[str] = []
    faults: dict[tuple[tuple[str | int, ...], str], Fault] = {}
    try:
        config = model.config.with_options(options)
    except ConfigError as error:
        return [], [], [Fault(("options", *one.loc), one.msg, one.got) for one in error.faults]
    for point in points(fields.sweep, OF_A_TRAINING):
        for seed in fields.seeds:
            try:
                training = train_config(fields, point.parameters, options, seed, rows)
            except ConfigError as error:
                found = [_of_training(fault, fields, point) for fault in error.faults]
            else:
                warnings += training.warnings()
                name = model_name(fields, len(trials), count_points(fields.sweep))
                trials.append(TrialPlan(seed, point.parameters, options, config, training, name))
                found = size_faults(training, rows)
            for fault in found:
                faults.setdefault((fault.loc, fault.msg), fault)
    return trials, warnings, list(faults.values())


def _of_training(fault: Fault, fields: ExperimentFields, point: Point) -> Fault:
    """A fault of a training's config as one of the request."""
    named = {".".join(map(str, fault.loc[:length])) for length in range(1, len(fault.loc) + 1)}
    for field in sorted(named & set(point.places)):
        place = point.places[field]
        where = ("sweep", _kind(fields), field, *(() if place is None else (place,)))
        return Fault(where, fault.msg, fault.got)
    return Fault(("train", *fault.loc), fault.msg, fault.got)


def _idle_faults(fields: ExperimentFields) -> list[Fault]:
    if fields.train is None:
        return []
    return [Fault(("train",), "belongs to an experiment of kind 'train'", fields.train)]


def _relocated(fault: Fault, fields: ExperimentFields, point: Point) -> Fault:
    """A fault of a config as one of the request: of the sweep, where it varies the field."""
    named = [".".join(map(str, fault.loc[:length])) for length in (2, 1)]
    # A combination tells the value of each of its fields.
    named += list(fault.got) if isinstance(fault.got, Mapping) else []
    for field in named:
        if field in point.places:
            place = point.places[field]
            where = ("sweep", _kind(fields), field, *(() if place is None else (place,)))
            return Fault(where, fault.msg, fault.got)
    if fault.loc[:1] == ("trace",) and set(fault.loc[1:2]) & set(fields.trace.options()):
        return fault
    return Fault(("options", *fault.loc), fault.msg, fault.got)


def _fixed_seed_faults(fields: ExperimentFields, config: FlowConfig) -> list[Fault]:
    """A deterministic trial takes the config's own seed, which the options or the sweep may set."""
    if not config.deterministic:
        return []
    said = f"a deterministic trial has the config's seed, {config.seed}; leave seeds out"
    return [
        Fault(("seeds", place), said, seed)
        for place, seed in enumerate(_seeds(fields, config))
        if seed != config.seed
    ]


def _seeds(fields: ExperimentFields, config: FlowConfig) -> list[int]:
    if config.deterministic and "seeds" not in fields.model_fields_set:
        return [config.seed]
    return fields.seeds
