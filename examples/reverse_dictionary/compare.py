"""Trains the flow model and its peers in the same way, and measures what the flows add.

    python examples/reverse_dictionary/compare.py TRAIN [--seeds 0 1 2] [--out FOLDER]

TRAIN is a .safetensors file with ``inputs`` and ``targets``, [rows, 384]; docs/training.md
describes it. All figures are measured on the val rows beside this file, by which nothing is chosen.
FOLDER keeps the flow models; a training that has ended there is not repeated. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peers import WithoutFlows, mlp, predict, predict_by_ridge, train
from start import untrained

from energy_flow import FlowProcessor, checkpoint
from energy_flow.training import TrainConfig
from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import retrieval
from energy_flow.training.start import from_files

HERE = Path(__file__).resolve().parent
INPUT, RIDGE, MLP = "the input itself", "ridge regression", "MLP"
WITHOUT, FLOWS = "mappers without flows", "flow model"
FIGURES = ("cosine", "top_1", "top_10", "median_rank")
RESAMPLES = 10_000
"""Samples of the bootstrap."""
ROWS_AT_ONCE = 100

Predictions = NDArray[np.float32]


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description="Compares the flow model with its peers.")
    parser.add_argument("train", type=Path, metavar="TRAIN")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("build/reverse_dictionary"))
    parser.add_argument("--steps", type=int, help="optimiser steps, instead of the recipe's epochs")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    val = Pairs.read(HERE / "val.safetensors")
    trained: dict[str, list[Predictions]] = {FLOWS: [], WITHOUT: [], MLP: []}
    seconds: dict[str, list[float]] = {name: [] for name in trained}
    held_out: dict[int, dict[str, Any]] = {}
    for seed in options.seeds:
        config = recipe(
            options.train, options.out / f"start_{seed}.safetensors", seed, options.steps
        )
        rows, _ = Pairs.read(options.train).split(config.data.held_out, config.data.held_out_seed)
        inputs = torch.from_numpy(rows.inputs)
        folder = options.out / f"run_{seed}"
        held_out[seed], spent = train_flows(config, inputs, folder)
        seconds[FLOWS].append(spent)
        trained[FLOWS].append(
            predict_with_flows(checkpoint.load(folder / "model.safetensors"), val.inputs)
        )
        mappers = WithoutFlows(untrained(seed, inputs))
        parameters = sum(p.numel() for p in mappers.parameters())
        for name, model in ((WITHOUT, mappers), (MLP, mlp(parameters, inputs, seed))):
            began = time.perf_counter()
            train(model, config, rows)
            seconds[name].append(time.perf_counter() - began)
            trained[name].append(predict(model, val.inputs))
        print(f"seed {seed}: trained and measured", flush=True)
    ridge = predict_by_ridge(Pairs.read(options.train), val.inputs)
    predictions = {INPUT: [val.inputs], RIDGE: [ridge], **trained}
    table = {name: figures(by_seed, val) for name, by_seed in predictions.items()}
    for name, spent_by_seed in seconds.items():
        table[name]["seconds"] = spent_by_seed
    flows_minus = {
        name: difference(predictions[FLOWS], predictions[name], val)
        for name in (WITHOUT, MLP, RIDGE)
    }
    print_tables(table, flows_minus)
    print(json.dumps({"table": table, "flows_minus": flows_minus, "held_out": held_out}))


def recipe(train_file: Path, start: Path, seed: int, steps: int | None) -> TrainConfig:
    """Return the config of the training of one seed.

    Args:
        train_file: rows to train on.
        start: checkpoint of the model from which it starts.
        seed: seed of the training.
        steps: number of optimiser steps; by default, the epochs of recipe.toml.
    """
    fields = tomllib.loads((HERE / "recipe.toml").read_text(encoding="utf-8"))
    changes = {"data.train": str(train_file), "model.checkpoint": str(start), "seed": seed}
    if steps is not None:
        changes |= {"length.epochs": None, "length.steps": steps}
    return TrainConfig.from_dict(fields, changes)


def train_flows(
    config: TrainConfig, inputs: torch.Tensor, folder: Path
) -> tuple[dict[str, Any], float]:
    """Train a flow model, unless the folder has the complete training.

    Args:
        config: config of the training.
        inputs: embeddings to train on, [R, E].
        folder: where the training is kept.

    Returns:
        Figures on the rows held out, and the seconds of all optimiser steps.
    """
    log = folder / "events.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    if not events or events[-1]["kind"] != "end":
        assert config.model.checkpoint is not None
        checkpoint.save(untrained(config.seed, inputs), config.model.checkpoint)
        trainer = from_files(config, folder, resume=True)
        for event in trainer.run():
            if event["kind"] == "step" and event["step"] % 10 == 0:
                print(
                    f"seed {config.seed}, step {event['step']}, loss {event['loss']:.4f}",
                    flush=True,
                )
        events = [json.loads(line) for line in log.read_text().splitlines()]
    spent = sum(event["seconds"] for event in events if event["kind"] == "step")
    return events[-1]["held_out"], spent


def predict_with_flows(processor: FlowProcessor, inputs: NDArray[np.float32]) -> Predictions:
    """Return the predictions of a flow model for all rows, [R, E].

    Args:
        processor: the model.
        inputs: embeddings, [R, E].
    """
    parts = [
        processor.simulate(
            inputs[first : first + ROWS_AT_ONCE],
            outputs=("embedding",),
            options={"trace.capacity": 0},
        ).outputs["embedding"]
        for first in range(0, len(inputs), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def figures(by_seed: list[Predictions], val: Pairs) -> dict[str, Any]:
    """Return the median over the seeds of each figure, and all figures of each seed.

    Args:
        by_seed: predictions of one model for the val rows.
        val: the val rows.
    """
    each = [retrieval(predictions, val.targets).to_dict() for predictions in by_seed]
    return {
        "median": {name: statistics.median(one[name] for one in each) for name in FIGURES},
        "seeds": each,
    }


def difference(first: list[Predictions], second: list[Predictions], val: Pairs) -> dict[str, Any]:
    """Return the mean difference over seeds and rows, with a 95 % interval over the rows.

    The interval is a bootstrap in which both models have the same rows (Efron and Tibshirani, "An
    introduction to the bootstrap", 1993, §13.3).

    Args:
        first: predictions of one model, by seed.
        second: predictions of the other model, which are subtracted.
        val: the val rows.
    """
    random = np.random.default_rng(0)
    draws = random.integers(len(val), size=(RESAMPLES, len(val)))
    found: dict[str, Any] = {}
    for place, name in enumerate(("cosine", "top_10")):
        first_rows, second_rows = (
            np.mean([by_row(predictions, val)[place] for predictions in by_seed], axis=0)
            for by_seed in (first, second)
        )
        differences = first_rows - second_rows
        means = differences[draws].mean(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        found[name] = {
            "difference": float(differences.mean()),
            "interval": [float(low), float(high)],
        }
    return found


def by_row(predictions: Predictions, val: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the cosine of each row with its target, and whether that is among the ten nearest.

    Args:
        predictions: for the val rows, [R, E].
        val: the val rows.
    """
    predicted, targets = (normalize(rows.astype(np.float64)) for rows in (predictions, val.targets))
    own = (predicted * targets).sum(axis=1)
    rank = 1 + (predicted @ targets.T > own[:, None] + 1e-12).sum(axis=1)
    return own, (rank <= 10).astype(np.float64)


def normalize(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows with a length of 1."""
    lengths: NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def print_tables(table: dict[str, Any], flows_minus: dict[str, Any]) -> None:
    """Print the figures.

    Args:
        table: figures of each model on the val rows.
        flows_minus: what the flow model has more than each of its peers.
    """
    print(
        f"\n{'val rows, median of the seeds':32}{'cosine':>8}{'top 1':>8}{'top 10':>8}{'rank':>6}"
    )
    for name, one in table.items():
        middle = one["median"]
        print(
            f"{name:32}{middle['cosine']:8.3f}{middle['top_1']:8.1%}{middle['top_10']:8.1%}"
            f"{middle['median_rank']:6.0f}"
        )
    for name, one in flows_minus.items():
        print(f"\n{FLOWS} minus {name}, with a 95 % interval:")
        for figure, value in one.items():
            low, high = value["interval"]
            print(f"  {figure:8}{value['difference']:+.4f}  [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
