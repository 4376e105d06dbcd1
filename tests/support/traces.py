"""A trace with every kind of record, in each form, and its expected columns."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow import FlowConfig, FlowProcessor, SimulationResult
from energy_flow.choices import TraceFormat
from energy_flow.trace.formats import encode_trace
from energy_flow.trace.formats.parquet import write_parquet
from energy_flow.trace.reader import read_batches
from energy_flow.trace.records import KINDS

SMALL: dict[str, Any] = {
    "lattice_width": 4,
    "lattice_height": 4,
    "lattice_depth": 8,
    "embedding_dim": 8,
    "mapper_hidden_dim": 16,
    "neuron_hidden_dim": 8,
    "neuron_output_dim": 8,
    "carrier_hidden_size": 16,
    "carrier_num_layers": 1,
    "noise_std": 0.3,
    "projection_age": 6,
    "spawn": {"threshold": 0.15, "max_children": 2},
    "convergence": {"enabled": False},
}
SAMPLES = 6


@cache
def processor() -> FlowProcessor:
    """Return the model of the trace."""
    return FlowProcessor(FlowConfig.from_dict(SMALL))


@cache
def result(keep: str = "lossless", capacity: int = 4096) -> SimulationResult:
    """Return the result of a small noisy run."""
    embeddings = np.random.default_rng(0).standard_normal((SAMPLES, 8)).astype(np.float32)
    options = {"trace.keep": keep, "trace.capacity": capacity}
    return processor().simulate(embeddings, options=options, seed=9)


def stored(folder: Path, keep: str = "lossless", capacity: int = 4096) -> Path:
    """Write the trace in the stored format and return the path."""
    path = folder / f"{keep}-{capacity}.parquet"
    write_parquet(result(keep, capacity).trace, path)
    return path


def written(folder: Path, name: str) -> Path:
    """Write the trace in a format and return the path."""
    path = folder / f"trace{TraceFormat(name).suffixes[0]}"
    path.write_bytes(b"".join(encode_trace(name, read_batches([stored(folder)]))))
    return path


def expected() -> dict[str, NDArray[Any]]:
    """Return the columns of the trace, ``kind`` as names."""
    columns = dict(result().trace.columns)
    columns["kind"] = np.array(KINDS)[columns["kind"]]
    return columns
