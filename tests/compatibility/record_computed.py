"""Asks a server to compute: simulations and inferences that it does not keep."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from safetensors.numpy import save

from tests.compatibility.answers import Request
from tests.compatibility.make_runs import ALL_OUTPUTS, RUNS, WIDTH, rows
from tests.compatibility.record import COMPUTED, ROUNDED, Recorder
from tests.support.bodies import npy

NPY = "application/x-npy"
BINARY = "application/octet-stream"
INFER = "/v2/models/energy_flow/infer"
LENGTH = "Inference-Header-Content-Length"


def record_simulations(recorder: Recorder) -> None:
    """Simulate in every form that a body can have."""
    for number, (name, fields) in enumerate(RUNS.items()):
        if name == "orphan":
            continue
        body = {"embeddings": rows(2, number).tolist(), **fields, "store": False}
        if "sample_keys" in body:
            body["sample_keys"] = body["sample_keys"][:2]
        basis = ROUNDED if name in ("bfloat16", "half") else COMPUTED
        recorder.post("/v1/simulate", body, basis=basis)
    body = {"embeddings": rows(2, 70).tolist(), "store": False}
    recorder.post("/v1/simulate", {**body, "trace": {"inline": 3}})
    recorder.post("/v1/simulate?dry_run=true", body)
    query = "store=false&outputs=hits,embedding&seed=3"
    recorder.send("POST", f"/v1/simulate?{query}", npy(rows(2, 71)), NPY)
    asked = json.dumps({"store": False, "outputs": ALL_OUTPUTS, "seed": 3}).encode()
    tensors = save({"embeddings": rows(2, 72), "request": np.frombuffer(asked, np.uint8)})
    recorder.send("POST", "/v1/simulate", tensors, BINARY)


def record_inference(recorder: Recorder) -> None:
    """Ask everything of the Open Inference Protocol."""
    get, post = recorder.get, recorder.post
    get("/v2")
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/trace/setting", "/v2/logging"):
        get(path)
    for name in ("energy_flow", "half"):
        model = f"/v2/models/{name}"
        post(f"/v2/repository/models/{name}/load", {})
        for path in ("", "/versions/1", "/ready", "/versions/1/ready", "/config", "/trace/setting"):
            get(f"{model}{path}")
    post("/v2/repository/index", {})
    post("/v2/repository/index", {"ready": True})
    post(INFER, document())
    outputs = [{"name": name} for name in ("hits", "embedding", "trace_kind", "trace_energy")]
    options = json.dumps({"noise_std": 0.1})
    post(INFER, document(outputs=outputs, options=options, seed=4, trace_capacity=20))
    post("/v2/models/half/infer", document(seed=2), basis=ROUNDED)
    body, length = binary(binary_data_output=False)
    recorder.send("POST", INFER, body, BINARY, headers={LENGTH: str(length)})
    get("/v2/models/energy_flow/stats", basis=COMPUTED)
    get("/v2/models/energy_flow/versions/1/stats", basis=COMPUTED)
    post("/v2/repository/models/half/unload", {})
    post("/v2/models/half/infer", document(), 409)
    record_inference_refusals(recorder)


def record_inference_refusals(recorder: Recorder) -> None:
    """Ask for what is refused."""
    get, post = recorder.get, recorder.post
    get("/v2/models/half/ready", 503)
    get("/v2/models/nothing", 404)
    get("/v2/models/energy_flow/versions/2", 404)
    get("/v2/systemsharedmemory/status", 501)
    post("/v2/models/nothing/infer", document(), 404)
    post(INFER, document(sead=1), 422)
    post(INFER, document(outputs=[{"name": "nothing"}]), 422)
    post(INFER, {"inputs": []}, 422)
    post("/v2/trace/setting", {"trace_level": ["TENSORS"]}, 422)
    post("/v2/repository/models/energy_flow/unload", {}, 409)
    recorder.send("POST", INFER, b"{", "application/json", 400)
    recorder.ask(Request("GET", "/v2", has_key=False), 401, COMPUTED)


def document(outputs: list[dict[str, Any]] | None = None, **parameters: Any) -> dict[str, Any]:
    """A request to infer, as JSON."""
    data = rows(2, 73)
    tensor = {"name": "embeddings", "shape": [2, WIDTH], "datatype": "FP32"}
    body: dict[str, Any] = {"inputs": [{**tensor, "data": data.ravel().tolist()}]}
    body["parameters"] = {"store": False, **parameters}
    return body if outputs is None else {**body, "outputs": outputs}


def binary(**parameters: Any) -> tuple[bytes, int]:
    """A request with its tensor as bytes, and the length of its JSON."""
    data = rows(2, 73)
    tensor: dict[str, Any] = {"name": "embeddings", "shape": [2, WIDTH], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": data.nbytes}
    body = {"inputs": [tensor], "parameters": {"store": False, **parameters}}
    head = json.dumps(body).encode()
    return head + struct.pack(f"<{data.size}f", *data.ravel()), len(head)
