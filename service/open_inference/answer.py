"""The answer to an inference: outputs, the trace as columns, and the rest as parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from numpy.typing import NDArray

from service.json_encoding import array_pieces, to_json
from service.open_inference.compression import compressed
from service.open_inference.inference import VERSION
from service.open_inference.request import HEADER_LENGTH, Inference
from service.open_inference.tensors import datatype_of, to_wire
from service.requests.safetensors_body import TRACE_PREFIX
from service.requests.validate import JSON, Order
from service.runs.active_run import LiveRun


@dataclass(frozen=True, slots=True)
class InferenceAnswer:
    """Bytes and headers."""

    body: bytes
    headers: dict[str, str]


def inference_answer(
    live: LiveRun, order: Order, inference: Inference, model: str, encoding: str | None
) -> InferenceAnswer:
    """The answer to an inference that succeeded; may take long."""
    arrays = _arrays(live, [name for name, _ in inference.outputs])
    tensors: list[dict[str, Any]] = []
    tail: list[memoryview] = []
    for name, binary in inference.outputs:
        array = arrays[name]
        tensor: dict[str, Any] = {
            "name": name,
            "datatype": datatype_of(array),
            "shape": list(array.shape),
        }
        if binary:
            data = to_wire(array)
            tensor["parameters"] = {"binary_data_size": data.nbytes}
            tail.append(data)
        else:
            tensor["data"] = orjson.Fragment(b"".join(array_pieces(array.reshape(-1))))
        tensors.append(tensor)
    document: dict[str, Any] = {"model_name": model, "model_version": VERSION}
    if inference.id is not None:
        document["id"] = inference.id
    document["parameters"] = _parameters(live, order)
    document["outputs"] = tensors
    head = to_json(document)
    headers = {"Content-Type": JSON}
    if any(binary for _, binary in inference.outputs):
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    body = b"".join((head, *tail))
    if encoding is not None:
        body = compressed(body, encoding)
        headers["Content-Encoding"] = encoding
    headers["Vary"] = "Accept-Encoding"
    return InferenceAnswer(body, headers)


def _arrays(live: LiveRun, names: list[str]) -> dict[str, NDArray[Any]]:
    assert live.gathered is not None
    arrays = live.gathered.joined_outputs()
    if any(name.startswith(TRACE_PREFIX) for name in names):
        records = live.gathered.joined_records()
        arrays |= {TRACE_PREFIX + name: column for name, column in records.items()}
    return arrays


def _parameters(live: LiveRun, order: Order) -> dict[str, Any]:
    """Texts, numbers and truth values, as the protocol allows; what has more to it is JSON text."""
    summary, timing = live.summary, live.timing()
    memory = summary.memory or {}
    device, host = memory.get("device", {}), memory.get("host", {})
    told = {
        "run_id": live.run_id,
        "seed": order.seed,
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
        "trace_truncated": live.gathered is not None
        and live.gathered.record_count > live.gathered.inline > 0,
        "warnings": to_json(summary.warnings).decode(),
    }
    # What cannot be known here, such as a device's peak on a CPU, is left out.
    return {name: value for name, value in told.items() if value is not None}
