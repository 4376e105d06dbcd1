"""Asks for what is refused below ``/v1``; nothing of it changes anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from safetensors.numpy import save

from tests.compatibility.answers import Request
from tests.compatibility.make_experiments import FINISHED, SWEEP
from tests.compatibility.make_runs import ENDLESS, MODELS, WIDTH, rows
from tests.compatibility.record import COMPUTED, Recorder
from tests.support.bodies import npy

JSON = "application/json"
NPY = "application/x-npy"
BINARY = "application/octet-stream"


def record_refusals(recorder: Recorder, runs: dict[str, str]) -> None:
    """Make one mistake of each kind with each resource."""
    _of_callers(recorder)
    _of_simulations(recorder)
    _of_runs(recorder, runs)
    _of_datasets(recorder)
    _of_models(recorder)
    _of_experiments(recorder)


def _of_callers(recorder: Recorder) -> None:
    """Without the key, or with another one; where there is nothing."""
    for path in ("/v1/runs", "/v1/system", "/metrics", "/openapi.json"):
        recorder.ask(Request("GET", path, has_key=False), 401, COMPUTED)
    wrong = {"Authorization": "Bearer wrong"}
    recorder.ask(Request("GET", "/v1/runs", headers=wrong), 401, COMPUTED)
    recorder.get("/v1/nothing", 404)
    recorder.get("/nothing", 404)
    recorder.ask(Request("PATCH", "/v1/runs"), 405, COMPUTED)
    recorder.ask(Request("DELETE", "/v1/system"), 405, COMPUTED)


def _of_simulations(recorder: Recorder) -> None:
    post, send, path = recorder.post, recorder.send, "/v1/simulate"
    good = rows(1).tolist()
    send("POST", path, b"{", JSON, 400)
    send("POST", path, b"[1]", JSON, 400)
    send("POST", path, b'{"embeddings": [[NaN]]}', JSON, 400)
    send("POST", path, b"not npy", NPY, 400)
    send("POST", path, b"not safetensors", BINARY, 400)
    send("POST", path, b"a=1", "application/x-www-form-urlencoded", 415)
    npy_type = {"Content-Type": NPY}
    recorder.ask(Request("POST", path, zeros=70_000, headers=npy_type), 413, COMPUTED)
    bodies: tuple[dict[str, Any], ...] = (
        {},
        {"embeddings": []},
        {"embeddings": [[0.0] * (WIDTH + 1)]},
        {"embeddings": [[0.0] * WIDTH, [0.0]]},
        {"embeddings": [[0.0] * (WIDTH - 1) + ["x"]]},
        {"embeddings": [[0.0] * (WIDTH - 1) + [1e39]]},
        {"embeddings": good, "sample_keys": [0, 1]},
        {"embeddings": good, "modle": "default", "seed": -1, "outputs": ["surfaces"]},
        {"embeddings": good, "trace": {"capacity": -1, "keep": "newest", "inline": -1}},
        {"embeddings": good, "options": {"lattice_width": 8, "noise_std": -1, "max_step": 3}},
        {"embeddings": good, "options": {"max_steps": 2, "projection_age": 3}},
        {"embeddings": good, "options": {"spawn": {"max_children": 0}}},
        {"embeddings": good, "timeout_ms": 0},
        {"embeddings": good, "dataset": "npy"},
    )
    for body in bodies:
        post(path, body, 422)
    post(path, {"embeddings": good, "model": "nothing"}, 404)
    late = {"embeddings": good, "options": ENDLESS, "timeout_ms": 100, "store": False}
    post(path, late, 504)
    send("POST", f"{path}?seed=x&sed=1", npy(rows(1)), NPY, 422)
    send("POST", path, npy(np.full((1, WIDTH), np.nan)), NPY, 422)
    send("POST", path, save({"embedding": rows(1)}), BINARY, 422)


def _of_runs(recorder: Recorder, runs: dict[str, str]) -> None:
    get, post = recorder.get, recorder.post
    run = f"/v1/runs/{runs['latest']}"
    nothing = "/v1/runs/0123456789abcdef"
    for path in ("", "/events", "/outputs/surface", "/trace", "/memory", "/profile", "/samples"):
        get(f"{nothing}{path}", 404)
    get(f"{nothing}/compare/{runs['latest']}", 404)
    post(f"{nothing}/replay", {"sample": 0}, 404)
    post(f"{nothing}/cancel", None, 404)
    recorder.ask(Request("DELETE", nothing), 404, COMPUTED)
    for query in ("limit=0", "limit=x", "cursor=x", "state=done", "kind=test"):
        get(f"/v1/runs?{query}", 422)
    get("/v1/runs?experiment=nothing", 404)
    get(f"{run}/outputs/nothing", 422)
    get(f"/v1/runs/{runs['untraced']}/outputs/surface", 404)
    get(f"{run}/outputs/surface?format=gif", 406)
    get(f"{run}/outputs/surface", 406, headers={"Accept": "text/html"})
    for query in ("sample=9", "sample=-1", "sample=0&sample_from=0", "plane=z1"):
        get(f"{run}/outputs/surface?{query}", 422)
    get(f"{run}/trace?format=xml", 406)
    for query in ("kind=birth", "sample=x", "flow=-1", "limit=0", "cursor=x", "step_from=x"):
        get(f"{run}/trace?{query}", 422)
    post(f"{run}/cancel", None, 409)
    post(f"{run}/replay", {"sample": 9}, 422)
    post(f"{run}/replay", {"sample": 0, "flow": 10**6}, 422)
    post(f"{run}/replay", {"flow": "x", "row": 1}, 422)
    asked = {"embeddings": rows(1).tolist()}
    post("/v1/runs", {**asked, "store": False}, 422)
    post("/v1/runs", {**asked, "dataset": "npy"}, 422)
    post("/v1/runs", {**asked, "rows": [0, 1]}, 422)
    post("/v1/runs", {"dataset": "npy", "rows": [3, 9]}, 422)
    post("/v1/runs", {"dataset": "npy", "rows": [3]}, 422)
    post("/v1/runs", {"dataset": "nothing"}, 404)
    post("/v1/runs", asked, 422, headers={"Idempotency-Key": "run-latest"})
    trial = recorder.client.get("/v1/experiments/swept/trials/0").json()["run_url"]
    recorder.ask(Request("DELETE", trial), 409, COMPUTED)
    post(f"{trial}/cancel", None, 409)
    training = recorder.client.get("/v1/experiments/trained/trials/0").json()["run_url"]
    for path in ("/outputs/surface", "/trace", "/memory"):
        get(f"{training}{path}", 404)
    get(f"{run}/compare/{training.rpartition('/')[2]}", 404)


def _of_datasets(recorder: Recorder) -> None:
    get, send = recorder.get, recorder.send

    def put(name: str, content: bytes, status: int, media_type: str = NPY) -> None:
        send("PUT", f"/v1/datasets/{name}", content, media_type, status)

    get("/v1/datasets/nothing", 404)
    get("/v1/datasets/npy?format=csv", 406)
    get("/v1/datasets?cursor=x", 422)
    put("npy", npy(rows(2, 80)), 409)
    put("new", b"nothing", 400)
    put("new", b"{", 400, "application/x-ndjson")
    put("new", b"nothing", 400, "application/vnd.apache.parquet")
    put("new", b"1,2", 415, "text/csv")
    npy_type = {"Content-Type": NPY}
    too_long = Request("PUT", "/v1/datasets/new", zeros=110_000, headers=npy_type)
    recorder.ask(too_long, 413, COMPUTED)
    put("new", npy(np.zeros(3)), 422)
    put("new", npy(np.array([[1.0, np.inf]])), 422)
    put("new", b"[1, 2]\n[1]\n", 422, "application/x-ndjson")
    put("new", b'{"input": [1, 2], "target": [1]}\n[1, 2]\n', 422, "application/x-ndjson")
    put("-", npy(rows(1)), 422)
    send("PUT", "/v1/datasets/new?format=safetensors", save({"x": rows(1)}), BINARY, 422)
    for name, status in (("nothing", 404), ("trials", 409), ("pairs", 409)):
        recorder.ask(Request("DELETE", f"/v1/datasets/{name}"), status, COMPUTED)


def _of_models(recorder: Recorder) -> None:
    get, post, send, path = recorder.get, recorder.post, recorder.send, "/v1/models"
    get(f"{path}/nothing", 404)
    get(f"{path}/half?format=onnx", 406)
    get(f"{path}?limit=0", 422)
    post(path, {}, 422)
    post(path, {"name": "half"}, 409)
    post(path, {"name": "energy_flow"}, 422)
    post(path, {"name": "new", "preset": "tiny"}, 422)
    post(path, {"name": "new", "config": {"lattice_with": 3, "noise_std": 99}}, 422)
    post(path, {"name": "new", "model_seed": 1, "config": {"model_seed": 2}}, 422)
    post(path, {"name": "new", "config": {"lattice_width": 4096, "lattice_height": 4096}}, 422)
    post(path, {"name": "other", **MODELS["half"]}, 422, headers={"Idempotency-Key": "model-half"})
    for action in ("load", "unload"):
        post(f"{path}/nothing/{action}", None, 404)
    post(f"{path}/default/unload", None, 409)
    for name, status in (("nothing", 404), ("default", 409), ("other", 409)):
        recorder.ask(Request("DELETE", f"{path}/{name}"), status, COMPUTED)
    send("PUT", f"{path}/new", b"nothing", BINARY, 400)
    send("PUT", f"{path}/new", b"\x80\x02}q\x00.", BINARY, 400)
    send("PUT", f"{path}/new", b"{}", JSON, 415)
    send("PUT", f"{path}/new", save({"weight": rows(1)}), BINARY, 422)
    half = recorder.client.get(f"{path}/half?format=safetensors").content
    send("PUT", f"{path}/other", half, BINARY, 409)
    send("PUT", f"{path}/new", half[:3000], BINARY, 400)


def _of_experiments(recorder: Recorder) -> None:
    get, post, path = recorder.get, recorder.post, "/v1/experiments"
    for part in ("", "/trials", "/trials/0", "/trials/0/trace", "/results", "/events"):
        get(f"{path}/nothing{part}", 404)
    get(f"{path}/swept/trials/99", 404)
    get(f"{path}/swept/trials/x", 422)
    get(f"{path}/swept/trials/0/curves", 404)
    get(f"{path}/trained/trials/0/trace", 404)
    get(f"{path}/swept/results?format=xml", 406)
    get(f"{path}/swept/results?of=rows", 422)
    get(f"{path}?state=done", 422)
    get(f"{path}?kind=test", 422)
    for action in ("pause", "resume", "cancel"):
        post(f"{path}/swept/{action}", None, 409)
        post(f"{path}/nothing/{action}", None, 404)
    post(f"{path}/paused-sweep/pause", None, 409)
    for name, status in (("nothing", 404), ("paused-sweep", 409)):
        recorder.ask(Request("DELETE", f"{path}/{name}"), status, COMPUTED)
    post(path, {}, 422)
    post(path, {"name": "swept", **SWEEP}, 409)
    post(path, {"name": "new", **SWEEP, "dataset": "nothing"}, 404)
    post(path, {"name": "new", **SWEEP, "model": "nothing"}, 404)
    post(path, {"name": "new", **SWEEP, "rows": [4, 9], "seeds": [], "max_parallel": 65}, 422)
    grid = {"noise_std": [0.1, -1], "lattice_width": [4], "noise": [1], "max_steps": []}
    post(path, {"name": "new", "dataset": "trials", "sweep": {"grid": grid}}, 422)
    random = {"noise_std": {"low": 1, "high": 0}}
    post(path, {"name": "new", "dataset": "trials", "sweep": {"random": random}}, 422)
    post(path, {"name": "new", "dataset": "trials", "train": {}}, 422)
    training = {"name": "new", "kind": "train", "dataset": "trials", "outputs": ["hits"]}
    post(path, {**training, "train": {"seed": 3, "data": {"train": "x"}, "batch.rows": 0}}, 422)
    known = {"Idempotency-Key": "experiment-swept"}
    post(path, {"name": "swept", **FINISHED["random"]}, 422, headers=known)
