"""Trains the flow model and its peers equally, and tells what the flows add.

    python examples/reverse_dictionary/compare.py TRAIN [--seeds 0 1 2] [--out FOLDER]

TRAIN is a .safetensors file with ``inputs`` and ``targets``, [rows, 384]; docs/training.md says
what is in it. All figures are of the val rows beside this file, which nothing is chosen by. FOLDER
keeps the flow models; a training that has ended there is not done again. Ends with a line of JSON.
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
from peers import WithoutFlows, mlp, predicted, ridge, train
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
ROWS_AT_ONCE = 100

Predictions = NDArray[np.float32]


def main() -> None:
    """Trains, measures, prints."""
    parser = argparse.ArgumentParser(description="Compares the flow model with its peers.")
    parser.add_argument("train", type=Path, metavar="TRAIN")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("build/reverse_dictionary"))
    parser.add_argument(
        "--steps", type=int, help="of the optimiser, instead of the recipe's epochs"
    )
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    val = Pairs.read(HERE / "val.safetensors")
    told: dict[str, list[Predictions]] = {FLOWS: [], WITHOUT: [], MLP: []}
    seconds: dict[str, list[float]] = {name: [] for name in told}
    held_out: dict[int, dict[str, Any]] = {}
    for seed in asked.seeds:
        config = recipe(asked.train, asked.out / f"start_{seed}.safetensors", seed, asked.steps)
        rows, _ = Pairs.read(asked.train).split(config.data.held_out, config.data.held_out_seed)
        inputs = torch.from_numpy(rows.inputs)
        folder = asked.out / f"run_{seed}"
        held_out[seed], spent = train_flows(config, inputs, folder)
        seconds[FLOWS].append(spent)
        told[FLOWS].append(run(checkpoint.load(folder / "model.safetensors"), val.inputs))
        mappers = WithoutFlows(untrained(seed, inputs))
        parameters = sum(p.numel() for p in mappers.parameters())
        for name, model in ((WITHOUT, mappers), (MLP, mlp(parameters, inputs, seed))):
            began = time.perf_counter()
            train(model, config, rows)
            seconds[name].append(time.perf_counter() - began)
            told[name].append(predicted(model, val.inputs))
        print(f"seed {seed}: trained and measured", flush=True)
    told = {INPUT: [val.inputs], RIDGE: [ridge(Pairs.read(asked.train), val.inputs)], **told}
    table = {name: figures(one, val) for name, one in told.items()}
    for name, spent_by_seed in seconds.items():
        table[name]["seconds"] = spent_by_seed
    flows_add = {name: difference(told[FLOWS], told[name], val) for name in (WITHOUT, MLP, RIDGE)}
    show(table, flows_add)
    print(json.dumps({"table": table, "flows_minus": flows_add, "held_out": held_out}))


def recipe(train_file: Path, start: Path, seed: int, steps: int | None) -> TrainConfig:
    """The training of one seed."""
    fields = tomllib.loads((HERE / "recipe.toml").read_text(encoding="utf-8"))
    changes = {"data.train": str(train_file), "model.checkpoint": str(start), "seed": seed}
    if steps is not None:
        changes |= {"length.epochs": None, "length.steps": steps}
    return TrainConfig.from_dict(fields, changes)


def train_flows(
    config: TrainConfig, inputs: torch.Tensor, folder: Path
) -> tuple[dict[str, Any], float]:
    """Figures of the rows held out, and the seconds that it took; what was done is kept."""
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


def run(processor: FlowProcessor, inputs: NDArray[np.float32]) -> Predictions:
    """What a flow model makes of all rows, as it is used: flows on, no noise."""
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
    """The median over the seeds of each figure, and each figure of each seed."""
    each = [retrieval(one, val.targets).to_dict() for one in by_seed]
    return {
        "median": {name: statistics.median(one[name] for one in each) for name in FIGURES},
        "seeds": each,
    }


def difference(first: list[Predictions], second: list[Predictions], val: Pairs) -> dict[str, Any]:
    """What ``first`` has more of: mean over seeds and rows, and a 95 % interval over the rows.

    Rows are drawn anew, both predictors on the same ones (Efron and Tibshirani, 1993, §13.3).
    """
    random = np.random.default_rng(0)
    draws = random.integers(len(val), size=(RESAMPLES, len(val)))
    told: dict[str, Any] = {}
    for place, name in enumerate(("cosine", "top_10")):
        mine, other = (
            np.mean([by_row(one, val)[place] for one in side], axis=0) for side in (first, second)
        )
        means = (mine - other)[draws].mean(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        told[name] = {
            "difference": float((mine - other).mean()),
            "interval": [float(low), float(high)],
        }
    return told


def by_row(predictions: Predictions, val: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each row's cosine with its target, and whether that is among the ten nearest."""
    mine, targets = (unit(rows.astype(np.float64)) for rows in (predictions, val.targets))
    own = (mine * targets).sum(axis=1)
    rank = 1 + (mine @ targets.T > own[:, None] + 1e-12).sum(axis=1)
    return own, (rank <= 10).astype(np.float64)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1."""
    lengths: NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def show(table: dict[str, Any], flows_add: dict[str, Any]) -> None:
    """Prints the figures."""
    print(
        f"\n{'val rows, median of the seeds':32}{'cosine':>8}{'top 1':>8}{'top 10':>8}{'rank':>6}"
    )
    for name, one in table.items():
        middle = one["median"]
        print(
            f"{name:32}{middle['cosine']:8.3f}{middle['top_1']:8.1%}{middle['top_10']:8.1%}"
            f"{middle['median_rank']:6.0f}"
        )
    for name, one in flows_add.items():
        print(f"\n{FLOWS} minus {name}, with a 95 % interval:")
        for figure, value in one.items():
            low, high = value["interval"]
            print(f"  {figure:8}{value['difference']:+.4f}  [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
