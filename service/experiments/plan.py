"""From a request for an experiment to a checked plan, or to all its faults at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from energy_flow.choices import ExperimentKind
from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.validation import nest
from energy_flow.errors import Fault
from service.experiments.sweep import (
    MAX_TRIALS,
    count_points,
    find_equal_points,
    find_faults,
    swept_fields,
)
from service.experiments.swept_fields import OF_A_RUN, OF_A_TRAINING
from service.experiments.training_plan import find_training_faults
from service.experiments.trial_plans import (
    FitCheck,
    TrialPlan,
    TrialPlans,
    plan_simulations,
    plan_trainings,
    sweep_kind,
)
from service.models.model import Model
from service.problems import Problem, invalid
from service.requests.embeddings import FindFitting, describe_other_dimension
from service.requests.validate import find_option_faults, merge_options
from service.schemas.experiment import ExperimentFields
from service.store.datasets import Dataset


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked experiment.

    Attributes:
        fields: The request.
        model: Its model.
        dataset: Its dataset.
        first_row: First row of the dataset.
        samples: Number of samples of each trial.
        swept: Dotted names of the swept fields.
        trials: Trials in the order of their numbers.
        warnings: Settings of any trial that cannot have the effect one would expect.
    """

    fields: ExperimentFields
    model: Model
    dataset: Dataset
    first_row: int
    samples: int
    swept: tuple[str, ...]
    trials: tuple[TrialPlan, ...]
    warnings: tuple[str, ...]


def make_plan(
    fields: ExperimentFields,
    faults: Iterable[Fault],
    model: Model,
    dataset: Dataset,
    check_fit: FitCheck,
    max_samples: int,
    find_fitting: FindFitting,
) -> Plan:
    """Check an experiment with every point of its sweep; this can take seconds.

    Args:
        fields: The request.
        faults: Faults of the request so far.
        model: Its model.
        dataset: Its dataset.
        check_fit: Checks that a trial fits in memory.
        max_samples: Most samples of a trial.
        find_fitting: Finds the models that take rows of a dimension.

    Raises:
        Problem: 413, too many samples; 422, with all faults.
    """
    faults = list(faults)
    is_training = fields.kind is ExperimentKind.TRAIN
    faults += (
        find_training_faults(fields, dataset, model.config)
        if is_training
        else _find_idle_faults(fields)
    )
    first, stop, row_faults = _choose_rows(fields.rows, dataset)
    faults += row_faults
    held, wanted = dataset.content.dim, model.config.embedding_dim
    if held != wanted:
        message = describe_other_dimension(model.name, wanted, held, find_fitting)
        faults.append(Fault(("dataset",), message, held))
    options, option_faults, sweep_faults = _check_members(fields)
    faults += [*option_faults, *sweep_faults]
    # What else is wrong is found with the rest of the sweep.
    sound = _drop_faulty_fields(fields, sweep_faults)
    count = count_points(sound.sweep) * len(fields.seeds)
    if count > MAX_TRIALS:
        message = f"an experiment may have {MAX_TRIALS:,} trials: points of the sweep times seeds"
        faults.append(Fault(("sweep",), message, count))
    plans = TrialPlans()
    if count <= MAX_TRIALS:
        plan_trials = plan_trainings if is_training else plan_simulations
        faults += find_equal_points(sound.sweep, OF_A_TRAINING if is_training else OF_A_RUN)
        plans = plan_trials(sound, options, model, check_fit, (first, stop))
        faults += plans.faults.values()
    if faults:
        raise invalid(faults)
    samples = stop - first
    if samples > max_samples:
        message = f"a trial may have {max_samples:,} samples, and these would have {samples:,}"
        fault = Fault(("rows",), message, samples)
        raise Problem(413, message, faults=[fault], extra={"limit_samples": max_samples})
    return Plan(
        fields=fields,
        model=model,
        dataset=dataset,
        first_row=first,
        samples=samples,
        swept=swept_fields(fields.sweep),
        trials=tuple(plans.trials),
        warnings=tuple(dict.fromkeys(plans.warnings)),
    )


def find_faults_without_data(fields: ExperimentFields, config: FlowConfig) -> list[Fault]:
    """Return the faults of a request that can be found without its dataset.

    Args:
        fields: The request.
        config: Config of its model.
    """
    options, option_faults, sweep_faults = _check_members(fields)
    found = find_option_faults(config, options, fields.trace.options())
    return [*option_faults, *sweep_faults, *found]


def _check_members(fields: ExperimentFields) -> tuple[dict[str, Any], list[Fault], list[Fault]]:
    """Return the options of all trials, the faults of options and seeds, and those of the sweep."""
    is_training = fields.kind is ExperimentKind.TRAIN
    options, faults = merge_options(fields.options, fields.trace.options())
    faults += _find_repeated_seeds(fields.seeds)
    swept = OF_A_TRAINING if is_training else OF_A_RUN
    given = nest(fields.train or {}) if is_training else options
    return (
        options,
        faults,
        [*find_faults(fields.sweep, swept), *_find_fields_set_twice(fields, given)],
    )


def _choose_rows(rows: list[int] | None, dataset: Dataset) -> tuple[int, int, list[Fault]]:
    held = dataset.content.rows
    if rows is None:
        return 0, held, []
    first, stop = rows
    if 0 <= first < stop <= held:
        return first, stop, []
    message = f"must be [from, to] of the dataset's {held} rows, 0 <= from < to <= {held}"
    return 0, held, [Fault(("rows",), message, rows)]


def _find_repeated_seeds(seeds: list[int]) -> list[Fault]:
    known: set[int] = set()
    faults = []
    for place, seed in enumerate(seeds):
        if seed in known:
            faults.append(Fault(("seeds", place), "is there twice; name each seed once", seed))
        known.add(seed)
    return faults


def _find_fields_set_twice(fields: ExperimentFields, options: Mapping[str, Any]) -> list[Fault]:
    """Refuse fields that are swept and set for all trials."""
    given = set(_dotted_names(options))
    return [
        Fault(("sweep", sweep_kind(fields), field), "is also set for all trials", field)
        for field in swept_fields(fields.sweep)
        if field in given
    ]


def _drop_faulty_fields(fields: ExperimentFields, faults: list[Fault]) -> ExperimentFields:
    """Return a request whose sweep has the other fields only, if there are some."""
    if not faults or fields.sweep is None:
        return fields
    kind = sweep_kind(fields)
    faulty = {
        name for fault in faults if fault.loc[:2] == ("sweep", kind) for name in fault.loc[2:3]
    }
    others = {
        name: values
        for name, values in (getattr(fields.sweep, kind) or {}).items()
        if name not in faulty
    }
    is_usable = bool(others) and all(len(fault.loc) > 2 for fault in faults)
    sweep = fields.sweep.model_copy(update={kind: others}) if is_usable else None
    return fields.model_copy(update={"sweep": sweep})


def _dotted_names(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in options.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from _dotted_names(value, f"{prefix}{name}.")


def _find_idle_faults(fields: ExperimentFields) -> list[Fault]:
    if fields.train is None:
        return []
    return [Fault(("train",), "belongs to an experiment of kind 'train'", fields.train)]
