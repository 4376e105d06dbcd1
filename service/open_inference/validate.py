"""Inference requests, checked against their model and turned into requests to simulate."""

from __future__ import annotations

from typing import Any

from energy_flow.errors import Fault
from service.models.model import Model
from service.open_inference.inference_request import InferenceRequest
from service.open_inference.tensors import OUTPUTS, TRACE_OUTPUTS
from service.problems import Problem, invalid
from service.requests.embeddings import FindFitting
from service.requests.json_body import parse_json
from service.requests.members import check_members
from service.requests.parsed_request import ParsedRequest
from service.requests.simulation_request import SimulationRequest
from service.requests.validate import validate_request
from service.schemas.simulate import SimulateFields
from service.schemas.trace import MAX_INLINE


async def validate_inference(
    inference: InferenceRequest, model: Model, max_samples: int, find_fitting: FindFitting
) -> SimulationRequest:
    """Return the request to simulate that an inference stands for.

    Args:
        inference: The parsed request.
        model: Its model.
        max_samples: Most samples that a run may have.
        find_fitting: Finds the models that take rows of a dimension.

    Raises:
        Problem: 413 or 422, with every fault under the name that it has in the protocol.
    """
    parameters = inference.parameters
    names = [output.name for output in inference.outputs]
    options, faults = _parse_options(parameters.options)
    trace: dict[str, Any] = {"inline": MAX_INLINE if set(names) & set(TRACE_OUTPUTS) else 0}
    if parameters.trace_capacity is not None:
        trace["capacity"] = parameters.trace_capacity
    fields, field_faults = check_members(
        SimulateFields,
        {
            "model": model.name,
            "seed": parameters.seed,
            "options": options,
            "outputs": [name for name in names if name in OUTPUTS],
            "trace": trace,
            "store": parameters.store is not False,
            # Rounded up to whole milliseconds.
            "timeout_ms": -(-parameters.timeout // 1000) if parameters.timeout else None,
        },
    )
    all_faults = (*inference.faults, *faults, *field_faults)
    request = ParsedRequest(fields, inference.numbers, None, all_faults)
    try:
        return await validate_request(request, model.config, max_samples, find_fitting)
    except Problem as problem:
        if problem.status != 422:
            raise
        raise invalid(_relocate(fault) for fault in problem.faults) from None


def _parse_options(text: str | None) -> tuple[dict[str, Any], list[Fault]]:
    if text is None:
        return {}, []
    try:
        options = parse_json(text.encode())
    except Problem as problem:
        if problem.status != 400:
            raise
        options = None
    if isinstance(options, dict):
        return options, []
    message = 'must be a string with a JSON object, such as "{\\"noise_std\\": 0.1}"'
    return {}, [Fault(("parameters", "options"), message, text)]


def _relocate(fault: Fault) -> Fault:
    """Return a fault of the request to simulate as one of the inference request."""
    match fault.loc:
        case ("trace", "capacity"):
            loc: tuple[str | int, ...] = ("parameters", "trace_capacity")
        case ("seed" | "options", *_):
            loc = ("parameters", *fault.loc)
        case _:
            return fault
    return Fault(loc, fault.msg, fault.got)
