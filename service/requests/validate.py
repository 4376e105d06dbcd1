"""A checked request to simulate, and how a request becomes one: all its faults told at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.validation import group_at
from energy_flow.errors import ConfigError, Fault
from service.problems import Problem, invalid
from service.requests.embeddings import check_numbers
from service.schemas import RunFields, SimulateFields
from service.store.dataset_files import DatasetRows

Model = TypeVar("Model", bound=BaseModel)

JSON = "application/json"

# What is checked without a thread of its own, which takes longer to come round than these some
# 0.2 ms; each row may have a key to look at.
MOST_NUMBERS = 2**17
MOST_ROWS = 2**11

# Keys are one word of the counter of the random numbers.
MAX_SAMPLE_KEY = 2**32 - 1


@dataclass(frozen=True)
class Draft:
    """A request that has been read, but not yet checked against its model.

    Attributes:
        fields: its members, but embeddings and sample keys; defaults where they have faults.
        numbers: embeddings [rows, dimension], of any float dtype; ``None`` if they have faults, or
            are a dataset's.
        sample_keys: as they were given.
        faults: what is wrong so far.
    """

    fields: SimulateFields
    numbers: NDArray[Any] | None
    sample_keys: Any
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Order:
    """A request that can be carried out.

    Attributes:
        config: the model's config with the request's options.
        embeddings: float32 [samples, embedding_dim], or rows of a dataset.
        sample_keys: int64 [samples], or ``None`` for the rows' indices.
        seed: for the noise.
    """

    fields: SimulateFields
    config: FlowConfig
    embeddings: NDArray[np.float32] | DatasetRows
    sample_keys: NDArray[np.int64] | None
    seed: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """How many samples there are."""
        if isinstance(self.embeddings, DatasetRows):
            return self.embeddings.rows
        return len(self.embeddings)

    @property
    def dataset(self) -> DatasetRows | None:
        """The rows of a dataset, if the embeddings are some."""
        return self.embeddings if isinstance(self.embeddings, DatasetRows) else None

    @property
    def keys(self) -> Sequence[int]:
        """A key for each sample: as given, or else a row's index, of a dataset its index there."""
        if self.sample_keys is not None:
            keys: list[int] = self.sample_keys.tolist()
            return keys
        first = 0 if self.dataset is None else self.dataset.first
        return range(first, first + self.samples)

    @property
    def array(self) -> NDArray[np.float32] | None:
        """The embeddings that came with the request, if they did."""
        return None if isinstance(self.embeddings, DatasetRows) else self.embeddings


async def check_draft(
    draft: Draft, config: FlowConfig, max_samples: int, dataset: DatasetRows | None = None
) -> Order:
    """Checks a request against the config of its model.

    Args:
        dataset: all rows of the one that is named.

    Raises:
        Problem: 413, too many samples; 422, with all faults.
    """
    numbers = draft.numbers
    if numbers is None or (numbers.size <= MOST_NUMBERS and len(numbers) <= MOST_ROWS):
        return _check(draft, config, max_samples, dataset)
    return await asyncio.to_thread(_check, draft, config, max_samples, dataset)


def model_named(draft: Draft) -> str | None:
    """The model that is asked for; ``None`` where the request does not say it properly."""
    return (
        None if any(fault.loc[:1] == ("model",) for fault in draft.faults) else draft.fields.model
    )


def dataset_named(request: Draft | Order) -> str | None:
    """The dataset that the embeddings are taken from, if they are."""
    return request.fields.dataset if isinstance(request.fields, RunFields) else None


def _check(
    draft: Draft, config: FlowConfig, max_samples: int, dataset: DatasetRows | None
) -> Order:
    fields = draft.fields
    faults = list(draft.faults)
    embeddings: NDArray[np.float32] | DatasetRows | None = None
    if draft.numbers is not None:
        embeddings, number_faults = check_numbers(draft.numbers, config.embedding_dim)
        faults += number_faults
    elif dataset is not None and isinstance(fields, RunFields):
        embeddings, row_faults = _check_rows(dataset, fields.rows, config.embedding_dim)
        faults += row_faults
    samples = None if draft.numbers is None else len(draft.numbers)
    if isinstance(embeddings, DatasetRows):
        samples = embeddings.rows
    sample_keys, key_faults = _check_keys(draft.sample_keys, samples)
    faults += key_faults
    options, option_faults = merged_options(fields.options, fields.trace.options())
    faults += option_faults
    try:
        config = config.with_options(options)
    except ConfigError as error:
        faults += [_relocate(fault, fields) for fault in error.faults]
    faults += _fixed_seed_faults(fields, config)
    if faults or embeddings is None:
        raise invalid(faults)
    order = Order(
        fields=fields,
        config=config,
        embeddings=embeddings,
        sample_keys=sample_keys,
        seed=config.seed if fields.seed is None else fields.seed,
        options=options,
    )
    if order.samples > max_samples:
        said = f"a run may have {max_samples:,} samples and this one has {order.samples:,}"
        where = "embeddings" if order.dataset is None else "rows"
        fault = Fault((where,), said, order.samples)
        raise Problem(413, said, faults=[fault], extra={"limit_samples": max_samples})
    return order


def _check_rows(
    dataset: DatasetRows, asked: list[int] | None, dimension: int
) -> tuple[DatasetRows | None, list[Fault]]:
    """Some rows of a dataset, or the faults that prevent it."""
    faults: list[Fault] = []
    first, stop = (0, dataset.rows) if asked is None else asked
    if not 0 <= first < stop <= dataset.rows:
        said = f"must be [from, to] within [0, {dataset.rows}], from before to"
        faults.append(Fault(("rows",), said, asked))
    if dataset.dim != dimension:
        said = f"the model expects rows of {dimension} numbers"
        faults.append(Fault(("dataset",), said, dataset.dim))
    return (None, faults) if faults else (dataset.part(first, stop), [])


def merged_options(
    given_options: Mapping[str, Any], trace: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Fault]]:
    """The options with those of ``trace``, which is the same group by a shorter name."""
    options = dict(given_options)
    given = options.get("trace")
    named = {name.partition(".")[2] for name in options if name.startswith("trace.")}
    named |= set(given) if isinstance(given, Mapping) else set()
    twice = sorted(named & set(trace))
    faults = [
        Fault(("trace", name), "is given twice, here and among the options", trace[name])
        for name in twice
    ]
    options |= {f"trace.{name}": value for name, value in trace.items() if name not in twice}
    return options, faults


def _relocate(fault: Fault, fields: SimulateFields) -> Fault:
    """A fault of the config as one of the request."""
    if fault.loc[:1] == ("trace",) and set(fault.loc[1:2]) & set(fields.trace.options()):
        return fault
    return Fault(("options", *fault.loc), fault.msg, fault.got)


def _fixed_seed_faults(fields: SimulateFields, config: FlowConfig) -> list[Fault]:
    # A deterministic run takes the config's own seed, which the options may set.
    if not config.deterministic or fields.seed in (None, config.seed):
        return []
    said = f"a deterministic run has the config's seed, {config.seed}; set options.seed instead"
    return [Fault(("seed",), said, fields.seed)]


def _check_keys(keys: Any, rows: int | None) -> tuple[NDArray[np.int64] | None, list[Fault]]:
    where = ("sample_keys",)
    if keys is None:
        return None, []
    if not isinstance(keys, list):
        return None, [Fault(where, "must be a list of integers, one for each row", keys)]
    for index, key in enumerate(keys):
        if type(key) is not int or not 0 <= key <= MAX_SAMPLE_KEY:
            said = f"must be an integer from 0 to {MAX_SAMPLE_KEY}"
            return None, [Fault((*where, index), said, key)]
    if rows is not None and len(keys) != rows:
        return None, [Fault(where, f"must be {rows} keys, one for each row", len(keys))]
    return np.array(keys, dtype=np.int64), []


def validate(kind: type[Model], given: Mapping[str, Any]) -> tuple[Model, list[Fault]]:
    """Members as the model has them, and the faults; what is faulty has its default.

    Raises:
        Problem: 422, where a faulty or missing member has no default.
    """
    try:
        return kind.model_validate(given), []
    except ValidationError as error:
        faults = [_fault(entry, kind) for entry in error.errors()]
    sound: Any = given
    for fault in faults:
        sound = _without(sound, fault.loc)
    try:
        return kind.model_validate(sound), faults
    except ValidationError:
        raise invalid(faults) from None


def _without(given: Any, loc: tuple[str | int, ...]) -> Any:
    """Members without the one at a place, or the innermost one that holds it."""
    if not loc or not isinstance(given, Mapping) or loc[0] not in given:
        return given
    inner = given[loc[0]]
    if len(loc) > 1 and isinstance(inner, Mapping) and loc[1] in inner:
        return {**given, loc[0]: _without(inner, loc[1:])}
    return {name: value for name, value in given.items() if name != loc[0]}


def _fault(entry: Mapping[str, Any], kind: type[BaseModel]) -> Fault:
    loc = tuple(entry["loc"])
    if entry["type"] == "extra_forbidden":
        group = group_at(kind, loc[:-1])
        known = ", ".join(group.model_fields) if group is not None else ""
        return Fault(loc, f"is not known; known are {known}", entry["input"])
    if entry["type"] == "missing":
        return Fault(loc, "is required", None)
    return Fault(loc, str(entry["msg"]), entry["input"])
