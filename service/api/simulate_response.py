"""The answer to a simulation that succeeded, in each of its forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from energy_flow.trace.records import KINDS
from service.api.dependencies import choose_format
from service.json_encoding import PIECE_NUMBERS, large_to_json, names_fragment
from service.models.registry import Model
from service.requests.safetensors_body import ANSWER, SAFETENSORS, TRACE_PREFIX, write_tensors
from service.requests.validate import JSON, Order
from service.runs.active_run import Gathered, LiveRun
from service.runs.views import model_of, run_url

# Copied in some 0.2 ms.
QUICK_NUMBERS = 2**18


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """One form of the answer.

    Attributes:
        serialise: the run, its order and model and the milliseconds that it took, to bytes.
        is_quick: whether that may be done on the event loop.
    """

    media_type: str
    serialise: Callable[[LiveRun, Order, Model, float], bytes]
    is_quick: Callable[[Gathered], bool]


def chosen_form(accept: str) -> AnswerForm:
    """The form that is wanted by ``Accept``.

    Raises:
        Problem: 406, naming those that are known.
    """
    return FORMS[choose_format(None, accept, MEDIA_TYPES, "a simulation")]


def _as_json(live: LiveRun, order: Order, model: Model, total_ms: float) -> bytes:
    """All of it as JSON."""
    assert live.gathered is not None
    records = live.gathered.joined_records()
    members = _members(live, order, model, total_ms)
    members["outputs"] = live.gathered.joined_outputs()
    members["trace"]["records"] = {**records, "kind": names_fragment(KINDS, records["kind"])}
    return large_to_json(members)


def _as_tensors(live: LiveRun, order: Order, model: Model, total_ms: float) -> bytes:
    """Outputs and records as tensors, ``kind`` as its code; all else as JSON in one of them."""
    assert live.gathered is not None
    tensors = live.gathered.joined_outputs()
    if live.gathered.held_records:
        records = live.gathered.joined_records()
        tensors |= {TRACE_PREFIX + name: column for name, column in records.items()}
    members = large_to_json(_members(live, order, model, total_ms))
    return write_tensors(tensors, {ANSWER: members})


def _members(live: LiveRun, order: Order, model: Model, total_ms: float) -> dict[str, Any]:
    """Everything but the arrays."""
    gathered, summary = live.gathered, live.summary
    assert gathered is not None
    return {
        "run_id": live.run_id,
        "model": model_of(order, model),
        "seed": order.seed,
        "outputs": {},
        "trace": {
            **(summary.trace or {}),
            "records": {},
            "inline_truncated": gathered.record_count > gathered.held_records,
            "url": f"{run_url(live.run_id)}/trace" if order.fields.store else None,
        },
        "memory": summary.memory,
        "metrics": summary.metrics,
        "timing": {**live.timing(), "total_ms": total_ms},
        "samples": gathered.samples,
        "warnings": summary.warnings,
    }


FORMS: Final[Mapping[str, AnswerForm]] = {
    "json": AnswerForm(
        JSON, _as_json, lambda held: held.array_numbers + held.sample_numbers <= PIECE_NUMBERS
    ),
    "safetensors": AnswerForm(
        SAFETENSORS,
        _as_tensors,
        lambda held: held.array_numbers <= QUICK_NUMBERS and held.sample_numbers <= PIECE_NUMBERS,
    ),
}
"""All forms by their names; the first is the default."""

MEDIA_TYPES: Final = {name: form.media_type for name, form in FORMS.items()}
