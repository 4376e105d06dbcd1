"""From a request for an experiment to trials that can be carried out; all faults told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from energy_flow.config import FlowConfig
from energy_flow.errors import ConfigError, Fault
from service.experiments.schemas import ExperimentFields
from service.experiments.sweep import (
    MOST_TRIALS,
    Point,
    count_points,
    faults_of,
    points,
    swept_fields,
)
from service.models import Model
from service.orders import merged_options
from service.problems import Problem, invalid
from service.store.datasets import Dataset

Check = Callable[[FlowConfig, int], None]
"""Raises ConfigError where a config with so many samples cannot fit in memory."""


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """A trial: a point of the sweep and a seed.

    Attributes:
        parameters: values of the swept fields, by dotted name.
        options: all that differs from the model's config.
    """

    seed: int
    parameters: Mapping[str, Any]
    options: Mapping[str, Any]
    config: FlowConfig


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
    if fields.kind != "simulate":
        faults.append(Fault(("kind",), "only 'simulate' is carried out here", fields.kind))
    first, stop, row_faults = _rows(fields.rows, dataset)
    faults += row_faults
    if dataset.content.dim != model.config.embedding_dim:
        said = f"its rows must have {model.config.embedding_dim} numbers, as the model takes them"
        faults.append(Fault(("dataset",), said, dataset.content.dim))
    trace = fields.trace.options()
    options, option_faults = merged_options(fields.options, trace)
    faults += option_faults
    faults += _seed_faults(fields.seeds)
    sweep_faults = [*faults_of(fields.sweep), *_twice(fields, options)]
    faults += sweep_faults
    count = 0 if sweep_faults else count_points(fields.sweep) * len(fields.seeds)
    if count > MOST_TRIALS:
        said = f"an experiment may have {MOST_TRIALS:,} trials: points of the sweep times seeds"
        faults.append(Fault(("sweep",), said, count))
    checked: list[tuple[Point, FlowConfig]] = []
    if not sweep_faults and count <= MOST_TRIALS:
        checked, config_faults = _configs(fields, options, model, fits, stop - first)
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
        trials=tuple(
            TrialPlan(seed, point.parameters, {**options, **point.parameters}, config)
            for point, config in checked
            for seed in _seeds(fields, config)
        ),
        warnings=tuple(dict.fromkeys(text for _, config in checked for text in config.warnings())),
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
    given = set(options)
    for name, value in options.items():
        if isinstance(value, Mapping):
            given |= {f"{name}.{member}" for member in value}
    return [
        Fault(("sweep", _kind(fields), field), "is set among the options or the trace too", field)
        for field in swept_fields(fields.sweep)
        if field in given
    ]


def _kind(fields: ExperimentFields) -> str:
    return "grid" if fields.sweep is not None and fields.sweep.grid is not None else "random"


def _configs(
    fields: ExperimentFields,
    options: Mapping[str, Any],
    model: Model,
    fits: Check,
    samples: int,
) -> tuple[list[tuple[Point, FlowConfig]], list[Fault]]:
    """The config of every point, and what is wrong with any of them, each thing once."""
    checked: list[tuple[Point, FlowConfig]] = []
    faults: dict[tuple[tuple[str | int, ...], str], Fault] = {}
    for point in points(fields.sweep):
        try:
            config = model.config.with_options({**options, **point.parameters})
            fits(config, samples)
        except ConfigError as error:
            found = [_relocated(fault, fields, point) for fault in error.faults]
        else:
            checked.append((point, config))
            found = _fixed_seed_faults(fields, config)
        for fault in found:
            faults.setdefault((fault.loc, fault.msg), fault)
    return checked, list(faults.values())


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
