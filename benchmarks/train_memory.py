"""Trains two steps on a full pool and tells the peak memory; a process of ``train``.

python -m benchmarks.train_memory PRESET PRECISION BATCH MODE DEVICE
"""

from __future__ import annotations

import json

import torch

from benchmarks.child_process import begin
from benchmarks.full_pool import full_config, load_libraries
from benchmarks.resident import forget_peak, peak_bytes, resident_bytes
from benchmarks.workload import embeddings
from energy_flow import FlowConfig, FlowProcessor
from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.data import Pairs
from energy_flow.training.footprint import train_footprint

STEPS = 2
WINDOW = 2


def train_config(model: FlowConfig, batch: int, mode: str) -> TrainConfig:
    """A training of a few steps, with every loss term."""
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
    """Real embeddings, each with the next one as its target."""
    return Pairs.of(embeddings(rows), embeddings(rows, first=1))


def main() -> None:
    """Prints one line of JSON."""
    asked = begin(__doc__, preset=str, precision=str, batch=int, mode=str, device=str)
    chosen = full_config(asked.preset, asked.precision)
    config, data = train_config(chosen, asked.batch, asked.mode), pairs(asked.batch)
    load_libraries(chosen, asked.device)
    forget_peak()
    before = resident_bytes()
    on_gpu = torch.device(asked.device).type == "cuda"
    trainer = Trainer(config, FlowProcessor(chosen, device=asked.device), data)
    for _ in trainer.run():
        pass
    peak = torch.cuda.max_memory_allocated(asked.device) if on_gpu else peak_bytes() - before
    predicted = train_footprint(config, chosen, len(data), torch.device(asked.device))
    told = {
        "preset": asked.preset,
        "precision": asked.precision,
        "batch": asked.batch,
        "mode": asked.mode,
        "peak_bytes": peak,
        "predicted_bytes": predicted.total,
        "predicted_graph_bytes": predicted.graph,
        "predicted_weights_bytes": predicted.weights,
        "predicted_workspace_bytes": predicted.workspace,
        "predicted_over_peak": round(predicted.total / peak, 4),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
