"""Answers to inferences: outputs, the trace as columns, and all else as parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from numpy.typing import NDArray

from service.json_encoding import array_pieces, to_json
from service.media_types import JSON, OCTET_STREAM
from service.open_inference.inference_request import HEADER_LENGTH, InferenceRequest
from service.open_inference.served_models import VERSION
from service.open_inference.tensors import datatype_of, encode_tensor
from service.requests.safetensors_body import TRACE_PREFIX
from service.requests.simulation_request import SimulationRequest
from service.runs.active_run import ActiveRun


@dataclass(frozen=True, slots=True)
class InferenceAnswer:
    """The answer to an inference.

    Attributes:
        body: Its bytes.
        headers: Its headers.
    """

    body: bytes
    headers: dict[str, str]


def make_answer(
    run: ActiveRun,
    simulation: SimulationRequest,
    inference: InferenceRequest,
    model_name: str,
) -> InferenceAnswer:
    """Return the answer to an inference that succeeded; this may take long.

    Args:
        run: The finished run, with its results.
        simulation: Its request.
        inference: The request as it was sent.
        model_name: Name of the model in the protocol.
    """
    arrays = _collect_arrays(run, [output.name for output in inference.outputs])
    tensors: list[dict[str, Any]] = []
    tail: list[memoryview] = []
    for output in inference.outputs:
        array = arrays[output.name]
        tensor: dict[str, Any] = {
            "name": output.name,
            "datatype": datatype_of(array),
            "shape": list(array.shape),
        }
        if output.is_binary:
            data = encode_tensor(array)
            tensor["parameters"] = {"binary_data_size": data.nbytes}
            tail.append(data)
        else:
            tensor["data"] = orjson.Fragment(b"".join(array_pieces(array.reshape(-1))))
        tensors.append(tensor)
    document: dict[str, Any] = {"model_name": model_name, "model_version": VERSION}
    if inference.id is not None:
        document["id"] = inference.id
    document["parameters"] = _describe_run(run, simulation)
    document["outputs"] = tensors
    head = to_json(document)
    headers = {"Content-Type": JSON}
    if any(output.is_binary for output in inference.outputs):
        headers = {"Content-Type": OCTET_STREAM, HEADER_LENGTH: str(len(head))}
    return InferenceAnswer(b"".join((head, *tail)), headers)


def _collect_arrays(run: ActiveRun, names: list[str]) -> dict[str, NDArray[Any]]:
    assert run.results is not None
    arrays = run.results.joined_outputs()
    if any(name.startswith(TRACE_PREFIX) for name in names):
        records = run.results.joined_records()
        arrays |= {TRACE_PREFIX + name: column for name, column in records.items()}
    return arrays


def _describe_run(run: ActiveRun, simulation: SimulationRequest) -> dict[str, Any]:
    """Return the response parameters: strings, numbers and booleans, else JSON in a string."""
    summary, timing = run.summary, run.timing()
    memory = summary.memory or {}
    device, host = memory.get("device", {}), memory.get("host", {})
    parameters = {
        "run_id": run.run_id,
        "seed": simulation.seed,
        "queue_ms": timing["queue_ms"],
        "compute_ms": timing["compute_ms"],
        "total_ms": timing["total_ms"],
        "device_peak_bytes": device.get("peak_bytes"),
        "host_peak_rss_bytes": host.get("peak_rss_bytes"),
        "state_bytes": memory.get("state_bytes"),
        "trace_bytes": memory.get("trace_bytes"),
        "predicted_bytes": memory.get("predicted_bytes"),
        "metrics": to_json(summary.metrics).decode(),
        "trace": to_json(summary.trace).decode(),
        "trace_truncated": run.results is not None
        and run.results.record_count > run.results.inline > 0,
        "warnings": to_json(summary.warnings).decode(),
    }
    # Unknown figures, such as the device's peak on a CPU, are left out.
    return {name: value for name, value in parameters.items() if value is not None}
