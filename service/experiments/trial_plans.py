"""The trials of an experiment: a config for every point of its sweep and every seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import ConfigError, Fault
from energy_flow.training import TrainConfig
from service.experiments.sweep import Point, count_points, points
from service.experiments.swept_fields import OF_A_TRAINING
from service.experiments.training_plan import (
    find_size_faults,
    find_size_warnings,
    make_train_config,
    model_name,
)
from service.models.model import Model
from service.requests.validate import relocate_options
from service.schemas.experiment import ExperimentFields

FitCheck = Callable[[FlowConfig, int], None]
"""Raises ConfigError if a config with so many samples does not fit in memory."""


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """A trial: a point of the sweep and a seed.

    Attributes:
        seed: The seed.
        parameters: Values of the swept fields by dotted name.
        options: Everything that differs from the model's config.
        config: Config of a simulation.
        training: Config of a training; ``None`` for a simulation.
        makes_model: Name of the model that a training makes.
    """

    seed: int
    parameters: Mapping[str, Any]
    options: Mapping[str, Any]
    config: FlowConfig
    training: TrainConfig | None = None
    makes_model: str | None = None


@dataclass(slots=True)
class TrialPlans:
    """All trials of an experiment.

    Attributes:
        trials: Trials in the order of their numbers.
        warnings: Warnings of all configs.
        faults: Faults of all configs by place and message, each once.
    """

    trials: list[TrialPlan] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faults: dict[tuple[tuple[str | int, ...], str], Fault] = field(default_factory=dict)

    def add_faults(self, faults: list[Fault]) -> None:
        """Add faults, each of which may have been found at another point before."""
        for fault in faults:
            self.faults.setdefault((fault.loc, fault.msg), fault)


def plan_simulations(
    fields: ExperimentFields,
    options: Mapping[str, Any],
    model: Model,
    check_fit: FitCheck,
    rows: tuple[int, int],
) -> TrialPlans:
    """Return the trials of an experiment that simulates.

    Args:
        fields: The request.
        options: Options of all trials.
        model: Its model.
        check_fit: Checks that a trial fits in memory.
        rows: First row of the dataset, and the row behind the last one.
    """
    plans = TrialPlans()
    for point in points(fields.sweep):
        changed = {**options, **point.parameters}
        try:
            config = model.config.with_options(changed)
            check_fit(config, rows[1] - rows[0])
        except ConfigError as error:
            plans.add_faults([_relocate_option(fault, fields, point) for fault in error.faults])
            continue
        plans.warnings += config.warnings()
        plans.trials += [
            TrialPlan(seed, point.parameters, changed, config) for seed in _seeds(fields, config)
        ]
        plans.add_faults(_find_fixed_seed_faults(fields, config))
    return plans


def plan_trainings(
    fields: ExperimentFields,
    options: Mapping[str, Any],
    model: Model,
    _check_fit: FitCheck,
    rows: tuple[int, int],
) -> TrialPlans:
    """Return the trials of an experiment that trains.

    Args:
        fields: The request.
        options: Options of all trials.
        model: Its model.
        rows: First row of the dataset, and the row behind the last one.
    """
    plans = TrialPlans()
    try:
        config = model.config.with_options(options)
    except ConfigError as error:
        plans.add_faults(relocate_options(error.faults))
        return plans
    for point in points(fields.sweep, OF_A_TRAINING):
        for seed in fields.seeds:
            try:
                training = make_train_config(fields, point.parameters, options, seed, rows, config)
            except ConfigError as error:
                plans.add_faults([_relocate_field(fault, fields, point) for fault in error.faults])
                continue
            plans.warnings += training.warnings(config)
            name = model_name(fields, len(plans.trials), count_points(fields.sweep))
            plans.trials.append(TrialPlan(seed, point.parameters, options, config, training, name))
            plans.add_faults(find_size_faults(training, rows))
            plans.warnings += find_size_warnings(training, rows)
    return plans


def sweep_kind(fields: ExperimentFields) -> str:
    """Return which kind of sweep an experiment has, ``grid`` or ``random``."""
    return "grid" if fields.sweep is not None and fields.sweep.grid is not None else "random"


def _relocate_field(fault: Fault, fields: ExperimentFields, point: Point) -> Fault:
    """Return a fault of a training's config as one of the request."""
    named = {".".join(map(str, fault.loc[:length])) for length in range(1, len(fault.loc) + 1)}
    for name in sorted(named & set(point.places)):
        return _relocate_to_sweep(fault, fields, point, name)
    return Fault(("train", *fault.loc), fault.msg, fault.got)


def _relocate_option(fault: Fault, fields: ExperimentFields, point: Point) -> Fault:
    """Return a fault of a simulation's config as one of the request."""
    named = [".".join(map(str, fault.loc[:length])) for length in (2, 1)]
    # A fault of a combination has the values of all its fields.
    named += list(fault.got) if isinstance(fault.got, Mapping) else []
    for name in named:
        if name in point.places:
            return _relocate_to_sweep(fault, fields, point, name)
    (relocated,) = relocate_options([fault], fields.trace.options())
    return relocated


def _relocate_to_sweep(fault: Fault, fields: ExperimentFields, point: Point, name: str) -> Fault:
    place = point.places[name]
    index = () if place is None else (place,)
    return Fault(("sweep", sweep_kind(fields), name, *index), fault.msg, fault.got)


def _find_fixed_seed_faults(fields: ExperimentFields, config: FlowConfig) -> list[Fault]:
    """Refuse seeds of a deterministic trial, which has the seed of its config."""
    if not config.deterministic:
        return []
    message = f"a deterministic trial has the config's seed, {config.seed}; leave seeds out"
    return [
        Fault(("seeds", place), message, seed)
        for place, seed in enumerate(_seeds(fields, config))
        if seed != config.seed
    ]


def _seeds(fields: ExperimentFields, config: FlowConfig) -> list[int]:
    if config.deterministic and "seeds" not in fields.model_fields_set:
        return [config.seed]
    return fields.seeds
