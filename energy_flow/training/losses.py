"""Loss terms by name; the loss is their weighted sum.

Every term is a mean over the rows of a part of a batch and looks at each row's prediction alone,
so that parts that go one after the other add up to the batch.

Shape legend: B rows, E embedding width, S surface cells, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, mse_loss, normalize

from energy_flow.training.config import InfoNCETerm, Losses, SurfaceTerm


@dataclass(frozen=True, slots=True)
class Answers:
    """What came out and what should have.

    Attributes:
        embedding_BE: predictions. target_BE: what they should be.
        surface_BS: surfaces that the flows left.
        energies: the input mapper, [B, E] -> [B, S].
        candidates_KE: targets to tell apart. own_B: which of them is the row's own, int64.
        same_BK: candidates that equal the row's own target, the own one included; bool.
    """

    embedding_BE: Tensor
    target_BE: Tensor
    surface_BS: Tensor
    energies: Callable[[Tensor], Tensor]
    candidates_KE: Tensor
    own_B: Tensor
    same_BK: Tensor


def terms(losses: Losses, answers: Answers) -> dict[str, Tensor]:
    """The terms that are there, each a scalar, not yet weighted."""
    told: dict[str, Tensor] = {}
    if losses.cosine is not None:
        told["cosine"] = cosine(answers.embedding_BE, answers.target_BE)
    if losses.mse is not None:
        told["mse"] = mse_loss(answers.embedding_BE, answers.target_BE)
    if losses.surface is not None:
        told["surface"] = surface_agreement(answers, losses.surface)
    if losses.info_nce is not None:
        told["info_nce"] = info_nce(answers, losses.info_nce)
    return told


def total(losses: Losses, told: dict[str, Tensor]) -> Tensor:
    """The weighted sum, a scalar."""
    return torch.stack([getattr(losses, name).weight * told[name] for name in told]).sum()


def cosine(embedding_BE: Tensor, target_BE: Tensor) -> Tensor:
    """Mean of ``1 - cos(embedding, target)``, in [0, 2]."""
    return (1.0 - cosine_similarity(embedding_BE, target_BE)).mean()


def surface_agreement(answers: Answers, term: SurfaceTerm) -> Tensor:
    """Mean of ``1 - cos(surface, energies of the target)``, in [0, 2].

    The flows of an input should leave what the flows of its target would start from.
    """
    wanted_BS = answers.energies(answers.target_BE)
    if term.detach_target:
        wanted_BS = wanted_BS.detach()
    return cosine(answers.surface_BS, wanted_BS)


def info_nce(answers: Answers, term: InfoNCETerm) -> Tensor:
    """Mean of ``-log softmax(cos(embedding, candidates) / temperature)`` at the row's own target.

    van den Oord, Li and Vinyals, "Representation learning with contrastive predictive coding"
    (2018), from predictions to targets. Other rows' targets that equal the own one do not count.
    """
    cosine_BK = normalize(answers.embedding_BE) @ normalize(answers.candidates_KE).t()
    own_B1 = answers.own_B.unsqueeze(1)
    others_BK = answers.same_BK.scatter(1, own_B1, torch.zeros_like(own_B1, dtype=torch.bool))
    logits_BK = (cosine_BK / term.temperature).masked_fill(others_BK, -torch.inf)
    return cross_entropy(logits_BK, answers.own_B)
