"""Requests to a server, built from Python values; nothing here touches a network."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray

from energy_flow.client import tensors
from energy_flow.client.errors import UnexpectedAnswer
from energy_flow.client.exchange import FileBody, Reply, Request

JSON = "application/json"
SIMULATE = "/v1/simulate"
# Members of a range of values, which tell it from a group of fields.
RANGE = frozenset({"low", "high", "log"})


def embeddings_array(embeddings: ArrayLike) -> NDArray[Any]:
    """The rows to send, as a C-contiguous array [rows, dimension] of floats.

    float16 becomes float32, which loses nothing; float64 is left to the server, which tells a
    number that is too large for float32 from infinity.

    Raises:
        ValueError: they are not numbers, or not rows of one length.
    """
    try:
        array = np.asarray(embeddings)
    except ValueError as error:
        raise ValueError(f"embeddings must be rows of one length: {error}") from None
    if array.dtype.kind not in "fiu":
        raise ValueError(f"embeddings must be numbers, not {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"embeddings must be rows, [rows, dimension], not {list(array.shape)}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    return np.ascontiguousarray(array)


def simulate(
    embeddings: ArrayLike,
    *,
    options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    sample_keys: Sequence[int] | None = None,
    outputs: Sequence[str] | None = None,
    trace: Mapping[str, Any] | None = None,
    model: str | None = None,
    store: bool | None = None,
    timeout_ms: int | None = None,
    path: str = SIMULATE,
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Request:
    """A request for a simulation, whose numbers travel as the bytes they are.

    Raises:
        ValueError: the embeddings are not rows of numbers.
    """
    rows = embeddings_array(embeddings)
    fields = _fields(
        options=options,
        seed=seed,
        sample_keys=sample_keys,
        outputs=outputs,
        trace=trace,
        model=model,
        store=store,
        timeout_ms=timeout_ms,
    )
    query: tuple[tuple[str, str], ...] = (("dry_run", "true"),) if dry_run else ()
    # Only the results of a simulation are arrays.
    accept = JSON if dry_run or path != SIMULATE else f"{tensors.MEDIA_TYPE}, {JSON};q=0.5"
    headers = {"accept": accept, "content-type": tensors.MEDIA_TYPE}
    if idempotency_key is not None:
        headers["idempotency-key"] = idempotency_key
    return Request(
        "POST",
        path,
        query=query,
        headers=headers,
        body=tensors.request_body(rows, fields),
        repeatable=dry_run or idempotency_key is not None,
    )


def get(path: str, accept: str = JSON, **query: Any) -> Request:
    """A request to read something; ``None`` values are left out of the query."""
    pairs = tuple((name, _query_value(value)) for name, value in query.items() if value is not None)
    return Request("GET", path, query=pairs, headers={"accept": accept}, repeatable=True)


def post(path: str, fields: Mapping[str, Any] | None = None) -> Request:
    """A request to change something."""
    if fields is None:
        return Request("POST", path)
    body = orjson.dumps(
        {name: value for name, value in fields.items() if value is not None},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    return Request("POST", path, headers={"content-type": JSON}, body=body)


def delete(path: str) -> Request:
    """A request to remove something."""
    return Request("DELETE", path)


def at(*parts: str) -> str:
    """A path under ``/v1`` from parts that may hold any character."""
    return "/".join(("/v1", *(quote(part, safe="") for part in parts)))


def submit_run(
    embeddings: ArrayLike | None,
    *,
    dataset: str | None = None,
    rows: Sequence[int] | None = None,
    idempotency_key: str | None = None,
    **fields: Any,
) -> Request:
    """A request to queue a run; ``fields`` are those of :func:`simulate`.

    Raises:
        ValueError: not just one of embeddings and dataset is given, rows without a dataset, or the
            embeddings are not rows of numbers.
    """
    if (embeddings is None) == (dataset is None):
        raise ValueError("a run takes embeddings or the name of a dataset, one of them")
    if dataset is None and rows is not None:
        raise ValueError("rows are those of a dataset, and none is named")
    key = idempotency_key if idempotency_key is not None else uuid4().hex
    if embeddings is not None:
        return simulate(embeddings, path=at("runs"), idempotency_key=key, **fields)
    part = {"dataset": dataset, "rows": None if rows is None else [int(row) for row in rows]}
    request = post(at("runs"), {**part, **_fields(**fields)})
    return replace(request, headers={**request.headers, "idempotency-key": key}, repeatable=True)


def output(run_id: str, name: str) -> Request:
    """A request for an output's array."""
    return get(at("runs", run_id, "outputs", name), "application/x-npy", format="npy")


def heat_map(run_id: str, sample: int, to: Path) -> Request:
    """A request for a picture of one sample's surface."""
    path = at("runs", run_id, "outputs", "surface")
    return replace(get(path, "image/png", format="png", sample=sample), save_to=to)


def trace(run_id: str, **filters: Any) -> Request:
    """A request for records of a trace, one a line."""
    path = at("runs", run_id, "trace")
    return get(path, "application/x-ndjson", format="ndjson", **filters)


def trace_file(run_id: str, to: Path, format: str, **filters: Any) -> Request:
    """A request for a trace, or a part of it, as a file."""
    path = at("runs", run_id, "trace")
    return replace(get(path, "*/*", format=format, **filters), save_to=to)


def replay(run_id: str, sample: int, flow: int | None) -> Request:
    """A request to simulate a sample again, which changes nothing."""
    request = post(at("runs", run_id, "replay"), {"sample": sample, "flow": flow})
    return replace(request, repeatable=True)


def compare(run_id: str, other: str) -> Request:
    """A request for two runs side by side."""
    return get(at("runs", run_id, "compare", other))


def checkpoint(name: str, to: Path) -> Request:
    """A request for a model's weights."""
    return replace(get(at("models", name), "application/octet-stream"), save_to=to)


def put_model(name: str, file: Path, on_progress: Callable[[int, int], object] | None) -> Request:
    """A request to keep a checkpoint under a name.

    Raises:
        OSError: there is no such file.
    """
    return put_file(at("models", name), file, on_progress)


def put_file(
    path: str, file: Path, on_progress: Callable[[int, int], object] | None, **query: str
) -> Request:
    """A request to keep a file; sent again, it changes nothing.

    Raises:
        OSError: there is no such file.
    """
    return Request(
        "PUT",
        path,
        query=tuple(query.items()),
        headers={"content-type": "application/octet-stream"},
        body=FileBody(file, file.stat().st_size, on_progress),
        repeatable=True,
    )


def create_model(
    name: str, preset: str | None, config: Mapping[str, Any] | None, model_seed: int | None
) -> Request:
    """A request for an untrained model."""
    fields = {"name": name, "preset": preset, "config": config, "model_seed": model_seed}
    request = post(at("models"), fields)
    # With a key of its own, the request can be repeated without making a second model.
    headers = {**request.headers, "idempotency-key": uuid4().hex}
    return replace(request, headers=headers, repeatable=True)


def create_experiment(document: Mapping[str, Any], idempotency_key: str | None) -> Request:
    """A request for an experiment, which makes only one however often it is sent.

    Groups of fields in its sweep, which a dotted key of TOML makes, become dotted names again.
    """
    sweep = document.get("sweep")
    if isinstance(sweep, Mapping):
        dotted = {
            name: _dotted(value) if name in ("grid", "random") else value
            for name, value in sweep.items()
        }
        document = {**document, "sweep": dotted}
    request = post(at("experiments"), document)
    key = idempotency_key if idempotency_key is not None else uuid4().hex
    return replace(request, headers={**request.headers, "idempotency-key": key}, repeatable=True)


def results(experiment: str, of: str, cursor: str | None) -> Request:
    """A request for rows of an experiment's results."""
    return get(at("experiments", experiment, "results"), format="json", of=of, cursor=cursor)


def results_file(experiment: str, to: Path, format: str, of: str) -> Request:
    """A request for an experiment's results as a file."""
    request = get(at("experiments", experiment, "results"), "*/*", format=format, of=of)
    return replace(request, save_to=to)


def read_npy(reply: Reply) -> NDArray[Any]:
    """The array in a ``.npy`` answer; nothing is ever unpickled.

    Raises:
        UnexpectedAnswer: it is none.
    """
    try:
        array: NDArray[Any] = np.load(io.BytesIO(reply.body), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UnexpectedAnswer(f"the array cannot be read: {error}") from None
    return array


def _fields(
    *,
    options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    sample_keys: Sequence[int] | None = None,
    outputs: Sequence[str] | None = None,
    trace: Mapping[str, Any] | None = None,
    model: str | None = None,
    store: bool | None = None,
    timeout_ms: int | None = None,
) -> dict[str, Any]:
    """Members of a request to simulate, but for what is simulated; those that are given."""
    fields = {
        "options": dict(options) if options else None,
        "seed": seed,
        "sample_keys": None if sample_keys is None else [int(key) for key in sample_keys],
        "outputs": None if outputs is None else list(outputs),
        "trace": dict(trace) if trace else None,
        "model": model,
        "store": store,
        "timeout_ms": timeout_ms,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _dotted(fields: Any) -> Any:
    if not isinstance(fields, Mapping):
        return fields
    names: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping) and value and not RANGE & set(value):
            names |= {f"{name}.{inner}": choice for inner, choice in _dotted(value).items()}
        else:
            names[name] = value
    return names


def _query_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(_query_value(entry) for entry in value)
    if isinstance(value, Mapping):
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return str(value)


def npy(rows: NDArray[Any]) -> bytes:
    """An array as a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()
