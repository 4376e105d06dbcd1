"""The same processor behind LitServe, which gathers requests into batches.

    python -m benchmarks.litserve_server --threads N --device DEVICE

A batch is what has come within a few milliseconds; it is simulated as one, and its surfaces go back
to those who asked. Every worker process imports this module anew.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.workload import processor
from energy_flow.runtime.malloc import keep_freed

# Not among the project's requirements, and without types.
litserve: Any = import_module("litserve")

MOST_REQUESTS = 64
WAIT_SECONDS = 0.005
ANSWER_SECONDS = 300

Rows = tuple[NDArray[np.float32], Sequence[int]]


class Simulator(litserve.LitAPI):  # type: ignore[misc]  # LitServe has no types
    """Answers ``{"embeddings": …, "sample_keys": …}`` with ``{"surface": …}``."""

    def __init__(self, threads: int, device: str) -> None:
        super().__init__(max_batch_size=MOST_REQUESTS, batch_timeout=WAIT_SECONDS)
        self._threads, self._processor_device = threads, device

    def setup(self, device: str) -> None:
        """In the worker: makes the model and tries its shapes."""
        keep_freed()
        torch.set_num_threads(self._threads)
        self._model = processor("debug", self._processor_device)
        self._model.empty()

    # LitServe hands annotations of these two to its web framework, which would check bodies
    # against them; without any, JSON goes in and out as it is.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """The embeddings of one request, and their keys, as ``Rows``."""
        return np.asarray(request["embeddings"], dtype=np.float32), request["sample_keys"]

    def batch(self, inputs: Sequence[Rows]) -> Sequence[Rows]:
        """Requests that are simulated together."""
        return inputs

    def predict(self, batch: Sequence[Rows]) -> list[NDArray[np.float32]]:
        """Surfaces of every request."""
        embeddings = np.concatenate([rows for rows, _ in batch])
        keys = [key for _, keys in batch for key in keys]
        surface = self._model.simulate(embeddings, sample_keys=keys).outputs["surface"]
        return np.split(surface, np.cumsum([len(rows) for rows, _ in batch])[:-1])

    def unbatch(self, output: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """One for each request already."""
        return output

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        """Surfaces of one request, as nested lists."""
        return {"surface": output.tolist()}


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    server = litserve.LitServer(
        Simulator(asked.threads, asked.device), accelerator="cpu", timeout=ANSWER_SECONDS
    )
    port = free_port()
    print(f"LitServe will listen on http://127.0.0.1:{port}", flush=True)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
