"""Answers to simulations, in each of their forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from numpy.typing import NDArray

from energy_flow.choices import names_of
from energy_flow.trace.records import KINDS
from service.api.content_negotiation import choose_format
from service.api.simulate_request import JSON_COPIES, TENSOR_COPIES
from service.json_encoding import PIECE_NUMBERS, large_to_json, names_fragment
from service.media_types import JSON, OCTET_STREAM
from service.models.model import Model
from service.requests.safetensors_body import ANSWER, TRACE_PREFIX, write_tensors
from service.requests.simulation_request import SimulationRequest
from service.runs.active_run import ActiveRun
from service.runs.buffered_results import BufferedResults
from service.runs.views import render_model_of, run_url

MAX_COPIED_NUMBERS: Final = 2**18
"""Numbers that are copied on the event loop; it takes some 0.2 ms."""


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """One form of the answer.

    Attributes:
        media_type: Its media type.
        encode: Returns its bytes from the finished run, its request and model, and the milliseconds
            that it took.
        is_quick: Returns whether results may be encoded on the event loop.
        copies: Bytes that a byte of the outputs takes until the answer is sent.
    """

    media_type: str
    encode: Callable[[ActiveRun, SimulationRequest, Model, float], bytes]
    is_quick: Callable[[BufferedResults], bool]
    copies: int


def choose_form(request: Request) -> AnswerForm:
    """Return the form that a request accepts.

    Raises:
        Problem: 406, naming the known forms.
    """
    return FORMS[choose_format(request, None, MEDIA_TYPES, "a simulation")]


def _encode_json(
    run: ActiveRun, simulation: SimulationRequest, model: Model, total_ms: float
) -> bytes:
    assert run.results is not None
    records = run.results.joined_records()
    members = _render(run, simulation, model, total_ms)
    members["outputs"] = _requested_outputs(run.results, simulation)
    members["trace"]["records"] = {**records, "kind": names_fragment(KINDS, records["kind"])}
    return large_to_json(members)


def _encode_tensors(
    run: ActiveRun, simulation: SimulationRequest, model: Model, total_ms: float
) -> bytes:
    """Return outputs and records as tensors, ``kind`` as its code, and all else as JSON in one."""
    assert run.results is not None
    tensors = _requested_outputs(run.results, simulation)
    if run.results.held_records:
        records = run.results.joined_records()
        tensors |= {TRACE_PREFIX + name: column for name, column in records.items()}
    members = large_to_json(_render(run, simulation, model, total_ms))
    return write_tensors(tensors, {ANSWER: members})


def _requested_outputs(
    results: BufferedResults, simulation: SimulationRequest
) -> dict[str, NDArray[Any]]:
    """Return the outputs that the request names; the store can have others besides."""
    outputs = results.joined_outputs()
    return {name: outputs[name] for name in names_of(simulation.fields.outputs)}


def _render(
    run: ActiveRun, simulation: SimulationRequest, model: Model, total_ms: float
) -> dict[str, Any]:
    """Return everything but the arrays."""
    results, summary = run.results, run.summary
    assert results is not None
    return {
        "run_id": run.run_id,
        "model": render_model_of(simulation, model),
        "seed": simulation.seed,
        "outputs": {},
        "trace": {
            **(summary.trace or {}),
            "records": {},
            "inline_truncated": results.record_count > results.held_records,
            "url": f"{run_url(run.run_id)}/trace" if simulation.fields.store else None,
        },
        "memory": summary.memory,
        "metrics": summary.metrics,
        "timing": {**run.timing(), "total_ms": total_ms},
        "samples": results.samples,
        "warnings": summary.warnings,
    }


FORMS: Final[Mapping[str, AnswerForm]] = {
    "json": AnswerForm(
        JSON,
        _encode_json,
        lambda results: results.array_numbers + results.sample_numbers <= PIECE_NUMBERS,
        JSON_COPIES,
    ),
    "safetensors": AnswerForm(
        OCTET_STREAM,
        _encode_tensors,
        lambda results: (
            results.array_numbers <= MAX_COPIED_NUMBERS and results.sample_numbers <= PIECE_NUMBERS
        ),
        TENSOR_COPIES,
    ),
}
"""All forms by name; the first is the default."""

MEDIA_TYPES: Final = {name: form.media_type for name, form in FORMS.items()}
