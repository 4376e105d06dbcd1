"""Trains the flow model and its peers in the same way, and measures what the flows add.

    python examples/reverse_dictionary/compare.py TRAIN [--seeds 0 1 2 3 4] [--out FOLDER]

TRAIN is a .safetensors file with ``inputs`` and ``targets``, [rows, 384]. Weights and learning
rates are chosen on the rows of it that the recipe holds out. All figures are measured on the val
rows beside this file, by which nothing is chosen. FOLDER keeps the flow models and what has been
trained; a model that is complete there is not trained again. ``--other MODEL`` compares another
checkpoint, too. The last line is JSON. ``--quick`` does the same with few steps, in seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fits import Fit, fit_flows, fit_peer, predict_with_flows
from numpy.typing import NDArray
from peers import MappersWithGELU, linear, mlp, predict_by_ridge
from torch import nn

from energy_flow import FlowConfig, checkpoint
from energy_flow.ablation import ablate
from energy_flow.training import TrainConfig
from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import RowFigures, retrieval

HERE = Path(__file__).resolve().parent
FLOWS, INPUT, RIDGE, OTHER = "flow model", "the input itself", "ridge regression", "other model"
EQUAL_TIME = "{}, equal time"
MLP_UNITS = 1024
"""Hidden units of the MLP: 768 for the identity, and 256 with prototypes."""
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
MLP_RATES = (6.25e-5, 1.25e-4, 2.5e-4, 5e-4)
"""Learning rates of which each peer has its best one. The flow model has that of the recipe."""
FIGURES = ("cosine", "top_1", "top_10")
LOW, HIGH = 2.5, 97.5
"""Percentiles between which an interval of 95 % lies."""

Predictions = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained and measured.

    Attributes:
        train: file of rows to train on and to hold out.
        out: folder of the flow models.
        seeds: of weights and batches.
        other: checkpoint of another model that is compared; none if none.
        trials: number of learning rates of each peer.
        steps: optimiser steps; those of the recipe if none.
        most_steps: limit of the steps of a peer in the time of the flow model; none if none.
        resamples: samples of the val rows from which intervals are computed.
    """

    train: Path
    out: Path
    seeds: tuple[int, ...]
    other: Path | None = None
    trials: int = len(RATES)
    steps: int | None = None
    most_steps: int | None = None
    resamples: int = 10_000


def main() -> None:
    """Train, measure and print."""
    plan = read_plan()
    val = Pairs.read(HERE / "val.safetensors")
    fits: dict[str, list[Fit]] = {}
    for seed in plan.seeds:
        # Rates are chosen with the first seed, as that of the recipe was.
        rates = {name: each[0].best.rate for name, each in fits.items()}
        for name, fit in fit_all(plan, seed, rates, val.inputs).items():
            fits.setdefault(name, []).append(fit)
    predictions: dict[str, list[Predictions]] = {INPUT: [val.inputs]}
    predictions[RIDGE], penalty = predict_by_ridge_of(plan, val.inputs)
    if plan.other is not None:
        predictions[OTHER] = [predict_with_flows(checkpoint.load(plan.other), val.inputs)]
    predictions |= {name: [fit.predictions for fit in each] for name, each in fits.items()}
    table = {name: figures(by_seed, val) for name, by_seed in predictions.items()}
    table[RIDGE]["penalty"] = penalty
    for name, each in fits.items():
        table[name] |= describe_trainings(each)
    minus = {
        name: difference(predictions[FLOWS], by_seed, val, plan.resamples)
        for name, by_seed in predictions.items()
        if name != FLOWS
    }
    ablations = ablate_all(plan, val)
    middle = statistics.median_low([fit.best.cosine for fit in fits[FLOWS]])
    shipped = next(
        seed for seed, fit in zip(plan.seeds, fits[FLOWS], strict=True) if fit.best.cosine == middle
    )
    print_tables(table, minus, ablations)
    print(f"\nmedian cosine on the held-out rows: {seed_folder(plan, shipped)}")
    print(
        json.dumps(
            {"table": table, "flows_minus": minus, "ablations": ablations, "median_seed": shipped}
        )
    )


def read_plan() -> Plan:
    """Return the plan of the command line."""
    parser = argparse.ArgumentParser(description="Compares the flow model with its peers.")
    parser.add_argument("train", type=Path, metavar="TRAIN")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--out", type=Path, default=Path("build/reverse_dictionary"), metavar="FOLDER"
    )
    parser.add_argument("--other", type=Path, metavar="MODEL", help="another checkpoint")
    parser.add_argument("--quick", action="store_true", help="few steps")
    options = parser.parse_args()
    seeds = tuple(options.seeds)
    if not options.quick:
        return Plan(options.train, options.out / "compare", seeds, options.other)
    return Plan(
        options.train,
        options.out / "quick",
        seeds,
        options.other,
        trials=2,
        steps=2,
        most_steps=4,
        resamples=100,
    )


def seed_folder(plan: Plan, seed: int) -> Path:
    """Return where the flow model of a seed is kept.

    Args:
        plan: what is trained.
        seed: of weights and batches.
    """
    return plan.out / f"seed_{seed}"


def recipe(plan: Plan, seed: int) -> TrainConfig:
    """Return the config of the training of the flow model.

    Args:
        plan: what is trained.
        seed: of weights and batches.
    """
    fields = tomllib.loads((HERE / "recipe.toml").read_text(encoding="utf-8"))
    changes: dict[str, Any] = {
        "data.train": str(plan.train),
        "seed": seed,
        "model.config.model_seed": seed,
    }
    if plan.steps is not None:
        changes["length.steps"] = plan.steps
    return TrainConfig.from_dict(fields, changes)


def split_rows(plan: Plan) -> tuple[Pairs, Pairs]:
    """Return the rows to train on and the held-out rows, as the flow model has them.

    Args:
        plan: what is trained.
    """
    data = recipe(plan, plan.seeds[0]).data
    return Pairs.read(plan.train).split(data.held_out, data.held_out_seed)


def fit_all(
    plan: Plan, seed: int, chosen: dict[str, float], inputs: NDArray[np.float32]
) -> dict[str, Fit]:
    """Train all models with one seed, unless the folder has them.

    Args:
        plan: what is trained.
        seed: of weights and batches.
        chosen: learning rates of the peers; empty if they are to be chosen with this seed.
        inputs: embeddings to predict, [R, E].

    Returns:
        Fits by the name of the model. Those in the time of the flow model are there only where
        rates are chosen.
    """
    config, folder = recipe(plan, seed), seed_folder(plan, seed)
    train, held_out = split_rows(plan)
    digests = {"train": train.digest(), "held_out": held_out.digest()}

    def fit_or_load(
        name: str, make: Callable[[], nn.Module], changes: list[dict[str, float]]
    ) -> Fit:
        path = folder / f"{name.replace(',', '').replace(' ', '_')}.safetensors"
        configs = [config.replace(one) for one in changes]
        settings = {"trainings": [one.to_dict() for one in configs], "rows": digests}
        fit = Fit.load(path, settings)
        if fit is None:
            fit = fit_peer(make, configs, train, held_out, inputs)
            fit.save(path, settings)
        report(seed, name, fit)
        return fit

    flows = fit_flows(config, folder, inputs)
    report(seed, FLOWS, flows)
    fits = {FLOWS: flows}
    for name, (make, rates) in untrained_peers(config, train, seed).items():
        tried = (chosen[name],) if chosen else rates[: plan.trials]
        fit = fit_or_load(name, make, [{"optimiser.learning_rate": rate} for rate in tried])
        fits[name] = fit
        if not chosen:
            per_step = statistics.mean(trial.seconds / trial.steps for trial in fit.trials)
            steps = max(int(flows.best.seconds / per_step), 1)
            if plan.most_steps is not None:
                steps = min(steps, plan.most_steps)
            longer = {"optimiser.learning_rate": fit.best.rate, "length.steps": steps}
            fits[EQUAL_TIME.format(name)] = fit_or_load(EQUAL_TIME.format(name), make, [longer])
    return fits


def untrained_peers(
    config: TrainConfig, train: Pairs, seed: int
) -> dict[str, tuple[Callable[[], nn.Module], tuple[float, ...]]]:
    """Return what makes each peer, and its learning rates, by its name.

    Args:
        config: of the training of the flow model.
        train: rows to train on.
        seed: of the weights.
    """
    model = FlowConfig.from_dict(config.model.config)
    return {
        "linear map": (partial(linear, train.width), RATES),
        "mappers with GELU": (
            partial(MappersWithGELU, train.width, model.surface_cells, seed),
            RATES,
        ),
        "MLP": (partial(mlp, MLP_UNITS, train.inputs, seed), MLP_RATES),
    }


def report(seed: int, name: str, fit: Fit) -> None:
    """Print how a training ended.

    Args:
        seed: of weights and batches.
        name: of the model.
        fit: the model.
    """
    best = fit.best
    print(
        f"seed {seed}, {name}: learning rate {best.rate:g}, {best.steps} steps, "
        f"cosine {best.cosine:.4f} on the held-out rows",
        flush=True,
    )


def predict_by_ridge_of(plan: Plan, inputs: NDArray[np.float32]) -> tuple[list[Predictions], float]:
    """Return the predictions of ridge regression, and its penalty.

    Args:
        plan: what is trained.
        inputs: embeddings to predict, [R, E].
    """
    train, held_out = split_rows(plan)
    predictions, penalty = predict_by_ridge(train, held_out, inputs)
    return [predictions], penalty


def figures(by_seed: Sequence[Predictions], val: Pairs) -> dict[str, Any]:
    """Return the median over the seeds of each figure, and all figures of each seed.

    Args:
        by_seed: predictions of one model for the val rows.
        val: the val rows.
    """
    each = [retrieval(predictions, val.targets).to_dict() for predictions in by_seed]
    return {name: spread([one[name] for one in each]) for name in FIGURES} | {
        "median_rank": statistics.median(one["median_rank"] for one in each)
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median over the seeds, the lowest, the highest, and all values."""
    median = statistics.median(values)
    return {"median": median, "lowest": min(values), "highest": max(values), "seeds": values}


def describe_trainings(by_seed: list[Fit]) -> dict[str, Any]:
    """Return the cost of a model, and how it was trained.

    Args:
        by_seed: its fits.
    """
    return {
        "parameters": by_seed[0].parameters,
        "steps": statistics.median(fit.best.steps for fit in by_seed),
        "seconds": statistics.median(fit.best.seconds for fit in by_seed),
        "rates": [fit.best.rate for fit in by_seed],
        "held_out": spread([fit.best.cosine for fit in by_seed]),
        "trials": [[asdict(trial) for trial in fit.trials] for fit in by_seed],
    }


def difference(
    first: list[Predictions], second: list[Predictions], val: Pairs, resamples: int
) -> dict[str, Any]:
    """Return the mean difference over seeds and rows, with a 95 % interval over the rows.

    The interval is a bootstrap in which both models have the same rows (Efron and Tibshirani, "An
    introduction to the bootstrap", 1993, §13.3).

    Args:
        first: predictions of one model, by seed.
        second: predictions of the other model, which are subtracted.
        val: the val rows.
        resamples: samples of the val rows.
    """
    draws = np.random.default_rng(0).integers(len(val), size=(resamples, len(val)))
    one, other = (
        [RowFigures.of(predictions, val.targets) for predictions in by_seed]
        for by_seed in (first, second)
    )
    found: dict[str, Any] = {}
    for name, measure in (("cosine", cosines), ("top_10", in_top_10)):
        rows = np.mean([measure(rows) for rows in one], axis=0)
        rows -= np.mean([measure(rows) for rows in other], axis=0)
        low, high = np.percentile(rows[draws].mean(axis=1), [LOW, HIGH])
        found[name] = {"difference": float(rows.mean()), "interval": [float(low), float(high)]}
    return found


def cosines(rows: RowFigures) -> NDArray[np.float64]:
    """Return the cosine of each row with its target."""
    return rows.cosine


def in_top_10(rows: RowFigures) -> NDArray[np.float64]:
    """Return for each row whether its target is among the ten nearest, as 1 or 0."""
    return (rows.rank <= 10).astype(np.float64)


def ablate_all(plan: Plan, val: Pairs) -> dict[str, Any]:
    """Return the figures of the flow models as they are and with parts switched off.

    Args:
        plan: what is trained.
        val: the val rows.
    """
    by_seed = [
        ablate(
            checkpoint.load(seed_folder(plan, seed) / "model.safetensors"),
            val,
            resamples=plan.resamples,
        ).to_dict()["entries"]
        for seed in plan.seeds
    ]
    found: dict[str, Any] = {}
    for entries in zip(*by_seed, strict=True):
        if entries[0]["not_applicable"] is None:
            found[entries[0]["label"]] = {
                name: spread([entry["figures"][name]["value"] for entry in entries])
                for name in FIGURES
            } | {
                "z0": [entry["flows"]["planes"]["z0"] for entry in entries],
                "mean_path_steps": [entry["flows"]["mean_path_steps"] for entry in entries],
            }
    return found


def print_tables(table: dict[str, Any], minus: dict[str, Any], ablations: dict[str, Any]) -> None:
    """Print the figures.

    Args:
        table: figures of each model on the val rows.
        minus: what the flow model has more than each other model.
        ablations: figures of the flow model with parts switched off.
    """
    print(
        f"\n{'val rows, median of the seeds':32}{'weights':>9}{'steps':>7}{'seconds':>9}"
        f"  {'cosine':26}{'top 1':>7}{'top 10':>8}{'rank':>6}"
    )
    for name, one in table.items():
        cost = " " * 25
        if "parameters" in one:
            cost = f"{one['parameters']:9,}{one['steps']:7.0f}{one['seconds']:9.1f}"
        print(
            f"{name:32}{cost}  {format_spread(one['cosine']):26}{one['top_1']['median']:7.1%}"
            f"{one['top_10']['median']:8.1%}{one['median_rank']:6.0f}"
        )
    print(f"\n{FLOWS} minus, mean of the seeds, with a 95 % interval over the rows:")
    for name, one in minus.items():
        parts = []
        for figure in ("cosine", "top_10"):
            low, high = one[figure]["interval"]
            parts.append(f"{figure} {one[figure]['difference']:+.4f} [{low:+.4f}, {high:+.4f}]")
        print(f"  {name:30}{'   '.join(parts)}")
    print(f"\n{FLOWS:24}{'cosine, median of the seeds':28}{'top 10':>8}  flows at z0")
    for label, one in ablations.items():
        print(
            f"{label:24}{format_spread(one['cosine']):28}{one['top_10']['median']:8.1%}"
            f"  {min(one['z0']):.0%} to {max(one['z0']):.0%}"
        )


def format_spread(one: dict[str, Any]) -> str:
    """Return a median with the lowest and the highest."""
    return f"{one['median']:.4f} ({one['lowest']:.4f} to {one['highest']:.4f})"


if __name__ == "__main__":
    main()
