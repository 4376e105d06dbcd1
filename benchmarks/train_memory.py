"""Trains for two steps on a full pool, and measures the peak memory; a process of ``train``.

python -m benchmarks.train_memory PRESET PRECISION BATCH MODE DEVICE
"""

from __future__ import annotations

import json

import torch

from benchmarks.child_process import begin_child
from benchmarks.full_pool import full_config, load_libraries
from benchmarks.resident import peak_bytes, reset_peak, resident_bytes
from benchmarks.workload import embeddings
from energy_flow import FlowConfig, FlowProcessor
from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.data import Pairs
from energy_flow.training.footprint import train_footprint

STEPS = 2
WINDOW = 2


def train_config(model: FlowConfig, batch: int, mode: str) -> TrainConfig:
    """Return the config of a training of a few steps with every loss term.

    Args:
        model: config of the model.
        batch: rows of a batch.
        mode: gradient mode.
    """
    return TrainConfig.from_dict(
        {
            "data.held_out": 0.0,
            "losses.cosine.weight": 1.0,
            "losses.mse.weight": 1.0,
            "losses.surface.weight": 1.0,
            "losses.info_nce": {"weight": 1.0, "negatives": "train"},
            "back_propagation.mode": mode,
            "back_propagation.steps": WINDOW if mode == "truncated" else None,
            "batch.rows": batch,
            "length.steps": STEPS,
            "precision": model.precision,
        }
    )


def pairs(rows: int) -> Pairs:
    """Return real embeddings, each with the next one as its target.

    Args:
        rows: number of pairs.
    """
    return Pairs.of(embeddings(rows), embeddings(rows, first=1))


def main() -> None:
    """Print one line of JSON."""
    parsed = begin_child(__doc__, preset=str, precision=str, batch=int, mode=str, device=str)
    chosen = full_config(parsed.preset, parsed.precision)
    config, data = train_config(chosen, parsed.batch, parsed.mode), pairs(parsed.batch)
    load_libraries(chosen, parsed.device)
    reset_peak()
    before = resident_bytes()
    on_gpu = torch.device(parsed.device).type == "cuda"
    trainer = Trainer(config, FlowProcessor(chosen, device=parsed.device), data)
    for _ in trainer.run():
        pass
    peak = torch.cuda.max_memory_allocated(parsed.device) if on_gpu else peak_bytes() - before
    predicted = train_footprint(config, chosen, len(data), torch.device(parsed.device))
    figures = {
        "preset": parsed.preset,
        "precision": parsed.precision,
        "batch": parsed.batch,
        "mode": parsed.mode,
        "peak_bytes": peak,
        "predicted_bytes": predicted.total,
        "predicted_graph_bytes": predicted.graph,
        "predicted_weights_bytes": predicted.weights,
        "predicted_workspace_bytes": predicted.workspace,
        "predicted_over_peak": round(predicted.total / peak, 4),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
