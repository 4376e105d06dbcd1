"""``Candidates``: the targets among which the predictions of a batch look for their own.

Shape legend: B rows, O output embedding width, K candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from energy_flow.choices import Negatives
from energy_flow.training.data import Pairs


class Candidates:
    """The targets among which the predictions of a batch look for their own, on a device.

    Args:
        train: rows to train on.
        rows: the rows of the batch among them, int64 [B].
        negatives: which targets there are besides the own one.
        device: where the tensors are.

    Attributes:
        candidates_KO: the targets.
        own_B: index of each row's own target among them, int64.
        same_BK: which candidates equal the row's own target, that target included, bool.
    """

    def __init__(
        self, train: Pairs, rows: NDArray[np.int64], negatives: Negatives, device: torch.device
    ) -> None:
        has_all = negatives is Negatives.TRAIN
        held = np.arange(len(train)) if has_all else rows
        ids = train.target_ids
        self.candidates_KO: Tensor = torch.tensor(train.targets[held], device=device)
        self.own_B: Tensor = torch.tensor(rows if has_all else np.arange(len(rows)), device=device)
        self.same_BK: Tensor = torch.tensor(ids[rows][:, None] == ids[held][None, :], device=device)

    def of_part(self, part: NDArray[np.int64]) -> dict[str, Any]:
        """Return the members of ``losses.Predictions`` for a part of the batch.

        Args:
            part: places of its rows in the batch, int64.
        """
        place = torch.tensor(part, device=self.own_B.device)
        return {
            "candidates_KO": self.candidates_KO,
            "own_B": self.own_B.index_select(0, place),
            "same_BK": self.same_BK.index_select(0, place),
        }
