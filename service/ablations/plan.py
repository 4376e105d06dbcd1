"""``AblationPlan``: a request for an ablation, checked against its model and its dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from energy_flow.ablation.result import MIN_ROWS
from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import Fault
from service.models.model import Model
from service.problems import Problem, invalid
from service.requests.embeddings import FindFitting, describe_other_dimension
from service.requests.validate import find_option_faults
from service.schemas.ablation import AblationFields
from service.store.datasets import Dataset

MAX_ROWS: Final = 20_000
"""Each row is compared with all targets, so time grows with the square of the rows."""


@dataclass(frozen=True, slots=True)
class AblationPlan:
    """What an ablation measures.

    Attributes:
        fields: The request.
        model: The model.
        dataset: The dataset.
        rows: First row of the dataset, and the row behind the last one.
        config: Config of the runs.
    """

    fields: AblationFields
    model: Model
    dataset: Dataset
    rows: tuple[int, int]
    config: FlowConfig


def make_plan(
    fields: AblationFields,
    faults: Iterable[Fault],
    model: Model,
    dataset: Dataset,
    max_samples: int,
    find_fitting: FindFitting,
) -> AblationPlan:
    """Check a request for an ablation.

    Args:
        fields: The request.
        faults: Faults of the request so far.
        model: Its model.
        dataset: Its dataset.
        max_samples: Most samples of a run.
        find_fitting: Finds the models that take rows of a dimension.

    Raises:
        Problem: 413, too many rows; 422, with all faults.
    """
    faults = list(faults)
    faults += list(_find_width_faults(model, dataset, find_fitting))
    held = dataset.content.rows
    first, stop = fields.rows or (0, held)
    if not 0 <= first <= stop - MIN_ROWS <= held - MIN_ROWS:
        message = f"must be [from, to] within [0, {held}], with at least {MIN_ROWS} rows"
        faults.append(Fault(("rows",), message, [first, stop]))
    faults += find_option_faults(model.config, fields.options)
    if faults:
        raise invalid(faults)
    config = model.config.with_options(fields.options)
    limit = min(MAX_ROWS, max_samples)
    if stop - first > limit:
        message = (
            f"an ablation may have {limit:,} rows and this one has {stop - first:,}; choose fewer "
            "with rows"
        )
        fault = Fault(("rows",), message, stop - first)
        raise Problem(413, message, faults=[fault], extra={"limit_samples": limit})
    return AblationPlan(fields, model, dataset, (first, stop), config)


def _find_width_faults(
    model: Model, dataset: Dataset, find_fitting: FindFitting
) -> Iterator[Fault]:
    """Yield a fault for each width that does not suit the model."""
    content, config, loc = dataset.content, model.config, ("dataset",)
    if content.dim != config.embedding_dim:
        message = describe_other_dimension(
            model.name, config.embedding_dim, content.dim, find_fitting
        )
        yield Fault(loc, message, dataset.name)
    if content.targets_dim is None:
        message = "has no targets; upload a dataset with inputs and targets"
        yield Fault(loc, message, dataset.name)
    elif content.targets_dim != config.output_width:
        message = (
            f"has targets of {content.targets_dim} numbers, but the model {model.name!r} returns "
            f"{config.output_width}"
        )
        yield Fault(loc, message, dataset.name)
