"""``TrainingFolder``: snapshots to resume from, the best model, and the log of a training.

Weights and moments are ``.safetensors``, the rest is JSON; no file is unpickled. A snapshot is
complete or absent, so a training that was killed is resumed from the last one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Protocol

from torch import Tensor

from energy_flow.errors import CheckpointError, ConfigError, DamagedTrainingError, Fault
from energy_flow.runtime.safetensors_file import SafetensorsFile
from energy_flow.simulation import checkpoint
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.training.config import TrainConfig
from energy_flow.training.event_log import EventLog
from energy_flow.training.training_files import CHECKPOINTS, find_snapshots

MODEL, OPTIMISER, STATE = "model.safetensors", "optimiser.safetensors", "state.json"
DIGESTS = "digests.json"

RESTORE = "restore it from a backup"
"""What to do about a damaged file."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A training between two steps.

    Attributes:
        processor: the model.
        moments: the optimiser's tensors, by parameter and name.
        state: everything else, as plain JSON data.
    """

    processor: FlowProcessor
    moments: Mapping[str, Tensor]
    state: Mapping[str, Any]


class TrainingStore(Protocol):
    """Where a trainer keeps its work."""

    def save(self, snapshot: Snapshot, keep: int) -> None:
        """Keep a snapshot and the ``keep - 1`` before it."""

    def save_best(self, processor: FlowProcessor) -> None:
        """Keep the best model so far."""

    def best(self) -> FlowProcessor:
        """Return the model that was kept last."""

    def log(self, event: Mapping[str, Any]) -> None:
        """Keep an event."""


class ResumableStore(TrainingStore, Protocol):
    """Where a trainer keeps its work, and from where it is resumed."""

    def has_snapshot(self) -> bool:
        """Return whether there is a snapshot to resume from."""

    def latest(self, device: str) -> Snapshot:
        """Return the last snapshot, with its tensors on a device."""

    def rewind(self, step: int) -> None:
        """Remove the events after a step, from which the training is resumed."""


class TrainingFolder:
    """A training in a folder.

    ::

        model.safetensors         the best model so far
        digests.json              its SHA-256, and that of the one before
        checkpoints/step-00000200/
            model.safetensors     weights
            optimiser.safetensors moments
            state.json            counters, random state, early stopping, the config
            digests.json          SHA-256 of each of these files
        events.jsonl              events of the trainer, a line each
        tensorboard/              the same as curves

    Args:
        path: the folder; created with the first file.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._events = EventLog(self.path)

    def has_snapshot(self) -> bool:
        """Return whether there is a snapshot to resume from."""
        return bool(find_snapshots(self.path))

    def save(self, snapshot: Snapshot, keep: int) -> None:
        """Keep a snapshot and the ``keep - 1`` before it.

        Args:
            snapshot: the training after a step; a snapshot of the same step is left as it is.
            keep: number of snapshots to keep.

        Raises:
            OSError: a file cannot be written; earlier snapshots stay as they were.
        """
        place = self._checkpoints / f"step-{snapshot.state['step']:08d}"
        if place.exists():
            return
        # A training that is killed later and resumed from here does not log these events again.
        self._events.flush()
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=self._checkpoints, prefix=".writing-"))
        try:
            checkpoint.save(snapshot.processor, temporary / MODEL)
            checkpoint.save_tensors(snapshot.moments, temporary / OPTIMISER)
            (temporary / STATE).write_text(json.dumps(snapshot.state, indent=1), encoding="utf-8")
            digests = {name: _digest(temporary / name) for name in (MODEL, OPTIMISER, STATE)}
            (temporary / DIGESTS).write_text(json.dumps(digests, indent=1), encoding="utf-8")
            for name in (OPTIMISER, STATE, DIGESTS):
                _fsync(temporary / name)
            _fsync(temporary)
            temporary.rename(place)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _fsync(self._checkpoints)
        for old in find_snapshots(self.path)[:-keep]:
            shutil.rmtree(old)
        for incomplete in self._checkpoints.glob(".writing-*"):
            shutil.rmtree(incomplete)

    def latest(self, device: str) -> Snapshot:
        """Return the last snapshot.

        Args:
            device: where its tensors are to be.

        Raises:
            DamagedTrainingError: one of its files is damaged or lost.
            CheckpointError: there is none.
        """
        snapshots = find_snapshots(self.path)
        if not snapshots:
            raise CheckpointError(Fault((), f"{self.path} holds no snapshot to resume from"))
        place = snapshots[-1]
        advice = _advise(place)
        _check_snapshot(place)
        with _reporting_damage(place / STATE, advice):
            state = json.loads((place / STATE).read_text(encoding="utf-8"))
        with (
            _reporting_damage(place / OPTIMISER, advice),
            (place / OPTIMISER).open("rb") as opened,
        ):
            file = SafetensorsFile(opened)
            moments = {name: file.read(name).to(device) for name in file.names}
        with _reporting_damage(place / MODEL, advice):
            processor = checkpoint.load(place / MODEL, device)
        return Snapshot(processor, moments, state)

    def save_best(self, processor: FlowProcessor) -> None:
        """Keep the best model so far.

        Args:
            processor: the model.

        Raises:
            OSError: the file cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f"{MODEL}.part"
        checkpoint.save(processor, temporary)
        # Both, so that a crash before the file has its name leaves one with its digest.
        digests = [_digest(temporary)]
        with suppress(DamagedTrainingError):
            digests += self._read_best_digests()[:1]
        _write_json(self.path / DIGESTS, {MODEL: digests})
        temporary.replace(self.path / MODEL)
        _fsync(self.path)

    def best(self) -> FlowProcessor:
        """Return the model that was kept last.

        Raises:
            DamagedTrainingError: its file is damaged or lost.
        """
        self.check_best()
        with _reporting_damage(self.path / MODEL, RESTORE):
            return checkpoint.load(self.path / MODEL)

    def check_best(self) -> None:
        """Compare the model that was kept last with its digest; earlier versions stored none.

        Raises:
            DamagedTrainingError: its file is damaged or lost.
        """
        while True:
            known = self._read_best_digests()
            with _reporting_damage(self.path / MODEL, RESTORE):
                found = _digest(self.path / MODEL)
            if not known or found in known:
                return
            if self._read_best_digests() == known:
                raise DamagedTrainingError(self.path / MODEL, "it has changed", RESTORE)

    def find_damages(self) -> Iterator[DamagedTrainingError]:
        """Yield what is wrong with the best model and the snapshots, while they may change."""
        checks: list[tuple[Path, Callable[[], None]]] = []
        if (self.path / DIGESTS).exists():
            checks.append((self.path / DIGESTS, self.check_best))
        checks += [(place, partial(_check_snapshot, place)) for place in find_snapshots(self.path)]
        for place, check in checks:
            try:
                check()
            except DamagedTrainingError as damage:
                # Old snapshots are removed while a training goes on, and all at its end.
                if place.exists():
                    yield damage

    def log(self, event: Mapping[str, Any]) -> None:
        """Keep an event.

        Args:
            event: as ``Trainer.advance`` returns it.

        Raises:
            OSError: a file cannot be written.
        """
        self._events.append(event)

    def rewind(self, step: int) -> None:
        """Remove the events after a step, from which the training is resumed.

        Args:
            step: last step whose events are kept.

        Raises:
            DamagedTrainingError: their file is damaged.
        """
        with _reporting_damage(self._events.path, RESTORE):
            self._events.rewind(step)

    def curves(self, max_steps: int) -> dict[str, list[float | None]]:
        """Return the numbers of the events as columns, as :meth:`EventLog.curves`.

        Args:
            max_steps: most optimiser steps, evenly spaced; there are validations besides.
        """
        return self._events.curves(max_steps)

    def _read_best_digests(self) -> list[str]:
        """Return the digests that the best model may have, the newest first.

        Raises:
            DamagedTrainingError: the digests are damaged.
        """
        path = self.path / DIGESTS
        with _reporting_damage(path, RESTORE):
            if not path.exists():
                return []
            return [str(digest) for digest in json.loads(path.read_bytes())[MODEL]]

    @property
    def _checkpoints(self) -> Path:
        return self.path / CHECKPOINTS


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, data: Any) -> None:
    """Write a small file that appears complete or not at all."""
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")
    _fsync(temporary)
    temporary.replace(path)


def _advise(place: Path) -> str:
    return f"{RESTORE}, or remove {place.name} to resume from an earlier snapshot"


def _check_snapshot(place: Path) -> None:
    """Compare the files of a snapshot with their digests.

    Raises:
        DamagedTrainingError: one is damaged or lost.
    """
    advice = _advise(place)
    for name, digest in _read_digests(place, advice).items():
        with _reporting_damage(place / name, advice):
            if _digest(place / name) != digest:
                raise ValueError("it has changed")


def _read_digests(place: Path, advice: str) -> dict[str, str]:
    """Return the digests of the files of a snapshot by name; earlier versions stored none.

    Raises:
        DamagedTrainingError: the digests are damaged.
    """
    path = place / DIGESTS
    with _reporting_damage(path, advice):
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


@contextmanager
def _reporting_damage(path: Path, advice: str) -> Iterator[None]:
    """Read a file within a block, and report an error as damage to it.

    Raises:
        DamagedTrainingError: the file cannot be used.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise DamagedTrainingError(path, why, advice) from error


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_same_training(kept: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse a snapshot of another training.

    Files may have been moved: rows to train on are compared by their digest, other files by their
    name. A kept config may lack fields that have a default.

    Args:
        kept: state of the snapshot, as ``Snapshot.state``.
        own: state of the training that is to be resumed.

    Raises:
        CheckpointError: with every difference.
    """
    faults = [
        Fault((name,), "the snapshot belongs to another training", kept.get(name))
        for name in ("version", "data")
        if kept.get(name) != own[name]
    ]
    before = _without_folders(_complete(kept.get("config", {})))
    faults += _find_differences(before, _without_folders(own["config"]), ("config",))
    if faults:
        raise CheckpointError(*faults)


def _find_differences(
    before: Mapping[str, Any], now: Mapping[str, Any], loc: tuple[str, ...]
) -> list[Fault]:
    """Return a fault for every field whose values differ, not for the groups around it.

    Args:
        before: fields of the snapshot.
        now: the same of the training that is to be resumed.
        loc: names of the groups around them.
    """
    faults: list[Fault] = []
    # The fields keep the order of the config.
    for name in (*now, *(name for name in before if name not in now)):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            faults += _find_differences(old, new, (*loc, name))
        elif old != new:
            faults.append(Fault((*loc, name), f"the snapshot was trained with {old!r}", new))
    return faults


def _complete(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config with the defaults of the fields that it lacks."""
    try:
        return TrainConfig.from_dict(config).to_dict()
    except ConfigError:
        # Another version accepted it; the fields that differ are reported.
        return config


def _without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    data, model = dict(config.get("data", {})), dict(config.get("model", {}))
    data.pop("train", None)
    for group, name in ((data, "val"), (model, "checkpoint")):
        if group.get(name) is not None:
            group[name] = PurePath(group[name]).name
    return {**config, "data": data, "model": model}
