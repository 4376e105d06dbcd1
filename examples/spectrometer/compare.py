"""Trains the flow model and its peers in the same way, and measures them on fresh pictures.

    python examples/spectrometer/compare.py [--seeds 0 1 2 3 4] [--pictures N] [--fresh]
        [--moves NEAR FAR] [--equal-steps] [--out FOLDER]

Every model is trained with every seed. Its weights and learning rate are chosen on the val
pictures, and all figures are of the test pictures, by which nothing is chosen. FOLDER keeps the
flow models and what has been trained; a model that is complete there is not trained again. The last
line is JSON. ``--quick`` does the same with few pictures and steps, in seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fits import Fit, fit_flows, fit_peer
from numpy.typing import NDArray
from peers import CELLS, cnn, deep_cnn, mlp, move_cells, predict_by_ridge, r2
from pictures import MOVES, PICTURES, SEEDS, Blobs, add_moves, make_pairs
from torch import nn

from energy_flow import checkpoint
from energy_flow.ablation import ablate
from energy_flow.training import TrainConfig
from energy_flow.training.data import Pairs
from energy_flow.training.retrieval import r_squared

HERE = Path(__file__).resolve().parent
FLOWS, RIDGE, LAW = "flow model", "ridge regression", "true law, cell by cell"
EQUAL_TIME = "{}, equal time"
TIMES_LARGER = 20
PEERS: dict[str, tuple[Callable[[int, int], nn.Module], int]] = {
    "MLP": (mlp, 1),
    f"MLP, {TIMES_LARGER} times as large": (mlp, TIMES_LARGER),
    "CNN": (cnn, 1),
    "CNN, 5 layers of 3 × 3": (deep_cnn, 1),
}
"""How a peer is made, and how many times as many weights as the flow model it has."""
RATES = (4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2)
"""Learning rates of which each peer has its best one. The flow model has that of the recipe."""
LOW, HIGH = 2.5, 97.5
"""Percentiles between which an interval of 95 % lies."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained and measured.

    Attributes:
        out: folder of models and results.
        seeds: of weights and batches.
        rates: learning rates of the peers.
        pictures: number of pictures by name: train, val, test.
        fresh: whether the pictures are others than those of pictures.py, and every seed trains on
            pictures of its own.
        moves: deflection of the weakest and the strongest blob, in cells.
        equal_time: whether peers are also trained for the time of the flow model.
        steps: optimiser steps; those of the recipe if none.
        most_steps: limit of the steps of a peer in the time of the flow model; none if none.
        resamples: samples of the test pictures from which intervals are computed.
    """

    out: Path
    seeds: tuple[int, ...]
    rates: tuple[float, ...] = RATES
    pictures: dict[str, int] = field(default_factory=lambda: dict(PICTURES))
    fresh: bool = False
    moves: tuple[float, float] = MOVES
    equal_time: bool = True
    steps: int | None = None
    most_steps: int | None = None
    resamples: int = 10_000

    def quick(self) -> Plan:
        """Return a plan of seconds, which shows only that everything runs."""
        pictures = {"train": 64, "val": 16, "test": 16}
        return replace(
            self, rates=RATES[:2], pictures=pictures, steps=4, most_steps=8, resamples=100
        )


def main() -> None:
    """Train, measure and print."""
    plan = read_plan()
    pairs = make_pictures(plan, plan.seeds[0])
    ridge, penalty = predict_by_ridge(pairs["train"], pairs["val"], pairs["test"].inputs)
    fits: dict[str, list[Fit]] = {}
    for seed in plan.seeds:
        for name, fit in fit_all(plan, seed, make_pictures(plan, seed)).items():
            fits.setdefault(name, []).append(fit)
    targets = pairs["test"].targets
    table = {RIDGE: {"parameters": CELLS * 2 * CELLS + 2 * CELLS, "penalty": penalty}}
    table[RIDGE] |= spread([r2(ridge, targets)])
    moved = move_cells(Blobs.draw(plan.pictures["test"], picture_seed(plan, "test")), plan.moves)
    table[LAW] = {"parameters": 0} | spread([r2(moved, targets)])
    table |= {name: figures(by_seed, targets) for name, by_seed in fits.items()}
    flows = [fit.predictions for fit in fits[FLOWS]]
    minus = {RIDGE: difference(flows, [ridge], targets, plan.resamples)} | {
        name: difference(flows, [fit.predictions for fit in by_seed], targets, plan.resamples)
        for name, by_seed in fits.items()
        if name != FLOWS
    }
    ablations = describe_ablations(fits[FLOWS])
    best = max(zip(fits[FLOWS], plan.seeds, strict=True), key=lambda one: one[0].best.val_r2)[1]
    print_tables(table, minus, ablations)
    print(f"\nbest on the val pictures: {seed_folder(plan, best) / 'model.safetensors'}")
    print(
        json.dumps(
            {"table": table, "flows_minus": minus, "ablations": ablations, "best_seed": best}
        )
    )


def read_plan() -> Plan:
    """Return the plan of the command line."""
    parser = argparse.ArgumentParser(description="Compares the flow model with its peers.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--pictures", type=int, metavar="N", help="pictures to train on")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="other pictures than those of pictures.py, and others to train on for every seed",
    )
    add_moves(parser)
    parser.add_argument(
        "--equal-steps", action="store_true", help="do not train peers for equal time"
    )
    parser.add_argument("--out", type=Path, default=Path("build/spectrometer"), metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="few pictures and steps")
    options = parser.parse_args()
    near, far = options.moves
    plan = Plan(
        options.out / "compare",
        tuple(options.seeds),
        fresh=options.fresh,
        moves=(near, far),
        equal_time=not options.equal_steps,
    )
    if options.quick:
        plan = replace(plan.quick(), out=options.out / "quick")
    if options.pictures is not None:
        plan = replace(plan, pictures={**plan.pictures, "train": options.pictures})
    return plan


def make_pictures(plan: Plan, seed: int) -> dict[str, Pairs]:
    """Return the pictures by name: train, val, test.

    Args:
        plan: what is trained.
        seed: of the weights and batches that they are for.
    """
    return {
        name: Pairs.of(
            **make_pairs(plan.pictures[name], picture_seed(plan, name, seed), plan.moves)
        )
        for name in SEEDS
    }


def picture_seed(plan: Plan, name: str, seed: int = 0) -> int:
    """Return the seed of some pictures.

    Args:
        plan: what is trained.
        name: train, val or test.
        seed: of the weights and batches; of no effect on val and test pictures.
    """
    if not plan.fresh:
        return SEEDS[name]
    # No two seeds are equal, and none is one of SEEDS.
    return SEEDS[name] + len(SEEDS) * (2 + seed if name == "train" else 1)


def seed_folder(plan: Plan, seed: int) -> Path:
    """Return where the models and results of a seed are kept.

    Args:
        plan: what is trained.
        seed: of weights and batches.
    """
    near, far = plan.moves
    kind = "fresh_pictures" if plan.fresh else "pictures"
    pictures = f"{plan.pictures['train']}_{kind}_moved_by_{near:g}_to_{far:g}"
    return plan.out / pictures / f"seed_{seed}"


def recipe(plan: Plan, seed: int) -> TrainConfig:
    """Return the config of the training of the flow model.

    Args:
        plan: what is trained.
        seed: of weights and batches.
    """
    fields = tomllib.loads((HERE / "recipe.toml").read_text(encoding="utf-8"))
    changes: dict[str, Any] = {"seed": seed, "model.config.model_seed": seed}
    if plan.steps is not None:
        changes["length.steps"] = plan.steps
    config = TrainConfig.from_dict(fields, changes)
    rows = min(config.batch.rows, plan.pictures["train"])
    return config.replace({"batch.rows": rows})


def fit_all(plan: Plan, seed: int, pairs: dict[str, Pairs]) -> dict[str, Fit]:
    """Train all models with one seed, unless the folder has them.

    Args:
        plan: what is trained.
        seed: of weights and batches.
        pairs: pictures by name: train, val, test.

    Returns:
        Fits by the name of the model.
    """
    config, folder = recipe(plan, seed), seed_folder(plan, seed)
    folder.mkdir(parents=True, exist_ok=True)
    digests = {name: one.digest() for name, one in pairs.items()}

    def fit_or_load(
        name: str, configs: list[TrainConfig], train: Callable[[list[TrainConfig]], Fit]
    ) -> Fit:
        path = folder / f"{name.replace(',', '').replace(' ', '_')}.safetensors"
        settings = {"trainings": [one.to_dict() for one in configs], "pictures": digests}
        fit = Fit.load(path, settings)
        if fit is None:
            fit = train(configs)
            fit.save(path, settings)
        rate, value = fit.best.rate, r2(fit.predictions, pairs["test"].targets)
        print(
            f"seed {seed}, {name}: learning rate {rate:g}, R² on val pictures "
            f"{fit.best.val_r2:.3f}, on test pictures {value:.3f}",
            flush=True,
        )
        return fit

    fits = {FLOWS: fit_or_load(FLOWS, [config], partial(train_flows, folder, pairs, seed))}
    flows = fits[FLOWS]
    for name, (make, times) in PEERS.items():
        untrained = partial(make, times * flows.parameters, seed)
        train = partial(
            fit_peer, untrained, train=pairs["train"], val=pairs["val"], test=pairs["test"]
        )
        rates = [config.replace({"optimiser.learning_rate": rate}) for rate in plan.rates]
        fits[name] = fit_or_load(name, rates, train)
        if not plan.equal_time:
            continue
        per_step = statistics.mean(one.seconds / one.steps for one in fits[name].trials)
        steps = max(int(flows.best.seconds / per_step), 1)
        if plan.most_steps is not None:
            steps = min(steps, plan.most_steps)
        best = {"optimiser.learning_rate": fits[name].best.rate, "length.steps": steps}
        longer = [config.replace(best)]
        fits[EQUAL_TIME.format(name)] = fit_or_load(EQUAL_TIME.format(name), longer, train)
    return fits


def train_flows(
    folder: Path, pairs: dict[str, Pairs], seed: int, configs: list[TrainConfig]
) -> Fit:
    """Return a flow model that was trained and ablated.

    Args:
        folder: where the model is kept.
        pairs: pictures by name: train, val, test.
        seed: of weights and batches.
        configs: of its trainings.
    """
    fit, processor = fit_flows(
        configs, **pairs, report=lambda line: print(f"seed {seed}, {FLOWS}: {line}", flush=True)
    )
    checkpoint.save(processor, folder / "model.safetensors")
    return replace(fit, details=ablate(processor, pairs["test"]).to_dict())


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median of R² over the seeds, the lowest, the highest, and all values."""
    median = statistics.median(values)
    return {"r2": median, "lowest": min(values), "highest": max(values), "seeds": values}


def figures(by_seed: list[Fit], targets: NDArray[np.float32]) -> dict[str, Any]:
    """Return the figures of a model in the table.

    Args:
        by_seed: its fits.
        targets: what the detectors see of the test pictures.
    """
    return {
        "parameters": by_seed[0].parameters,
        "steps": statistics.median(fit.best.steps for fit in by_seed),
        "seconds": statistics.median(fit.best.seconds for fit in by_seed),
        "rates": [fit.best.rate for fit in by_seed],
        **spread([r2(fit.predictions, targets) for fit in by_seed]),
        "trials": [[asdict(trial) for trial in fit.trials] for fit in by_seed],
    }


def difference(
    first: list[NDArray[np.float32]],
    second: list[NDArray[np.float32]],
    targets: NDArray[np.float32],
    resamples: int,
) -> dict[str, Any]:
    """Return the difference of R², the mean over seeds, with a 95 % interval over the pictures.

    The interval is a bootstrap in which both models have the same pictures (Efron and Tibshirani,
    "An introduction to the bootstrap", 1993, §13.3).

    Args:
        first: predictions of one model, by seed.
        second: predictions of the other model, which is subtracted.
        targets: what the detectors see of the test pictures.
        resamples: samples of the pictures.
    """
    rows = len(targets)
    errors = [
        np.mean([((one.astype(np.float64) - targets) ** 2).sum(axis=1) for one in by_seed], axis=0)
        for by_seed in (first, second)
    ]
    centred = targets.astype(np.float64) - targets.mean(axis=0, dtype=np.float64)
    squares = (centred * centred).sum(axis=1)
    random = np.random.Generator(np.random.Philox(0))
    drawn = random.multinomial(rows, np.full(rows, 1.0 / rows), size=resamples).astype(np.float64)
    # The first row is the pictures themselves.
    counts = np.concatenate((np.ones((1, rows)), drawn))
    mean = counts @ centred / rows
    variation = counts @ squares - rows * (mean * mean).sum(axis=1)
    one, other = (r_squared(counts @ error, variation) for error in errors)
    low, high = np.percentile((one - other)[1:], [LOW, HIGH])
    return {"difference": float((one - other)[0]), "interval": [float(low), float(high)]}


def describe_ablations(by_seed: list[Fit]) -> dict[str, Any]:
    """Return R² of the flow model as it is and with parts switched off, and what its flows did.

    Args:
        by_seed: fits of the flow model.
    """
    found: dict[str, Any] = {}
    for entries in zip(*(fit.details["entries"] for fit in by_seed), strict=True):
        if entries[0]["not_applicable"] is None:
            found[entries[0]["label"]] = {
                **spread([entry["figures"]["r2"]["value"] for entry in entries]),
                "z0": [entry["flows"]["planes"]["z0"] for entry in entries],
                "zdepth": [entry["flows"]["planes"]["zdepth"] for entry in entries],
                "mean_path_steps": [entry["flows"]["mean_path_steps"] for entry in entries],
            }
    return found


def print_tables(table: dict[str, Any], minus: dict[str, Any], ablations: dict[str, Any]) -> None:
    """Print the figures.

    Args:
        table: figures of each model on the test pictures.
        minus: what the flow model has more than each of its peers.
        ablations: figures of the flow model with parts switched off.
    """
    print(
        f"\n{'test pictures':38}{'weights':>8}{'steps':>8}{'seconds':>8}  R², median of the seeds"
    )
    for name, one in table.items():
        steps, seconds = one.get("steps"), one.get("seconds")
        print(
            f"{name:38}{one['parameters']:8}{'' if steps is None else f'{steps:.0f}':>8}"
            f"{'' if seconds is None else f'{seconds:.1f}':>8}  {format_spread(one)}"
        )
    print(f"\n{FLOWS} minus, mean of the seeds, with a 95 % interval over the pictures:")
    for name, one in minus.items():
        low, high = one["interval"]
        print(f"  {name:36}{one['difference']:+.4f}  [{low:+.4f}, {high:+.4f}]")
    print(f"\n{FLOWS:24}{'R², median of the seeds':28}{'z0':16}mean path in steps")
    for label, one in ablations.items():
        shares = f"{min(one['z0']):.0%} to {max(one['z0']):.0%}"
        paths = one["mean_path_steps"]
        print(f"{label:24}{format_spread(one):28}{shares:16}{min(paths):.2f} to {max(paths):.2f}")


def format_spread(one: dict[str, Any]) -> str:
    """Return the median of some R² with the lowest and the highest."""
    return f"{one['r2']:.3f} ({one['lowest']:.3f} to {one['highest']:.3f})"


if __name__ == "__main__":
    main()
