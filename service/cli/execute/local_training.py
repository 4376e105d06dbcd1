"""Train in this process; needs ``energy-flow[sim]``."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from energy_flow.choices import TrainingEvent
from energy_flow.errors import EnergyFlowError
from energy_flow.runtime.device import resolve_device
from energy_flow.runtime.limits import memory_limit
from energy_flow.runtime.process import configure_process
from energy_flow.simulation.model_footprint import parameter_count
from energy_flow.training import Trainer
from energy_flow.training.start import from_files
from service.cli.execute.training_start import TrainingStart
from service.cli.input.terminal import activity, count_things, print_note

MEBIBYTE = 2**20
MAX_PLAIN = 1e6
"""Figures of this magnitude and above are shown with an exponent."""


def train(start: TrainingStart, *, device: str, memory_share: float) -> Trainer:
    """Train to the end, or until SIGINT or SIGTERM, and show the progress.

    Args:
        start: the config, the folder and the pairs.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        memory_share: share of the device's memory that the training may use.

    Returns:
        The trainer; ``ended`` is false after a signal, which saved a checkpoint.

    Raises:
        CommandFailed: the training is refused or fails.
    """
    configure_process()
    try:
        place = resolve_device(device)
        limit = memory_limit(place, memory_share)
        trainer = from_files(
            start.config,
            start.folder,
            resume=start.resume,
            device=place,
            memory_limit_bytes=limit,
            read=start.pairs,
        )
        print_note(_describe_start(trainer))
        for warning in start.config.warnings(trainer.processor.config):
            print_note(f"warning: {warning}")
        _run(trainer)
    except EnergyFlowError as error:
        raise start.refuse(error) from error
    return trainer


def summary(progress: Mapping[str, Any], out: Path) -> str:
    """Return the result of a training in a few lines for people.

    Args:
        progress: value of ``Trainer.progress`` after the end.
        out: the folder of the training.
    """
    end = progress["last"]
    steps = count_things(end["step"], "step")
    lines = [f"{steps}, {end['skipped']} skipped; ended by {end['why']}"]
    if end["held_out"] is not None:
        best = end["held_out"]
        lines.append(f"held out, best at step {best['step']:,}: {_describe_figures(best)}")
    if end["val"] is not None:
        lines.append(f"val: {_describe_figures(end['val'])}")
    lines.append(f"written to {out}: model.safetensors, events.jsonl, checkpoints, tensorboard")
    return "\n".join(lines)


def _describe_start(trainer: Trainer) -> str:
    config = trainer.config
    return (
        f"{parameter_count(trainer.processor.config):,} parameters; {len(trainer.train):,} rows to "
        f"train on, {len(trainer.held_out):,} held out; {trainer.steps:,} steps of "
        f"{config.batch.rows:,} rows, {trainer.step:,} of them done; back-propagation "
        f"{config.back_propagation.mode}, at most {trainer.predicted.total / MEBIBYTE:,.0f} MiB"
    )


def _run(trainer: Trainer) -> None:
    title = f"training on {trainer.processor.device}"
    with _stop_requests() as stop, activity(title) as shown:
        for event in trainer.run():
            if event["kind"] in (TrainingEvent.STEP, TrainingEvent.MEASURING):
                shown.advance(trainer.step, trainer.steps, _describe_progress(trainer, event))
            for text in _notes(event):
                shown.note(text)
            if stop.is_set() and not trainer.ended:
                trainer.save()
                return


def _describe_progress(trainer: Trainer, event: Mapping[str, Any]) -> str:
    step = f"step {trainer.step:,} of {trainer.steps:,}"
    if event["kind"] == TrainingEvent.MEASURING:
        return f"{step}, measured {event['done']:,} of {event['rows']:,} rows"
    if event["skipped"] is not None:
        return step
    return f"{step}, loss {_format(event['loss'])}, {event['rows_per_second']:.1f} rows/s"


def _notes(event: Mapping[str, Any]) -> list[str]:
    """Return the lines about an event that must remain on the screen."""
    match event["kind"]:
        case TrainingEvent.STEP:
            notes = [f"step {event['step']}: warning: {text}" for text in event.get("warnings", ())]
            if event["skipped"] is not None:
                notes.append(f"step {event['step']}: skipped, {event['skipped']}")
            return notes
        case TrainingEvent.VALIDATION:
            best = ", the best so far" if event["is_best"] else ""
            return [f"step {event['step']}: held out: {_describe_figures(event)}{best}"]
        case _:
            return []


def _describe_figures(figures: Mapping[str, Any]) -> str:
    # Figures of version 0.1 have no R².
    r2 = f", R² {_format(figures['r2'])}" if "r2" in figures else ""
    return (
        f"cosine {figures['cosine']:.4f}{r2}, top 1 {figures['top_1']:.1%}, top 10 "
        f"{figures['top_10']:.1%}, median rank {figures['median_rank']:g} of {figures['rows']:,}"
    )


def _format(figure: float) -> str:
    """Return a figure that may have any magnitude in few characters."""
    return f"{figure:.4f}" if abs(figure) < MAX_PLAIN else f"{figure:.2e}"


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Set an event at the first SIGINT or SIGTERM; a second one interrupts the step.

    Yields:
        The event.
    """
    requested = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
