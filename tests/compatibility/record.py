"""Asks a server about everything in a data directory, and keeps the answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx

from tests.compatibility.answers import Answer, Basis, Exchange, Request
from tests.compatibility.make_experiments import FINISHED, KILLED, PAUSED
from tests.compatibility.make_runs import DATASET_RUNS, MODELS, dataset_files

STORED, COMPUTED, ROUNDED = Basis.STORED, Basis.COMPUTED, Basis.ROUNDED
AS_BYTES = {"Accept": "application/octet-stream"}
TRACES = ("parquet", "arrow", "ndjson", "csv", "perfetto")
OUTPUTS = ("json", "npy", "safetensors", "png")


class Recorder:
    """Sends requests and keeps the answers.

    Attributes:
        exchanges: what was asked and answered so far.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.exchanges: list[Exchange] = []

    def get(
        self,
        path: str,
        status: int = 200,
        basis: Basis = STORED,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Ask for something; return the JSON document, where the answer is one."""
        return self.ask(Request("GET", path, headers=dict(headers or {})), status, basis)

    def list(self, path: str, member: str) -> Any:
        """Ask for a list, each item of which is asked about by itself as well.

        Args:
            member: of the items; the only one that is kept.
        """
        document = self.get(path, basis=COMPUTED)
        exchange = self.exchanges[-1]
        items = [{member: item[member]} for item in document["items"]]
        body = {"json": {**document, "items": items}}
        self.exchanges[-1] = replace(exchange, answer=replace(exchange.answer, body=body))
        return document

    def post(
        self,
        path: str,
        body: Any,
        status: int = 200,
        basis: Basis = COMPUTED,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send JSON; return the JSON document that is answered."""
        request = Request("POST", path, json=body, headers=dict(headers or {}))
        return self.ask(request, status, basis)

    def send(
        self,
        method: str,
        path: str,
        content: bytes,
        media_type: str,
        status: int = 200,
        basis: Basis = COMPUTED,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send bytes; return the JSON document that is answered."""
        sent = {"Content-Type": media_type, **(headers or {})}
        text = base64.b64encode(content).decode()
        return self.ask(Request(method, path, base64=text, headers=sent), status, basis)

    def ask(self, request: Request, status: int, basis: Basis) -> Any:
        """Send a request.

        Raises:
            AssertionError: the answer has another status.
        """
        response = request.send(self.client)
        assert response.status_code == status, (request, response.status_code, response.text)
        answer = Answer.of(response, values=basis is not STORED)
        self.exchanges.append(Exchange(request, basis, answer))
        return answer.body.get("json")


def record_runs(recorder: Recorder, runs: dict[str, str]) -> None:
    """Ask about every run: what it is, its outputs, its trace, its telemetry."""
    get = recorder.get
    get("/v1/runs?limit=3", basis=COMPUTED)
    listed = recorder.list("/v1/runs?limit=20", "run_id")
    cursor = listed["next_cursor"]
    queries = [
        *("limit=1000", "kind=run&kind=simulate", f"limit=2&cursor={cursor}"),
        *(f"state={state}&kind=run" for state in ("succeeded", "failed", "cancelled", "paused")),
        *(f"experiment={name}" for name in ("swept", *PAUSED.values())),
    ]
    for query in queries:
        recorder.list(f"/v1/runs?{query}", "run_id")
    for name, run_id in runs.items():
        basis = COMPUTED if name == "waiting" or name.startswith("interrupted") else STORED
        run = get(f"/v1/runs/{run_id}", basis=basis)
        _record_results(recorder, run, basis)
    whole = f"/v1/runs/{runs['latest']}"
    _record_forms(recorder, whole)
    for one, other in (
        *(("latest", "lossless"), ("earliest", "legacy"), ("untraced", "bfloat16")),
    ):
        get(f"/v1/runs/{runs[one]}/compare/{runs[other]}", basis=COMPUTED)


def record_replays(recorder: Recorder, runs: dict[str, str]) -> None:
    """Replay a sample of every run; of one whose model is gone, that is refused."""
    rounded = ("bfloat16", "half")
    for name, run_id in runs.items():
        path = f"/v1/runs/{run_id}/replay"
        if name == "orphan":
            recorder.post(path, {"sample": 0}, 409, STORED)
        elif name.startswith(("cancelled", "failed", "interrupted")):
            # Endless runs; they cannot be replayed to an end.
            continue
        else:
            basis = ROUNDED if name in rounded else COMPUTED
            body = {"sample": 1} if name == "lossless" else {"sample": 1, "flow": 4}
            assert recorder.post(path, body, basis=basis)["agrees"] is True, name
    trial = recorder.client.get("/v1/experiments/swept/trials/1").json()
    body = {"sample": 2, "flow": 0}
    assert recorder.post(f"{trial['run_url']}/replay", body)["agrees"] is True


def record_experiments(recorder: Recorder) -> None:
    """Ask about every experiment, its trials and its results."""
    get = recorder.get
    get("/v1/experiments?limit=2", basis=COMPUTED)
    for query in ("limit=1000", "kind=train&limit=2", "state=paused"):
        recorder.list(f"/v1/experiments?{query}", "experiment_id")
    for name in (*FINISHED, *PAUSED.values(), *KILLED.values(), "cancelled"):
        basis = COMPUTED if name in KILLED.values() else STORED
        experiment = get(f"/v1/experiments/{name}", basis=basis)
        by_id = f"/v1/experiments/{experiment['experiment_id']}"
        recorder.list(f"{by_id}/trials", "run_id")
        for number in (0, experiment["trials"]["total"] - 1):
            get(f"{by_id}/trials/{number}", basis=basis)
        for of in ("trials", "points"):
            get(f"/v1/experiments/{name}/results?of={of}", basis=basis)
            if basis is STORED:
                get(f"/v1/experiments/{name}/results?of={of}&format=csv")
                get(f"/v1/experiments/{name}/results?of={of}&format=parquet")
        if experiment["kind"] == "train":
            # How long steps took is among them.
            if basis is STORED:
                get(f"/v1/experiments/{name}/trials/0/curves?points=5")
        elif basis is STORED:
            get(f"/v1/experiments/{name}/trials/0/trace?format=ndjson")
    get("/v1/experiments/swept/trials?limit=2&state=succeeded")
    recorder.list("/v1/experiments/paused-sweep/trials?state=queued", "trial")
    get("/v1/experiments/swept/trials/1/trace?format=csv&kind=terminate")
    for name in (*FINISHED, "cancelled"):
        get(f"/v1/experiments/{name}/events")
    for path in ("swept/trials/2", "random/trials/1", "cancelled/trials/0"):
        trial = get(f"/v1/experiments/{path}")
        run = get(trial["run_url"])
        _record_results(recorder, run, STORED)


def record_datasets_and_models(recorder: Recorder) -> None:
    """Ask about every dataset and every model, and for their files."""
    get = recorder.get
    get("/v1/datasets")
    listed = get("/v1/datasets?limit=4")
    get(f"/v1/datasets?limit=4&cursor={listed['next_cursor']}")
    for name, _, _ in dataset_files():
        if name != "lost":
            get(f"/v1/datasets/{name}")
            get(f"/v1/datasets/{name}?format=safetensors")
    get("/v1/datasets/pairs", headers=AS_BYTES)
    recorder.list("/v1/models", "name")
    recorder.list("/v1/models?limit=2", "name")
    made = [name for name in MODELS if name != "doomed"]
    for name in ("default", "uploaded", *made, "trained-0", "trained-1", "paused-training-0"):
        get(f"/v1/models/{name}", basis=COMPUTED if name == "default" else STORED)
        get(f"/v1/models/{name}?format=safetensors")
    get("/v1/models/half", headers=AS_BYTES)
    recorder.post("/v1/models/other/load", None, basis=STORED)
    recorder.post("/v1/models/other/unload", None, basis=STORED)


def record_repetitions(recorder: Recorder) -> None:
    """Send again what was sent before: by its key, and by its content, it is known."""
    fields = {"name": "half", **MODELS["half"]}
    recorder.post("/v1/models", fields, 201, STORED, headers={"Idempotency-Key": "model-half"})
    body = {"name": "swept", **FINISHED["swept"]}
    recorder.post(
        "/v1/experiments", body, 201, COMPUTED, headers={"Idempotency-Key": "experiment-swept"}
    )
    run = DATASET_RUNS["of-a-dataset"]
    recorder.post("/v1/runs", run, 202, STORED, headers={"Idempotency-Key": "run-of-a-dataset"})
    for name, kind, content in dataset_files():
        if name in ("jsonl-targets", "parquet"):
            recorder.send(
                "PUT", f"/v1/datasets/{name}?format={kind}", content, "text/plain", 200, STORED
            )


def record_the_rest(recorder: Recorder) -> None:
    """Ask for probes, pages and how the server is."""
    recorder.get("/v1/system", basis=COMPUTED)
    recorder.get("/livez", basis=COMPUTED)
    recorder.get("/readyz", basis=COMPUTED)
    for path in ("/livez", "/readyz", "/", "/docs"):
        recorder.ask(Request("GET", path, has_key=False), 200, STORED)


def _record_results(recorder: Recorder, run: dict[str, Any], basis: Basis) -> None:
    """What a run has kept."""
    url, get = run["url"], recorder.get
    has_samples = run["progress"]["samples_done"] > 0
    found = 200 if has_samples else 404
    for document in ("memory", "profile"):
        if basis is STORED:
            get(f"{url}/{document}", found)
    get(f"{url}/samples", basis=basis)
    for output in run["outputs"]:
        get(f"{url}/outputs/{output}?format=npy", found, basis)
    if basis is STORED:
        get(f"{url}/trace?format=ndjson")
        # Of a run that has just ended, more of them are there, as they came.
        get(f"{url}/events")


def _record_forms(recorder: Recorder, url: str) -> None:
    """Outputs and the trace of a run in every form."""
    get = recorder.get
    for output in ("surface", "planes", "hits", "embedding"):
        for kind in OUTPUTS:
            refused = (output, kind) == ("embedding", "png")
            get(f"{url}/outputs/{output}?format={kind}", 406 if refused else 200)
    get(f"{url}/outputs/surface?format=npy&sample_from=1&sample_to=3")
    get(f"{url}/outputs/hits?sample=2", headers=AS_BYTES)
    get(f"{url}/outputs/planes?format=png&plane=z0")
    for kind in TRACES:
        get(f"{url}/trace?format={kind}")
        get(f"{url}/trace?format={kind}&kind=reflect,terminate&sample=0&sample=2")
    get(f"{url}/trace?format=ndjson&flow=3,4&step_from=1&step_to=2")
    get(f"{url}/trace", headers={"Accept": "text/csv"})
    get(f"{url}/trace?format=parquet", 206, headers={"Range": "bytes=0-3"})
    first = recorder.client.get(f"{url}/trace?format=ndjson&limit=5")
    get(f"{url}/trace?format=ndjson&limit=5")
    get(f"{url}/trace?format=ndjson&cursor={first.headers['next-cursor']}")
    get(f"{url}/samples?limit=1")
    get(f"{url}/events", headers={"Last-Event-ID": "1"})
