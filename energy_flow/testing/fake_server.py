"""``FakeFlowServer``: a server without a model, whose results the test chooses."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Self

import httpx
import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load

from energy_flow.choices import ENDED_STATES, EventName, Output, RunState
from energy_flow.simulation.tally.outputs import output_shape
from energy_flow.testing.answers import (
    MEMORY,
    MODEL,
    encode_event,
    model_document,
    problem_answer,
    run_document,
    run_metrics,
    sample_metrics,
    simulation_document,
    trace_counts,
)
from energy_flow.testing.in_process_server import InProcessServer
from energy_flow.testing.tiny_model import tiny_config

DEFAULT_STATES: Final = (RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED)


def _default_outputs() -> dict[str, NDArray[Any]]:
    """Return every output of one sample of a tiny model: ones or true, or floats from 0 to 1."""
    config = tiny_config()
    outputs: dict[str, NDArray[Any]] = {}
    for output in Output:
        shape, dtype = output_shape(output, config), np.dtype(output.dtype)
        is_float = np.issubdtype(dtype, np.floating)
        values = np.linspace(0.0, 1.0, prod(shape)).reshape(shape) if is_float else np.ones(shape)
        outputs[output.value] = values.astype(dtype)
    return outputs


class _FakeRun:
    """A run, which changes its state with every request that reads it."""

    def __init__(
        self, run_id: str, states: Sequence[str], members: Mapping[str, Any], samples: int
    ) -> None:
        self.run_id = run_id
        self.samples = samples
        self.members = members
        self._states = [*states]
        self._current = 0

    @property
    def state(self) -> str:
        """State of the run."""
        return self._states[self._current]

    @property
    def is_ended(self) -> bool:
        """Whether the run is in a state that it never leaves."""
        return self.state in ENDED_STATES

    def advance(self) -> None:
        """Change to the next state; the last one stays."""
        self._current = min(self._current + 1, len(self._states) - 1)

    def cancel(self) -> None:
        """End the run."""
        self._states[self._current + 1 :] = [RunState.CANCELLED]
        self.advance()

    def events(self, after: int) -> bytes:
        """Change to the last state, and return an event for each state.

        Args:
            after: id of the last event that the reader has; the first state is event 1.
        """
        self._current = len(self._states) - 1
        return b"".join(
            encode_event(number, EventName.STATE, {"run_id": self.run_id, "state": state})
            for number, state in enumerate(self._states, 1)
            if number > after
        )

    def document(self) -> dict[str, Any]:
        """Return the run as the server describes it."""
        done = self.samples if self.state == RunState.SUCCEEDED else 0
        members: dict[str, Any] = {
            "run_id": self.run_id,
            "seed": self.members.get("seed", 0),
            "outputs": self.members.get("outputs", [Output.SURFACE]),
            "options": self.members.get("options", {}),
            "progress": {
                "samples": self.samples,
                "samples_done": done,
                "step": None,
                "fraction": done / self.samples,
            },
        }
        if self.state == RunState.SUCCEEDED:
            url = f"/v1/runs/{self.run_id}/trace"
            members["metrics"] = run_metrics(self.samples)
            members["trace"] = {**trace_counts(self.samples), "url": url}
        if self.state == RunState.FAILED:
            members["error"] = problem_answer(500, detail="the run has failed").json()
        return run_document(self.state, **members)


@dataclass(frozen=True, slots=True)
class _Body:
    """The body of a request to simulate.

    Attributes:
        samples: number of its samples.
        dimension: length of its embeddings; none if they come from a dataset.
        members: all other members.
    """

    samples: int
    dimension: int | None
    members: Mapping[str, Any]

    @property
    def outputs(self) -> list[str]:
        """Names of the requested outputs."""
        names: list[str] = self.members.get("outputs", [Output.SURFACE])
        return names

    @classmethod
    def read(cls, request: httpx.Request) -> Self:
        """Read a body: tensors, or JSON that names rows of a dataset."""
        if request.headers["content-type"] == "application/octet-stream":
            tensors = load(request.content)
            members = orjson.loads(tensors["request"].tobytes())
            samples, dimension = tensors["embeddings"].shape
            return cls(samples, dimension, members)
        members = orjson.loads(request.content)
        start, stop = members.get("rows") or (0, 1)
        return cls(stop - start, None, members)


class FakeFlowServer(InProcessServer):
    """A server without a model, which answers simulations and runs with the same results.

    It answers ``simulate``, ``dry_run``, ``submit_run`` and the methods that read, cancel and
    remove runs, their events, outputs, samples and memory; also ``model`` for every name,
    ``system``, ``ready`` and ``live``.
    Other requests are refused with 404. Traces hold no records. A run of a dataset has the rows
    that it names, or else one.

    Args:
        outputs: outputs of one sample by name, which every sample has; by default, all
            outputs of a tiny model, with surfaces of 4 × 4 cells.
        states: states that a run has one after the other: the first when it is submitted, the next
            whenever it is read. The last state stays.
        embedding_dim: embeddings of another length are refused with 422; by default none are.
    """

    def __init__(
        self,
        outputs: Mapping[str, ArrayLike] | None = None,
        *,
        states: Sequence[str] = DEFAULT_STATES,
        embedding_dim: int | None = None,
    ) -> None:
        super().__init__(self._answer_request)
        if outputs is None:
            outputs = _default_outputs()
        self._outputs = {
            name: np.asarray(array, dtype=Output(name).dtype) for name, array in outputs.items()
        }
        self._states = tuple(states)
        self._embedding_dim = embedding_dim
        self._runs: dict[str, _FakeRun] = {}
        self._refusals: deque[httpx.Response] = deque()

    def refuse_next(
        self, status: int, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        """Refuse a request; several calls refuse as many requests.

        Args:
            status: status of the answer, from 400.
            headers: further headers, such as ``Retry-After``.
            **members: members of the problem document, such as ``detail`` and ``errors``.
        """
        self._refusals.append(problem_answer(status, headers, **members))

    def _answer_request(self, request: httpx.Request) -> httpx.Response:
        if self._refusals:
            return self._refusals.popleft()
        path = request.url.path.strip("/").split("/")
        match request.method, path:
            case "GET", ["livez" | "readyz"]:
                return httpx.Response(200, json={"status": "ok"})
            case "GET", ["v1", "system"]:
                return httpx.Response(200, json={"state": "ready", "models": [MODEL["name"]]})
            case "GET", ["v1", "models", name]:
                return httpx.Response(200, json=model_document(name, self._embedding_dim))
            case "POST", ["v1", "simulate"]:
                return self._simulate(request)
            case "POST", ["v1", "runs"]:
                return self._submit(request)
            case "GET", ["v1", "runs"]:
                items = [run.document() for run in reversed(self._runs.values())]
                return httpx.Response(
                    200, json={"items": items, "next_cursor": None, "previous_cursor": None}
                )
            case method, ["v1", "runs", run_id, *rest] if run_id in self._runs:
                return self._answer_run(method, self._runs[run_id], rest, request)
        return _not_found(request)

    def _simulate(self, request: httpx.Request) -> httpx.Response:
        body = _Body.read(request)
        refusal = self._refusal(body)
        if refusal is not None:
            return refusal
        if request.url.params.get("dry_run") == "true":
            return httpx.Response(200, json=_estimate(body.samples))
        run = self._add(body, [RunState.SUCCEEDED])
        is_stored = body.members.get("store", True)
        if not is_stored:
            del self._runs[run.run_id]
        document = simulation_document(
            {name: self._repeated(name, body.samples) for name in body.outputs},
            run_id=run.run_id,
            seed=body.members.get("seed", 0),
            sample_keys=body.members.get("sample_keys"),
            is_stored=is_stored,
        )
        return httpx.Response(200, json=document)

    def _submit(self, request: httpx.Request) -> httpx.Response:
        body = _Body.read(request)
        refusal = self._refusal(body)
        if refusal is not None:
            return refusal
        return httpx.Response(202, json=self._add(body, self._states).document())

    def _answer_run(
        self, method: str, run: _FakeRun, path: Sequence[str], request: httpx.Request
    ) -> httpx.Response:
        match method, path:
            case "GET", []:
                run.advance()
                return httpx.Response(200, json=run.document())
            case "DELETE", [] if run.is_ended:
                del self._runs[run.run_id]
                return httpx.Response(204)
            case "POST", ["cancel"] if not run.is_ended:
                run.cancel()
                return httpx.Response(200, json=run.document())
            case "GET", ["events"]:
                content = run.events(int(request.headers.get("last-event-id", 0)))
                headers = {"content-type": "text/event-stream"}
                return httpx.Response(200, content=content, headers=headers)
            case ("DELETE", []) | ("POST", ["cancel"]):
                return problem_answer(409, detail=f"the run is in state '{run.state}'")
            case "GET", ["outputs", name] if name in self._outputs:
                return self._results(run, _npy(self._repeated(name, run.samples)))
            case "GET", ["trace"]:
                return self._results(run, b"")
            case "GET", ["memory"]:
                return self._results(run, orjson.dumps(MEMORY))
            case "GET", ["samples"]:
                items = sample_metrics(range(run.samples))
                return self._results(run, orjson.dumps({"items": items, "next_cursor": None}))
        return _not_found(request)

    def _results(self, run: _FakeRun, content: bytes) -> httpx.Response:
        if not run.is_ended:
            return problem_answer(409, detail=f"the run is in state '{run.state}'")
        return httpx.Response(200, content=content)

    def _add(self, body: _Body, states: Sequence[str]) -> _FakeRun:
        run = _FakeRun(f"run-{len(self.requests)}", states, body.members, body.samples)
        self._runs[run.run_id] = run
        return run

    def _refusal(self, body: _Body) -> httpx.Response | None:
        if body.dimension is not None and self._embedding_dim not in (None, body.dimension):
            message = f"must be rows of {self._embedding_dim} numbers"
            fault = {"loc": ["embeddings"], "msg": message, "got": body.dimension}
            return problem_answer(422, detail="embeddings " + message, errors=[fault])
        unknown = [name for name in body.outputs if name not in self._outputs]
        if unknown:
            message = f"must be among {', '.join(self._outputs)}"
            fault = {"loc": ["outputs"], "msg": message, "got": unknown}
            return problem_answer(422, detail="outputs " + message, errors=[fault])
        return None

    def _repeated(self, name: str, samples: int) -> NDArray[Any]:
        return np.repeat(self._outputs[name][np.newaxis], samples, axis=0)


def _not_found(request: httpx.Request) -> httpx.Response:
    detail = f"the fake server has no {request.method} {request.url.path}"
    return problem_answer(404, detail=detail)


def _estimate(samples: int) -> dict[str, Any]:
    flows = samples * tiny_config().surface_cells
    return {
        "model": dict(MODEL),
        "samples": samples,
        "flows": flows,
        "predicted_bytes": 0,
        "flow_steps_bound": flows,
        "queue_wait_ms": 0.0,
        "warnings": [],
    }


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
