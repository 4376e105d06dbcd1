"""From an inference request to an order, the one that every way in ends at."""

from __future__ import annotations

from typing import Any

import orjson

from energy_flow.errors import Fault
from service.models.registry import DEFAULT, SERVED_DEFAULT, Model, ModelRegistry
from service.open_inference.request import Inference
from service.open_inference.tensors import OUTPUTS, TRACE_OUTPUTS
from service.problems import Problem, invalid
from service.requests.validate import Draft, Order, check_draft, validate
from service.schemas import MAX_INLINE, SimulateFields

VERSION = "1"
"""Models have one version: another model is another name."""


def find_served(models: ModelRegistry, name: str, version: str | None = None) -> Model:
    """A model by the name that it has here, of which the default model has one and no second.

    Raises:
        Problem: 404.
    """
    known = {served_name(model): model for model in models.newest_first()}
    if name not in known:
        raise Problem(404, f"there is no model {name!r}; known are {', '.join(sorted(known))}")
    if version not in (None, VERSION):
        raise Problem(404, f"there is no version {version!r}; the only one is {VERSION!r}")
    return known[name]


def served_name(model: Model) -> str:
    """What a model is called here."""
    return SERVED_DEFAULT if model.name == DEFAULT else model.name


async def order_of(inference: Inference, model: Model, max_samples: int) -> Order:
    """Checks a request against its model.

    Raises:
        Problem: 413 or 422, with every fault by the name it has here.
    """
    parameters = inference.parameters
    names = [name for name, _ in inference.outputs]
    options, faults = _options(parameters.options)
    trace: dict[str, Any] = {"inline": MAX_INLINE if set(names) & set(TRACE_OUTPUTS) else 0}
    if parameters.trace_capacity is not None:
        trace["capacity"] = parameters.trace_capacity
    fields, field_faults = validate(
        SimulateFields,
        {
            "model": model.name,
            "seed": parameters.seed,
            "options": options,
            "outputs": [name for name in names if name in OUTPUTS],
            "trace": trace,
            "store": parameters.store is not False,
            # A deadline that has parts of a millisecond is rounded up.
            "timeout_ms": -(-parameters.timeout // 1000) if parameters.timeout else None,
        },
    )
    draft = Draft(fields, inference.numbers, None, (*inference.faults, *faults, *field_faults))
    try:
        return await check_draft(draft, model.config, max_samples)
    except Problem as problem:
        if problem.status != 422:
            raise
        raise invalid(_renamed(fault) for fault in problem.faults) from None


def _options(text: str | None) -> tuple[dict[str, Any], list[Fault]]:
    if text is None:
        return {}, []
    try:
        options = orjson.loads(text)
    except orjson.JSONDecodeError:
        options = None
    if isinstance(options, dict):
        return options, []
    return {}, [Fault(("parameters", "options"), "must be a JSON object as a text", text)]


def _renamed(fault: Fault) -> Fault:
    match fault.loc:
        case ("trace", "capacity"):
            loc: tuple[str | int, ...] = ("parameters", "trace_capacity")
        case ("seed" | "options", *_):
            loc = ("parameters", *fault.loc)
        case _:
            return fault
    return Fault(loc, fault.msg, fault.got)
