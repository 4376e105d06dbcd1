"""The gradients of one batch, whose parts are computed in turn: a run and its losses each.

Shape legend: B rows of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.telemetry.counters import Counters
from energy_flow.training import diagnostics
from energy_flow.training.candidates import Candidates
from energy_flow.training.config import TrainConfig
from energy_flow.training.data import Pairs
from energy_flow.training.losses import Predictions
from energy_flow.training.unroll import unroll


def backward(
    processor: FlowProcessor,
    config: TrainConfig,
    train: Pairs,
    rows: NDArray[np.int64],
    options: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Add the gradients of a batch to those of the weights.

    Args:
        processor: the model.
        config: config of the training.
        train: rows to train on.
        rows: the rows of the batch among them, int64 [B].
        options: options of the runs.
        seed: seed of their noise.

    Returns:
        ``loss``, ``terms``, ``gradient_norms`` and ``diagnostics``, plain JSON data.

    Raises:
        NonFiniteError: the networks gave a flow a number that is not finite.
    """
    losses = config.losses
    candidates = Candidates(train, rows, losses.negatives, processor.device)
    proposals = diagnostics.ProposalSums(processor.config.with_options(options))
    terms: list[dict[str, torch.Tensor]] = []
    embeddings: list[torch.Tensor] = []
    reached: list[torch.Tensor] = []
    counters: list[Counters] = []
    processor.train()
    for part in np.split(np.arange(len(rows)), config.batch.accumulation):
        pairs = train.take(rows[part])
        run = unroll(
            processor,
            pairs.inputs,
            config.back_propagation,
            options=options,
            seed=seed,
            sample_keys=pairs.rows.tolist(),
            observe=proposals,
        )
        values = losses.values(
            Predictions(
                embedding_BO=run.embedding_BO,
                target_BO=torch.tensor(pairs.targets, device=processor.device),
                target_spread=train.target_spread,
                surface_BS=run.surface_BS,
                planes_BPS=run.planes_BPS,
                input_mapper=processor.input_mapper,
                **candidates.of_part(part),
            )
        )
        share = len(part) / len(rows)
        torch.autograd.backward(losses.total(values) * share)
        terms.append({name: value.detach() * share for name, value in values.items()})
        embeddings.append(run.embedding_BO.detach())
        reached.append(run.reached_BPS)
        counters.append(run.counters)
    names = list(terms[0])
    summed = torch.stack([torch.stack([one[name] for name in names]) for one in terms]).sum(0)
    numbers = dict(zip(names, summed.tolist(), strict=True))
    return {
        "loss": sum(losses.terms[name].weight * number for name, number in numbers.items()),
        "terms": numbers,
        "gradient_norms": diagnostics.gradient_norms(processor),
        "diagnostics": {
            **proposals.read(),
            **diagnostics.describe_paths(Counters.total(counters)),
            **diagnostics.describe_predictions(torch.cat(embeddings), torch.cat(reached)),
        },
    }


def check_finite(report: Mapping[str, Any]) -> None:
    """Refuse a batch with a loss term or a gradient that is not finite.

    Args:
        report: what :func:`backward` has returned.

    Raises:
        FloatingPointError: with the first of these numbers.
    """
    numbers = {
        **{f"loss term {name}": value for name, value in report["terms"].items()},
        **{f"gradient of the {name}": value for name, value in report["gradient_norms"].items()},
    }
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"the {name} is {value}")
