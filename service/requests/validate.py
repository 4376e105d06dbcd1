"""Requests to simulate, checked against their model; all faults are reported at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import ConfigError, Fault
from energy_flow.simulation.inputs import describe_seed_fault
from service.problems import Problem, invalid
from service.requests.embeddings import (
    FindFitting,
    check_numbers,
    describe_other_dimension,
)
from service.requests.parsed_request import ParsedRequest
from service.requests.simulation_request import SimulationRequest
from service.schemas.simulate import RunFields, SimulateFields
from service.store.dataset_files import DatasetRows
from service.threads import Threads, in_thread

# A request up to these limits takes some 0.2 ms to check, less than it takes to start a thread.
# Rows count as well, because each of them may have a key.
MAX_NUMBERS_WITHOUT_THREAD: Final = 2**17
MAX_ROWS_WITHOUT_THREAD: Final = 2**11

MAX_SAMPLE_KEY: Final = 2**32 - 1
"""A key is one word of the counter of the random numbers."""


async def validate_request(
    request: ParsedRequest,
    config: FlowConfig,
    max_samples: int,
    find_fitting: FindFitting,
    dataset: DatasetRows | None = None,
) -> SimulationRequest:
    """Return a request that can be executed; a large one is checked in a thread.

    Args:
        request: The parsed request.
        config: Config of its model.
        max_samples: Most samples that a run may have.
        find_fitting: Finds the models that take rows of a dimension.
        dataset: All rows of the dataset that the request names.

    Raises:
        Problem: 413, too many samples; 422, with all faults.
    """
    arguments = (request, config, max_samples, find_fitting, dataset)
    if _is_quick(request):
        return _validate(*arguments)
    return await in_thread(Threads.BODIES, _validate, *arguments)


def _is_quick(request: ParsedRequest) -> bool:
    keys = request.sample_keys
    if isinstance(keys, list | np.ndarray) and len(keys) > MAX_ROWS_WITHOUT_THREAD:
        return False
    numbers = request.numbers
    return numbers is None or (
        numbers.size <= MAX_NUMBERS_WITHOUT_THREAD and len(numbers) <= MAX_ROWS_WITHOUT_THREAD
    )


def merge_options(
    options: Mapping[str, Any], trace: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Fault]]:
    """Return the options together with those of the member ``trace``.

    Args:
        options: Fields of the config, with dotted names or nested.
        trace: Fields of the config's group ``trace``.

    Returns:
        The options, and a fault for each field that is given twice.
    """
    merged = dict(options)
    group = merged.get("trace")
    named = {name.partition(".")[2] for name in merged if name.startswith("trace.")}
    named |= set(group) if isinstance(group, Mapping) else set()
    twice = sorted(named & set(trace))
    faults = [
        Fault(("trace", name), "is given twice, here and among the options", trace[name])
        for name in twice
    ]
    merged |= {f"trace.{name}": value for name, value in trace.items() if name not in twice}
    return merged, faults


def relocate_options(faults: Iterable[Fault], trace: Collection[str] = ()) -> list[Fault]:
    """Return faults of a config as those of the request whose options it has.

    Args:
        faults: Of the config.
        trace: Fields that the member ``trace`` of the request gives.
    """
    return [
        fault
        if fault.loc[:1] == ("trace",) and set(fault.loc[1:2]) & set(trace)
        else Fault(("options", *fault.loc), fault.msg, fault.got)
        for fault in faults
    ]


def find_option_faults(
    config: FlowConfig, options: Mapping[str, Any], trace: Collection[str] = ()
) -> list[Fault]:
    """Return the faults of the options of a request.

    Args:
        config: Config of its model.
        options: The options, with those of the member ``trace``.
        trace: Fields that this member gives.
    """
    try:
        config.with_options(options)
    except ConfigError as error:
        return relocate_options(error.faults, trace)
    return []


def _validate(
    request: ParsedRequest,
    config: FlowConfig,
    max_samples: int,
    find_fitting: FindFitting,
    dataset: DatasetRows | None,
) -> SimulationRequest:
    fields = request.fields
    faults = list(request.faults)
    embeddings: NDArray[np.float32] | DatasetRows | None = None
    if request.numbers is not None:
        embeddings, number_faults = check_numbers(
            request.numbers, config.embedding_dim, fields.model, find_fitting
        )
        faults += number_faults
    elif dataset is not None and isinstance(fields, RunFields):
        embeddings, row_faults = _check_rows(dataset, fields, config.embedding_dim, find_fitting)
        faults += row_faults
    samples = None if request.numbers is None else len(request.numbers)
    if isinstance(embeddings, DatasetRows):
        samples = embeddings.rows
    sample_keys, key_faults = _check_keys(request.sample_keys, samples)
    faults += key_faults
    options, option_faults = merge_options(fields.options, fields.trace.options())
    faults += option_faults
    try:
        config = config.with_options(options)
    except ConfigError as error:
        faults += relocate_options(error.faults, fields.trace.options())
    faults += _find_seed_faults(fields, config)
    if faults or embeddings is None:
        raise invalid(faults)
    simulation = SimulationRequest(
        fields=fields,
        config=config,
        embeddings=embeddings,
        sample_keys=sample_keys,
        seed=config.seed if fields.seed is None else fields.seed,
        options=options,
    )
    _check_sample_count(simulation, max_samples)
    return simulation


def _check_sample_count(simulation: SimulationRequest, max_samples: int) -> None:
    if simulation.samples <= max_samples:
        return
    message = (
        f"a run may have {max_samples:,} samples and this one has {simulation.samples:,}; "
        "send several smaller requests with sample_keys"
    )
    name = "embeddings" if simulation.dataset is None else "rows"
    fault = Fault((name,), message, simulation.samples)
    raise Problem(413, message, faults=[fault], extra={"limit_samples": max_samples})


def _check_rows(
    dataset: DatasetRows, fields: RunFields, dimension: int, find_fitting: FindFitting
) -> tuple[DatasetRows | None, list[Fault]]:
    """Return some rows of a dataset, or the faults that prevent it."""
    faults: list[Fault] = []
    rows = fields.rows
    first, stop = (0, dataset.rows) if rows is None else rows
    if not 0 <= first < stop <= dataset.rows:
        message = f"must be [from, to] within [0, {dataset.rows}], with from less than to"
        faults.append(Fault(("rows",), message, rows))
    if dataset.dim != dimension:
        message = describe_other_dimension(fields.model, dimension, dataset.dim, find_fitting)
        faults.append(Fault(("dataset",), message, dataset.dim))
    return (None, faults) if faults else (dataset.part(first, stop), [])


def _find_seed_faults(fields: SimulateFields, config: FlowConfig) -> list[Fault]:
    message = describe_seed_fault(fields.seed, config)
    return [] if message is None else [Fault(("seed",), message, fields.seed)]


def _check_keys(keys: Any, rows: int | None) -> tuple[NDArray[np.int64] | None, list[Fault]]:
    loc = ("sample_keys",)
    if keys is None:
        return None, []
    if not isinstance(keys, list | np.ndarray):
        return None, [Fault(loc, "must be a list of integers, one for each row", keys)]
    wrong = _find_wrong_key(keys)
    if wrong is not None:
        message = f"must be an integer from 0 to {MAX_SAMPLE_KEY}"
        got = int(keys[wrong]) if isinstance(keys, np.ndarray) else keys[wrong]
        return None, [Fault((*loc, wrong), message, got)]
    if rows is not None and len(keys) != rows:
        return None, [Fault(loc, f"must be {rows} keys, one for each row", len(keys))]
    return np.array(keys, dtype=np.int64), []


def _find_wrong_key(keys: list[Any] | NDArray[np.float64]) -> int | None:
    """Return the index of the first one that is no key; of integers, if they are an array."""
    if isinstance(keys, np.ndarray):
        is_key = (keys >= 0) & (keys <= MAX_SAMPLE_KEY)
        return None if is_key.all() else int(np.argmin(is_key))
    for index, key in enumerate(keys):
        if type(key) is not int or not 0 <= key <= MAX_SAMPLE_KEY:
            return index
    return None
