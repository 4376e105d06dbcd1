"""Where a training keeps what it has: checkpoints to go on from, the best model, its log.

Weights and moments are ``.safetensors``, the rest is JSON; nothing is ever unpickled. Files appear
whole or not at all, so that a training that was killed goes on from the last one.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from energy_flow.errors import CheckpointError, Fault
from energy_flow.simulation import checkpoint
from energy_flow.simulation.flow_processor import FlowProcessor

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

MODEL, OPTIMISER, STATE = "model.safetensors", "optimiser.safetensors", "state.json"
GROUPS = {"step": "train", "validation": "held_out", "end": "end"}
"""What the curves of an event are called by, by its kind."""
CHECKPOINTS, EVENTS = "checkpoints", "events.jsonl"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A training between two steps.

    Attributes:
        processor: the model. moments: the optimiser's tensors, by parameter and name.
        state: everything else, as plain JSON data.
    """

    processor: FlowProcessor
    moments: Mapping[str, Tensor]
    state: Mapping[str, Any]


class TrainingStore(Protocol):
    """What a trainer asks of the place that keeps its work."""

    def save(self, snapshot: Snapshot, keep: int) -> None:
        """Keeps a snapshot and the ``keep - 1`` before it."""

    def save_best(self, processor: FlowProcessor) -> None:
        """Keeps the model with the best figures so far."""

    def best(self) -> FlowProcessor:
        """The model that was kept last."""

    def tell(self, event: Mapping[str, Any]) -> None:
        """Keeps a line of the log."""


class TrainingFolder:
    """Keeps a training in a folder.

    ::

        model.safetensors         the best model so far
        checkpoints/step-00000200/
            model.safetensors     weights
            optimiser.safetensors moments
            state.json            counters, random state, early stopping, the config
        events.jsonl              what the trainer told, a line each
        tensorboard/              the same as curves
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._curves: SummaryWriter | None = None

    @property
    def _checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    def is_empty(self) -> bool:
        """Whether no training has been kept here."""
        return not self._steps() and not (self.path / EVENTS).exists()

    def has_snapshot(self) -> bool:
        """Whether there is something to go on from."""
        return bool(self._steps())

    def save(self, snapshot: Snapshot, keep: int) -> None:
        """Keeps a snapshot and the ``keep - 1`` before it.

        Raises:
            OSError: it cannot be written; what was kept before is as it was.
        """
        place = self._checkpoints / f"step-{snapshot.state['step']:08d}"
        if place.exists():
            return
        if self._curves is not None:
            # A training that is killed and goes on from here does not tell them again.
            self._curves.flush()
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=self._checkpoints, prefix=".writing-"))
        try:
            checkpoint.save(snapshot.processor, temporary / MODEL)
            save_file(dict(snapshot.moments), temporary / OPTIMISER)
            (temporary / STATE).write_text(json.dumps(snapshot.state, indent=1), encoding="utf-8")
            for name in (OPTIMISER, STATE):
                _make_durable(temporary / name)
            _make_durable(temporary)
            temporary.rename(place)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _make_durable(self._checkpoints)
        for old in self._steps()[:-keep]:
            shutil.rmtree(old)
        for left in self._checkpoints.glob(".writing-*"):
            shutil.rmtree(left)

    def latest(self, device: str) -> Snapshot:
        """The last snapshot.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        steps = self._steps()
        if not steps:
            raise CheckpointError(Fault((), f"{self.path} holds no checkpoint to go on from"))
        place = steps[-1]
        try:
            state = json.loads((place / STATE).read_text(encoding="utf-8"))
            moments = load_file(place / OPTIMISER, device=device)
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(Fault((), f"{place} is damaged: {error}")) from None
        return Snapshot(checkpoint.load(place / MODEL, device), moments, state)

    def save_best(self, processor: FlowProcessor) -> None:
        """Keeps the model with the best figures so far."""
        self.path.mkdir(parents=True, exist_ok=True)
        checkpoint.save(processor, self.path / MODEL)

    def best(self) -> FlowProcessor:
        """The model that was kept last."""
        return checkpoint.load(self.path / MODEL)

    def tell(self, event: Mapping[str, Any]) -> None:
        """Appends a line to the log, and points to the curves."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / EVENTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        curves = self._writer(event["step"])
        for name, value in _numbers(event):
            curves.add_scalar(f"{GROUPS[event['kind']]}/{name}", value, event["step"])
        if event["kind"] == "end":
            self.close()

    def rewind(self, step: int) -> None:
        """Forgets what was told of later steps, which will be done again."""
        log = self.path / EVENTS
        if log.exists():
            kept = [
                line
                for line in log.read_text(encoding="utf-8").splitlines(keepends=True)
                # A line that was cut off is a later one.
                if line.endswith("\n") and _is_before(json.loads(line), step)
            ]
            log.write_text("".join(kept), encoding="utf-8")

    def curves(self, most: int) -> dict[str, list[float | None]]:
        """What was told so far, as columns of numbers.

        Args:
            most: optimiser steps to tell of, evenly spread; validations come on top.

        Returns:
            ``step``, ascending, and columns as long under the names that TensorBoard shows;
            ``None`` where an event has no such number.
        """
        events: list[dict[str, Any]] = []
        if (self.path / EVENTS).exists():
            with (self.path / EVENTS).open(encoding="utf-8") as lines:
                # The last line may be half written.
                events = [json.loads(line) for line in lines if line.endswith("\n")]
        steps = [event["step"] for event in events if event["kind"] == "step"]
        apart = max(1, -(-len(steps) // most))
        # Counted from the newest, so that it is always among them.
        kept = set(steps[::-apart])
        rows = [
            (event["step"], {f"{GROUPS[event['kind']]}/{name}": v for name, v in _numbers(event)})
            for event in events
            if event["kind"] != "step" or event["step"] in kept
        ]
        names = dict.fromkeys(name for _, numbers in rows for name in numbers)
        columns: dict[str, list[float | None]] = {"step": [float(step) for step, _ in rows]}
        return columns | {name: [numbers.get(name) for _, numbers in rows] for name in names}

    def close(self) -> None:
        """Writes out what is still in memory."""
        if self._curves is not None:
            self._curves.close()
            self._curves = None

    def _writer(self, step: int) -> SummaryWriter:
        if self._curves is None:
            from tensorboardX import SummaryWriter

            # Points of later steps, from before a training was killed, are hidden. The suffix
            # keeps a file that was begun in the same second from being written over.
            self._curves = SummaryWriter(
                str(self.path / "tensorboard"), purge_step=step, filename_suffix=f".{step:08d}"
            )
        return self._curves

    def _steps(self) -> list[Path]:
        return sorted(self._checkpoints.glob("step-*"))


def _is_before(event: Mapping[str, Any], step: int) -> bool:
    return bool(event["step"] <= step and event["kind"] != "end")


def _numbers(event: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """The numbers of an event with their names; groups are joined with a slash."""
    found: list[tuple[str, float]] = []
    for name, value in event.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name != "step":
            found.append((prefix + name, float(value)))
    return found


def _make_durable(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
