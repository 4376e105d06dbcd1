"""``Trainer``: one optimiser step after the other, over the same steps as inference.

It owns no thread and opens no file: whoever calls :meth:`Trainer.advance` decides when it works,
and a store keeps what it has. Between two calls it can be left alone for as long as one likes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from energy_flow.errors import CheckpointError, DataError, Fault, NonFiniteError, TrainingFailed
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training.config import TrainConfig
from energy_flow.training.data import Pairs, batch_rows, noise_seed
from energy_flow.training.diagnostics import Watch
from energy_flow.training.footprint import require_fit, train_footprint
from energy_flow.training.gradients import backward
from energy_flow.training.measurement import Measurement
from energy_flow.training.optimiser import Optimiser
from energy_flow.training.retrieval import Retrieval
from energy_flow.training.schedules import value_at
from energy_flow.training.store import Snapshot, TrainingStore

Event = dict[str, Any]
STATE_VERSION = 1
LEAST_HELD_OUT = 2


class Trainer:
    """Trains one model on pairs of embeddings.

    Args:
        config: what to compute.
        processor: the model. It is the trainer's until the training has ended, and then holds the
            best weights.
        pairs: rows to train on and to hold out.
        val: rows to measure the best model on, once, at the end.
        store: where snapshots, the best model and events are kept; by default nowhere.
        snapshot: of the very same training, to go on from; its model is ``processor``.
        memory_limit_bytes: what it may need by prediction; no limit if none.

    Raises:
        ConfigError: it may not fit into that.
        DataError: rows that do not fit the model or the config.
        CheckpointError: the snapshot is of another training.

    Attributes:
        step: optimiser steps done, the skipped ones included. steps: of the whole training.
        skipped: steps without effect, because a number was not finite.
        ended: whether there is nothing left to do.
        best: figures of the best model so far on the held-out rows, with its step.
        predicted: bytes that it will need at most.
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
        self.train, self.held_out = pairs.split(config.data.held_out, config.data.held_out_seed)
        self.val = val
        self._check_data(pairs)
        rows = len(pairs) + (0 if val is None else len(val))
        if memory_limit_bytes is not None:
            require_fit(config, processor.config, rows, memory_limit_bytes, processor.device)
        self.predicted = train_footprint(config, processor.config, rows, processor.device)
        self.steps_per_epoch = len(self.train) // config.batch.rows
        self.steps = config.length.steps or math.ceil(
            self.steps_per_epoch * (config.length.epochs or 0.0)
        )
        self.step = self.skipped = 0
        self.ended = False
        self.best: dict[str, Any] | None = None
        self._optimiser = Optimiser(processor, config.optimiser)
        self._store = store
        self._data_digest = pairs.digest()
        self._watch = Watch()
        self._skipped_in_row = self._stale = self._measured_at = 0
        self._best_weights: dict[str, Tensor] | None = None
        self._measurement: Measurement | None = None
        self._last: Event | None = None
        if snapshot is not None:
            self._restore(snapshot)

    def run(self) -> Iterator[Event]:
        """Works until the training has ended, telling every event."""
        while not self.ended:
            yield self.advance()

    def advance(self) -> Event:
        """Does one optimiser step, or measures one batch of rows where that is due.

        Returns:
            What was done, as plain JSON data; its ``kind`` is ``step``, ``measuring``,
            ``validation`` or ``end``.

        Raises:
            TrainingFailed: too many steps in a row were skipped.
            RuntimeError: the training has ended.
        """
        if self.ended:
            raise RuntimeError("the training has ended")
        event = self._next()
        if event["kind"] == "measuring":
            return event
        self._last = event
        if self._store is not None:
            self._store.tell(event)
            if self._is_snapshot_due() and not self.ended:
                self.save()
        return event

    @property
    def progress(self) -> dict[str, Any]:
        """How far it is, as plain JSON data."""
        return {
            "step": self.step,
            "steps": self.steps,
            "epoch": self.step / self.steps_per_epoch,
            "skipped": self.skipped,
            "best": self.best,
            "last": self._last,
            "ended": self.ended,
        }

    def save(self) -> None:
        """Keeps a snapshot, from which a training goes on as if it had never stopped."""
        if self._store is not None:
            snapshot = Snapshot(self.processor, self._optimiser.moments(), self._state())
            self._store.save(snapshot, self.config.checkpoints.keep)

    def _optimise(self) -> Event:
        """One optimiser step on one batch of rows."""
        began = time.perf_counter()
        config, step, model = self.config, self.step, self.processor.config
        size = config.batch.rows

        def scheduled(name: str, own: float) -> float:
            return value_at(getattr(config.schedule, name), own, step, self.steps)

        learning_rate = scheduled("learning_rate", config.optimiser.learning_rate)
        options = {
            name: scheduled(name, getattr(model, name))
            for name in ("displacement_scale", "noise_std")
        }
        event: Event = {
            "kind": "step",
            "step": step + 1,
            "epoch": (step + 1) / self.steps_per_epoch,
            "learning_rate": learning_rate,
            **options,
            "skipped": None,
        }
        rows = batch_rows(len(self.train), size, config.seed, step)
        try:
            told = backward(
                self.processor, config, self.train, rows, options, noise_seed(config.seed, step)
            )
            _refuse_non_finite(told)
        except (NonFiniteError, FloatingPointError) as error:
            event["skipped"] = str(error)
        else:
            event |= told
        self.step += 1
        if event["skipped"] is None:
            self._optimiser.step(learning_rate, event["gradient_norms"]["all"])
            self.processor.trained = True
            self._skipped_in_row = 0
            event["warnings"] = self._watch.look(event, model.max_displacement)
        else:
            self._skip(event["skipped"])
        event["seconds"] = time.perf_counter() - began
        event["rows_per_second"] = size / event["seconds"]
        return event

    def _skip(self, why: str) -> None:
        self._optimiser.forget()
        self.skipped += 1
        self._skipped_in_row += 1
        if self._skipped_in_row >= self.config.max_skipped:
            raise TrainingFailed(
                f"step {self.step}: {self._skipped_in_row} steps in a row were skipped, the last "
                f"because {why}; lower optimiser.learning_rate or lengthen its warm-up"
            )

    @property
    def _has_trained(self) -> bool:
        patience = self.config.early_stopping.patience
        return self.step >= self.steps or (patience is not None and self._stale >= patience)

    def _is_validation_due(self) -> bool:
        due = self.step % self.config.validation.every == 0 or self._has_trained
        return due and self.step > self._measured_at and len(self.held_out) > 0

    def _is_snapshot_due(self) -> bool:
        due = self.step % self.config.checkpoints.every == 0 or self._has_trained
        return due and not self._is_validation_due()

    def _next(self) -> Event:
        """What comes next: an optimiser step, a batch of rows to measure, or the end."""
        if self._measurement is None:
            if self._is_validation_due():
                self._measurement = Measurement(self.held_out, self.config.validation.rows)
            elif not self._has_trained:
                return self._optimise()
            else:
                self._take_best()
                if self.val is None:
                    return self._end(None)
                self._measurement = Measurement(self.val, self.config.validation.rows)
        self._measurement.advance(self.processor)
        if not self._measurement.is_complete:
            rows = len(self._measurement.pairs)
            return {
                "kind": "measuring",
                "step": self.step,
                "done": self._measurement.done,
                "rows": rows,
            }
        measured, self._measurement = self._measurement, None
        figures = measured.figures()
        return self._end(figures) if measured.pairs is self.val else self._judge(figures)

    def _judge(self, figures: Retrieval) -> Event:
        """Compares the model with the best so far."""
        stopping = self.config.early_stopping
        self._measured_at = self.step
        least = -math.inf if self.best is None else self.best[stopping.metric]
        better = getattr(figures, stopping.metric) > least + stopping.min_improvement
        if self.best is None or better:
            self.best = {"step": self.step, **figures.to_dict()}
            self._stale = 0
            self._keep_best()
        else:
            self._stale += 1
        return {
            "kind": "validation",
            "step": self.step,
            **figures.to_dict(),
            "is_best": self._stale == 0,
            "stale": self._stale,
        }

    def _end(self, figures: Retrieval | None) -> Event:
        self.ended = True
        if self.best is None:
            self._keep_best()
        return {
            "kind": "end",
            "step": self.step,
            "why": "length" if self.step >= self.steps else "early_stopping",
            "skipped": self.skipped,
            "held_out": self.best,
            "val": None if figures is None else figures.to_dict(),
        }

    def _keep_best(self) -> None:
        if self._store is not None:
            self._store.save_best(self.processor)
        else:
            weights = self.processor.state_dict()
            self._best_weights = {name: weight.clone() for name, weight in weights.items()}

    def _take_best(self) -> None:
        """Gives the model its best weights."""
        if self.best is None or self.best["step"] == self.step:
            return
        if self._store is not None:
            self.processor.load_state_dict(self._store.best().state_dict())
        elif self._best_weights is not None:
            self.processor.load_state_dict(self._best_weights)

    def _state(self) -> dict[str, Any]:
        """All that decides what comes next, besides weights and moments."""
        return {
            "version": STATE_VERSION,
            "step": self.step,
            "skipped": self.skipped,
            "skipped_in_row": self._skipped_in_row,
            "best": self.best,
            "stale": self._stale,
            "measured_at": self._measured_at,
            "signs": self._watch.seen,
            # Batches and noise are functions of these two; nothing else is random.
            "random": {"seed": self.config.seed, "step": self.step},
            "config": self.config.to_dict(),
            "data": self._data_digest,
        }

    def _restore(self, snapshot: Snapshot) -> None:
        state = snapshot.state
        own = self._state()
        faults = [
            Fault((name,), "the checkpoint is of another training", state.get(name))
            for name in ("version", "data")
            if state.get(name) != own[name]
        ]
        faults += [
            Fault(("config", name), f"the checkpoint was trained with {kept!r}", value)
            for name, value in own["config"].items()
            if (kept := state.get("config", {}).get(name)) != value
        ]
        if faults:
            raise CheckpointError(*faults)
        self.step, self.skipped = state["step"], state["skipped"]
        self._skipped_in_row, self._stale = state["skipped_in_row"], state["stale"]
        self.best, self._measured_at = state["best"], state["measured_at"]
        self._watch.seen = dict(state["signs"])
        self._optimiser.restore(snapshot.moments)

    def _check_data(self, pairs: Pairs) -> None:
        config, width = self.config, self.processor.config.embedding_dim
        faults = [
            Fault(("data", name), f"must be {width} wide, as the model is", given.width)
            for name, given in (("train", pairs), ("val", self.val))
            if given is not None and given.width != width
        ]
        if len(self.train) < config.batch.rows:
            message = f"leaves {len(self.train)} rows to train on, less than batch.rows"
            faults.append(Fault(("data", "train"), message, config.batch.rows))
        if config.data.held_out > 0 and len(self.held_out) < LEAST_HELD_OUT:
            message = f"holds out {len(self.held_out)} rows, too few to measure anything"
            faults.append(Fault(("data", "held_out"), message, config.data.held_out))
        if faults:
            raise DataError(*faults)


def _refuse_non_finite(told: Mapping[str, Any]) -> None:
    """Raises FloatingPointError naming the first number that is not finite."""
    numbers = {
        **{f"loss term {name}": value for name, value in told["terms"].items()},
        **{f"gradient of the {name}": value for name, value in told["gradient_norms"].items()},
    }
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"the {name} is {value}")
