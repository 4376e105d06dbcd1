"""Callers that upload, run, train and delete until their server dies; a part of ``kills``."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from benchmarks.kill_ledger import Fate, Item, Kind, Ledger
from energy_flow.testing import TINY_FIELDS

DIMENSION = int(TINY_FIELDS["embedding_dim"])
OUTPUTS = ("surface", "hits")
SAMPLES = 12
TRIALS = 4
TRAINING: Mapping[str, Any] = {
    "kind": "train",
    "dataset": "pairs",
    "options": {"max_steps": 3, "noise_std": 0.1},
    "train": {
        "losses": {"cosine": {"weight": 1.0}},
        "data.held_out": 0.25,
        "batch.rows": 8,
        "length.steps": 12,
        "validation.every": 4,
        "checkpoints.every": 2,
    },
}
SWEEP: Mapping[str, Any] = {
    "dataset": "rows",
    "sweep": {"grid": {"noise_std": [0.1, 0.3]}},
    "seeds": [0, 5],
    "outputs": list(OUTPUTS),
    "max_parallel": 2,
    "chunk_samples": 4,
}
NPY = {"content-type": "application/x-npy"}


def rows(count: int, seed: int) -> NDArray[np.float32]:
    """Return embeddings of the tiny model, float32 [count, dim]."""
    drawn = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return (0.1 * drawn).astype(np.float32)


def npy(array: NDArray[np.float32]) -> bytes:
    """Return an array as a ``.npy`` file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def prepare(client: httpx.Client) -> None:
    """Store the datasets of the experiments; a second time changes nothing."""
    pairs = save({"inputs": rows(24, 1), "targets": rows(24, 2)})
    client.put("/v1/datasets/pairs?format=safetensors", content=pairs).raise_for_status()
    client.put("/v1/datasets/rows", content=npy(rows(SAMPLES, 3)), headers=NPY).raise_for_status()


class Caller:
    """A thread that sends one request after the other, as chance has it.

    Attributes:
        unexpected: answers that no request should get.

    Args:
        url: address of the server.
        ledger: what was acknowledged.
        seed: seed of its choices.
    """

    def __init__(self, url: str, ledger: Ledger, seed: int) -> None:
        self.unexpected: list[str] = []
        self._ledger = ledger
        self._chance = random.Random(seed)
        self._client = httpx.Client(base_url=url, timeout=120)
        self._thread = threading.Thread(target=self._call_until_gone, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the server is gone and the thread has ended."""
        self._thread.join()
        self._client.close()

    def _call_until_gone(self) -> None:
        actions: list[tuple[int, Callable[[], None]]] = [
            (3, self._put_dataset),
            (1, lambda: self._delete(Kind.DATASET, "/v1/datasets/{name}")),
            (2, self._create_model),
            (2, self._copy_model),
            (1, lambda: self._delete(Kind.MODEL, "/v1/models/{name}")),
            (6, self._simulate),
            (5, self._queue),
            (2, lambda: self._delete(Kind.RUN, "/v1/runs/{run_id}")),
            (1, lambda: self._experiment(SWEEP)),
            (1, lambda: self._experiment(TRAINING)),
            (1, lambda: self._delete(Kind.EXPERIMENT, "/v1/experiments/{name}")),
        ]
        weights = [weight for weight, _ in actions]
        try:
            while True:
                (_, action), *_ = self._chance.choices(actions, weights)
                action()
        except httpx.TransportError:
            # The server was killed; the item of the request keeps its fate.
            return

    def _put_dataset(self) -> None:
        number = self._ledger.number()
        item = self._ledger.add(Item(Kind.DATASET, f"dataset-{number}"))
        # Some have equal content, and so share a file.
        content = npy(rows(self._chance.randint(1, 2000), number % 50))
        answer = self._client.put(f"/v1/datasets/{item.name}", content=content, headers=NPY)
        self._note(item, answer, 201)

    def _create_model(self) -> None:
        number = self._ledger.number()
        fields = {"name": f"model-{number}", "config": dict(TINY_FIELDS), "model_seed": number}
        item = self._ledger.add(Item(Kind.MODEL, f"model-{number}", repeat=fields))
        headers = {"idempotency-key": item.name}
        self._note(item, self._client.post("/v1/models", json=fields, headers=headers), 201)

    def _copy_model(self) -> None:
        source = self._ledger.choose_stored(Kind.MODEL, self._chance.random())
        if source is None:
            return
        file = self._client.get(f"/v1/models/{source.name}?format=safetensors")
        if file.status_code != 200:
            # Another caller has deleted it.
            return
        item = self._ledger.add(Item(Kind.MODEL, f"copy-{self._ledger.number()}"))
        self._note(item, self._client.put(f"/v1/models/{item.name}", content=file.content), 201)

    def _simulate(self) -> None:
        item = self._ledger.add(Item(Kind.RUN, str(self._ledger.number())))
        body = npy(rows(self._chance.randint(1, 40), 4))
        query = {"seed": item.name, "outputs": ",".join(OUTPUTS)}
        answer = self._client.post("/v1/simulate", params=query, content=body, headers=NPY)
        self._note(item, answer, 200)

    def _queue(self) -> None:
        item = self._ledger.add(Item(Kind.RUN, str(self._ledger.number())))
        fields: dict[str, Any] = {"seed": int(item.name), "outputs": list(OUTPUTS)}
        if self._chance.random() < 0.5:
            fields["dataset"] = "rows"
        else:
            fields["embeddings"] = rows(self._chance.randint(1, 200), 5).tolist()
        item.repeat = fields
        headers = {"idempotency-key": f"run-{item.name}"}
        self._note(item, self._client.post("/v1/runs", json=fields, headers=headers), 202)

    def _experiment(self, fields: Mapping[str, Any]) -> None:
        item = Item(Kind.EXPERIMENT, f"experiment-{self._ledger.number()}")
        self._ledger.add(item)
        body = {"name": item.name, **fields}
        self._note(item, self._client.post("/v1/experiments", json=body), 201)

    def _delete(self, kind: Kind, path: str) -> None:
        item = self._ledger.take_stored(kind, self._chance.random())
        if item is None:
            return
        url = path.format(name=item.name, run_id=item.run_id)
        answer = self._client.delete(url)
        if answer.status_code == 204 or (kind is Kind.RUN and answer.status_code == 404):
            # A run may have been removed to make room.
            item.fate = Fate.DELETED
        else:
            item.fate = Fate.STORED
            if answer.status_code != 409:
                self.unexpected.append(f"DELETE {url}: {answer.status_code} {answer.text[:200]}")

    def _note(self, item: Item, answer: httpx.Response, expected: int) -> None:
        if answer.status_code == expected:
            document = answer.json()
            item.run_id, item.digest = document.get("run_id"), document.get("digest")
            item.fate = Fate.STORED
        elif answer.status_code not in (429, 503):
            self.unexpected.append(f"{item.kind} {item.name}: {answer.status_code} {answer.text}")
