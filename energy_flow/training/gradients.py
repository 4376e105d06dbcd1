"""The gradients of one batch: parts of it one after the other, each a run and its losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.telemetry.counters import Counters
from energy_flow.training import diagnostics, losses
from energy_flow.training.config import Negatives, TrainConfig
from energy_flow.training.data import Pairs
from energy_flow.training.unroll import unroll


class Targets:
    """The targets that predictions of a batch are told apart from, on the device.

    Args:
        train: all rows that are trained on.
        rows: the batch's, int64 [B].
    """

    def __init__(
        self, train: Pairs, rows: NDArray[np.int64], negatives: Negatives, device: torch.device
    ) -> None:
        everything = negatives is Negatives.TRAIN
        held = np.arange(len(train)) if everything else rows
        self.candidates_KE = torch.tensor(train.targets[held], device=device)
        self.own_B = torch.tensor(rows if everything else np.arange(len(rows)), device=device)
        ids = train.target_ids
        self.same_BK = torch.tensor(ids[rows][:, None] == ids[held][None, :], device=device)


def backward(
    processor: FlowProcessor,
    config: TrainConfig,
    train: Pairs,
    rows: NDArray[np.int64],
    options: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Adds the gradients of a batch to those of the weights, and tells what it saw.

    Args:
        rows: of ``train``, int64 [B]. options: of the runs. seed: of their noise.

    Returns:
        ``loss``, ``terms``, ``gradient_norms`` and ``diagnostics``, plain JSON data.

    Raises:
        NonFiniteError: the networks gave a flow a number that is not finite.
    """
    device = processor.device
    info_nce = config.losses.info_nce
    negatives = Negatives.BATCH if info_nce is None else info_nce.negatives
    targets = Targets(train, rows, negatives, device)
    limit = processor.config.max_displacement
    sums = diagnostics.ProposalSums(options["displacement_scale"], limit)
    told: list[dict[str, torch.Tensor]] = []
    answers: list[torch.Tensor] = []
    hits: list[torch.Tensor] = []
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
            observe=sums,
        )
        place = torch.tensor(part, device=device)
        terms = losses.terms(
            config.losses,
            losses.Answers(
                embedding_BE=run.embedding,
                target_BE=torch.tensor(pairs.targets, device=device),
                surface_BS=run.surface,
                energies=processor.input_mapper,
                candidates_KE=targets.candidates_KE,
                own_B=targets.own_B.index_select(0, place),
                same_BK=targets.same_BK.index_select(0, place),
            ),
        )
        share = len(part) / len(rows)
        torch.autograd.backward(losses.total(config.losses, terms) * share)
        told.append({name: term.detach() * share for name, term in terms.items()})
        answers.append(run.embedding.detach())
        hits.append(run.hits)
        counters.append(run.counters)
    names = list(told[0])
    values = torch.stack([torch.stack([one[name] for name in names]) for one in told]).sum(0)
    terms_told = dict(zip(names, values.tolist(), strict=True))
    return {
        "loss": sum(getattr(config.losses, name).weight * terms_told[name] for name in names),
        "terms": terms_told,
        "gradient_norms": diagnostics.gradient_norms(processor),
        "diagnostics": {
            **sums.read(),
            **diagnostics.of_run(Counters.total(counters)),
            **diagnostics.of_answers(torch.cat(answers), torch.cat(hits)),
        },
    }
