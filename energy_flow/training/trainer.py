"""``Trainer``: one optimiser step at a time, over the same steps as inference.

A trainer has no thread and opens no file. It works while :meth:`Trainer.advance` runs, and a store
keeps its work. Between two calls it can wait for any time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from energy_flow.choices import TrainingEvent
from energy_flow.errors import ConfigError, NonFiniteError, TrainingFailed
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training.collapse_watch import CollapseWatch
from energy_flow.training.combinations import find_model_faults
from energy_flow.training.config import TrainConfig
from energy_flow.training.data import Pairs, TrainingRows, batch_rows, noise_seed
from energy_flow.training.footprint import require_fit, train_footprint
from energy_flow.training.gradients import backward, check_finite
from energy_flow.training.optimiser import Optimiser
from energy_flow.training.retrieval import Retrieval
from energy_flow.training.schedules import value_at
from energy_flow.training.store import Snapshot, TrainingStore, check_same_training
from energy_flow.training.validation.best_model import BestModel
from energy_flow.training.validation.measurement import Measurement

Event = dict[str, Any]
STATE_VERSION = 1
NO_EFFECT = (
    "no step has changed a weight; scale the inputs and targets to numbers near 1, lower the "
    "weights of the losses, or start from another model"
)
"""What to do where no step was done, so that the learning rate is not the cause."""


class Trainer:
    """Trains one model on pairs of embeddings.

    Args:
        config: what to compute.
        processor: the model. It belongs to the trainer until the training has ended, and then has
            the best weights.
        pairs: rows to train on and to hold out.
        val: rows on which the best model is measured once, at the end.
        store: keeps snapshots, the best model and events; nothing is kept if none.
        snapshot: of the same training, to resume from; its model is ``processor``.
        memory_limit_bytes: largest predicted memory; no limit if none.

    Raises:
        ConfigError: a loss term or a schedule does not suit the model, or the training may not fit
            in the memory.
        DataError: rows do not suit the model or the config.
        CheckpointError: the snapshot belongs to another training.

    Attributes:
        config: as given.
        processor: the model.
        train: rows to train on.
        held_out: rows of validations.
        val: rows to measure at the end.
        step: number of optimiser steps done, with those that were skipped.
        steps: number of optimiser steps of the training.
        steps_per_epoch: number of optimiser steps of an epoch.
        skipped: number of steps without effect, because a number was not finite.
        ended: whether nothing is left to do.
        predicted: predicted memory.
    """

    def __init__(
        self,
        config: TrainConfig,
        processor: FlowProcessor,
        pairs: Pairs,
        *,
        val: Pairs | None = None,
        store: TrainingStore | None = None,
        snapshot: Snapshot | None = None,
        memory_limit_bytes: int | None = None,
    ) -> None:
        self.config = config
        self.processor = processor
        model = processor.config
        plain = config.to_dict()
        if faults := find_model_faults(plain, model, model.embedding_dim, model.output_width):
            raise ConfigError(*faults)
        rows = TrainingRows.split(config, pairs, val, model)
        self.train, self.held_out, self.val = rows.train, rows.held_out, rows.val
        if memory_limit_bytes is not None:
            require_fit(config, model, len(rows), memory_limit_bytes, processor.device)
        self.predicted = train_footprint(config, model, len(rows), processor.device)
        self.steps_per_epoch = len(self.train) // config.batch.rows
        self.steps = config.length.steps or math.ceil(
            self.steps_per_epoch * (config.length.epochs or 0.0)
        )
        self.step = self.skipped = 0
        self.ended = False
        self._optimiser = Optimiser(processor, config.optimiser)
        self._store = store
        self._data_digest = rows.digest
        self._watch = CollapseWatch()
        self._best = BestModel(config.early_stopping, store)
        self._skipped_in_row = self._measured_at = 0
        self._measurement: Measurement | None = None
        self._last: Event | None = None
        self._skip_reason: str | None = None
        if snapshot is not None:
            self._restore(snapshot)

    @property
    def best(self) -> dict[str, Any] | None:
        """Figures of the best model on the held-out rows, with its step, as plain JSON data."""
        return self._best.figures

    @property
    def progress(self) -> dict[str, Any]:
        """How far the training is, as plain JSON data."""
        return {
            "step": self.step,
            "steps": self.steps,
            "epoch": self.step / self.steps_per_epoch,
            "skipped": self.skipped,
            "best": self.best,
            "last": self._last,
            "ended": self.ended,
        }

    def run(self) -> Iterator[Event]:
        """Advance until the training has ended.

        Yields:
            Every event, as :meth:`advance` returns it.
        """
        while not self.ended:
            yield self.advance()

    def advance(self) -> Event:
        """Do one optimiser step, or measure one batch of rows if a validation is due.

        Returns:
            What was done, as plain JSON data; ``kind`` is one of ``choices.TrainingEvent``.

        Raises:
            TrainingFailed: too many steps in a row were skipped, or all steps of the training.
            RuntimeError: the training has ended.
        """
        if self.ended:
            raise RuntimeError("the training has ended")
        event = self._next()
        if event["kind"] == TrainingEvent.MEASURING:
            return event
        self._last = event
        if self._store is not None:
            self._store.log(event)
            if self._is_snapshot_due() and not self.ended:
                self.save()
        return event

    def save(self) -> None:
        """Keep a snapshot from which the training is resumed with the same results."""
        if self._store is not None:
            snapshot = Snapshot(self.processor, self._optimiser.moments(), self._state())
            self._store.save(snapshot, self.config.checkpoints.keep)

    @property
    def _is_trained(self) -> bool:
        return self.step >= self.steps or self._best.is_out_of_patience

    def _is_validation_due(self) -> bool:
        due = self.step % self.config.validation.every == 0 or self._is_trained
        return due and self.step > self._measured_at and len(self.held_out) > 0

    def _is_snapshot_due(self) -> bool:
        due = self.step % self.config.checkpoints.every == 0 or self._is_trained
        return due and not self._is_validation_due()

    def _next(self) -> Event:
        """Do an optimiser step, measure a batch of rows, or end."""
        if self._is_trained and self.skipped == self.step:
            why = "" if self._skip_reason is None else f", the last because {self._skip_reason}"
            raise TrainingFailed(f"all {self.step} steps were skipped{why}; {NO_EFFECT}")
        if self._measurement is None:
            if self._is_validation_due():
                self._measurement = Measurement(self.held_out, self.config.validation.rows)
            elif not self._is_trained:
                return self._optimise()
            else:
                self._best.load_into(self.processor, self.step)
                if self.val is None:
                    return self._end(None)
                self._measurement = Measurement(self.val, self.config.validation.rows)
        self._measurement.advance(self.processor)
        if not self._measurement.is_complete:
            return {
                "kind": TrainingEvent.MEASURING.value,
                "step": self.step,
                "done": self._measurement.done,
                "rows": len(self._measurement.pairs),
            }
        measured, self._measurement = self._measurement, None
        figures = measured.figures()
        return self._end(figures) if measured.pairs is self.val else self._validate(figures)

    def _optimise(self) -> Event:
        """Do one optimiser step."""
        began = time.perf_counter()
        config, step, model = self.config, self.step, self.processor.config
        learning_rate = value_at(
            config.schedule.learning_rate, config.optimiser.learning_rate, step, self.steps
        )
        options = config.schedule.options_at(model, step, self.steps)
        event: Event = {
            "kind": TrainingEvent.STEP.value,
            "step": step + 1,
            "epoch": (step + 1) / self.steps_per_epoch,
            "learning_rate": learning_rate,
            **options,
            "skipped": None,
        }
        rows = batch_rows(len(self.train), config.batch.rows, config.seed, step)
        try:
            report = backward(
                self.processor, config, self.train, rows, options, noise_seed(config.seed, step)
            )
            check_finite(report)
        except (NonFiniteError, FloatingPointError) as error:
            event["skipped"] = str(error)
        else:
            event |= report
        self.step += 1
        if event["skipped"] is None:
            self._optimiser.step(learning_rate, event["gradient_norms"]["all"])
            self.processor.trained = True
            self._skipped_in_row = 0
            event["warnings"] = self._watch.update(event, model.max_displacement)
        else:
            self._skip(event["skipped"])
        event["seconds"] = time.perf_counter() - began
        event["rows_per_second"] = config.batch.rows / event["seconds"]
        return event

    def _skip(self, reason: str) -> None:
        self._optimiser.drop_gradients()
        self.skipped += 1
        self._skipped_in_row += 1
        self._skip_reason = reason
        if self._skipped_in_row >= self.config.max_skipped:
            advice = "lower optimiser.learning_rate or lengthen its warm-up"
            raise TrainingFailed(
                f"step {self.step}: {self._skipped_in_row} steps in a row were skipped, the last "
                f"because {reason}; {NO_EFFECT if self.skipped == self.step else advice}"
            )

    def _validate(self, figures: Retrieval) -> Event:
        """Compare the model with the best one so far."""
        self._measured_at = self.step
        self._best.compare(self.processor, figures, self.step)
        return {
            "kind": TrainingEvent.VALIDATION.value,
            "step": self.step,
            **figures.to_dict(),
            "is_best": self._best.stale == 0,
            "stale": self._best.stale,
        }

    def _end(self, figures: Retrieval | None) -> Event:
        self.ended = True
        if self.best is None:
            self._best.keep(self.processor)
        return {
            "kind": TrainingEvent.END.value,
            "step": self.step,
            "why": "length" if self.step >= self.steps else "early_stopping",
            "skipped": self.skipped,
            "held_out": self.best,
            "val": None if figures is None else figures.to_dict(),
        }

    def _state(self) -> dict[str, Any]:
        """Return what decides the following steps, besides weights and moments."""
        return {
            "version": STATE_VERSION,
            "step": self.step,
            "skipped": self.skipped,
            "skipped_in_row": self._skipped_in_row,
            "best": self.best,
            "stale": self._best.stale,
            "measured_at": self._measured_at,
            "signs": self._watch.seen,
            # Batches and noise are functions of these two; nothing else is random.
            "random": {"seed": self.config.seed, "step": self.step},
            "config": self.config.to_dict(),
            "data": self._data_digest,
        }

    def _restore(self, snapshot: Snapshot) -> None:
        state = snapshot.state
        check_same_training(state, self._state())
        self.step, self.skipped = state["step"], state["skipped"]
        self._skipped_in_row, self._measured_at = state["skipped_in_row"], state["measured_at"]
        self._best.figures, self._best.stale = state["best"], state["stale"]
        self._watch.seen = dict(state["signs"])
        self._optimiser.restore(snapshot.moments)
