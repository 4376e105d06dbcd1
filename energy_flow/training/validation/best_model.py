"""``BestModel``: the best weights of a training so far, and early stopping."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training.config import EarlyStoppingConfig
from energy_flow.training.retrieval import Retrieval
from energy_flow.training.store import TrainingStore


class BestModel:
    """The weights with the best figures on the held-out rows.

    Args:
        early_stopping: which figure counts, and when it has stopped improving.
        store: where the weights are kept; in memory if none.

    Attributes:
        figures: figures of the best model as plain JSON data, with its ``step``; none before the
            first validation.
        stale: number of validations since then.
    """

    def __init__(self, early_stopping: EarlyStoppingConfig, store: TrainingStore | None) -> None:
        self.figures: dict[str, Any] | None = None
        self.stale = 0
        self._early_stopping = early_stopping
        self._store = store
        self._weights: dict[str, Tensor] | None = None

    @property
    def is_out_of_patience(self) -> bool:
        """Whether there were too many validations without improvement."""
        patience = self._early_stopping.patience
        return patience is not None and self.stale >= patience

    def compare(self, processor: FlowProcessor, figures: Retrieval, step: int) -> None:
        """Keep a model if it is better than the best one so far.

        Args:
            processor: the model.
            figures: its figures on the held-out rows.
            step: number of optimiser steps done.
        """
        metric = self._early_stopping.metric
        best = -math.inf if self.figures is None else self.figures[metric]
        improves = getattr(figures, metric) > best + self._early_stopping.min_improvement
        if self.figures is not None and not improves:
            self.stale += 1
            return
        self.figures = {"step": step, **figures.to_dict()}
        self.stale = 0
        self.keep(processor)

    def keep(self, processor: FlowProcessor) -> None:
        """Keep the weights of a model.

        Args:
            processor: the model.
        """
        if self._store is not None:
            self._store.save_best(processor)
        else:
            weights = processor.state_dict()
            self._weights = {name: weight.clone() for name, weight in weights.items()}

    def load_into(self, processor: FlowProcessor, step: int) -> None:
        """Give a model the best weights.

        Args:
            processor: the model.
            step: number of optimiser steps that its weights have; if they are the best, or if
                there is no best model, nothing changes.
        """
        if self.figures is None or self.figures["step"] == step:
            return
        if self._store is not None:
            processor.load_state_dict(self._store.best().state_dict())
        elif self._weights is not None:
            processor.load_state_dict(self._weights)
