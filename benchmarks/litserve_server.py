"""The same processor behind LitServe, which batches requests; a process of ``litserve``.

    python -m benchmarks.litserve_server --threads N --device DEVICE

A batch has the requests of a few milliseconds, which are simulated together. Every worker process
imports this module.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.server_process import free_port
from benchmarks.workload import processor
from energy_flow.runtime.process import configure_process

# Not a requirement of the project, and without types.
litserve: Any = import_module("litserve")

MAX_REQUESTS = 64
WAIT_SECONDS = 0.005
ANSWER_SECONDS = 300

Rows = tuple[NDArray[np.float32], Sequence[int]]


class Simulator(litserve.LitAPI):  # type: ignore[misc]  # LitServe has no types
    """Answers ``{"embeddings": …, "sample_keys": …}`` with ``{"surface": …}``.

    Args:
        threads: threads of the arithmetic.
        device: where to simulate.
    """

    def __init__(self, threads: int, device: str) -> None:
        super().__init__(max_batch_size=MAX_REQUESTS, batch_timeout=WAIT_SECONDS)
        self._threads, self._processor_device = threads, device

    def setup(self, device: str) -> None:
        """Make the model and try its block heights, in the worker process.

        Args:
            device: LitServe's own choice, which is ignored.
        """
        configure_process()
        torch.set_num_threads(self._threads)
        self._model = processor("debug", self._processor_device)
        self._model.empty()

    # LitServe passes annotations of these two methods to its web framework, which would validate
    # bodies by them; without annotations JSON is not changed.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """Return the embeddings of one request and their sample keys, as ``Rows``."""
        return np.asarray(request["embeddings"], dtype=np.float32), request["sample_keys"]

    def batch(self, inputs: Sequence[Rows]) -> Sequence[Rows]:
        """Return the requests that are simulated together."""
        return inputs

    def predict(self, batch: Sequence[Rows]) -> list[NDArray[np.float32]]:
        """Return the surfaces of every request."""
        embeddings = np.concatenate([rows for rows, _ in batch])
        keys = [key for _, keys in batch for key in keys]
        surface = self._model.simulate(embeddings, sample_keys=keys).outputs["surface"]
        return np.split(surface, np.cumsum([len(rows) for rows, _ in batch])[:-1])

    def unbatch(self, output: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Return the surfaces of every request unchanged."""
        return output

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        """Return the surfaces of one request as nested lists."""
        return {"surface": output.tolist()}


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parsed = parser.parse_args()
    server = litserve.LitServer(
        Simulator(parsed.threads, parsed.device), accelerator="cpu", timeout=ANSWER_SECONDS
    )
    port = free_port()
    print(f"LitServe will listen on http://127.0.0.1:{port}", flush=True)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
