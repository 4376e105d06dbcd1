"""``energy-flow train``: trains a model in this process; needs torch."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.input.assignments import parse_assignments
from service.cli.input.failures import EXIT_INTERRUPTED, CommandFailed, needing_server_extra
from service.cli.input.options import AsJson
from service.cli.input.terminal import activity, print_json, print_note, print_text
from service.cli.input.toml_file import read_toml

if TYPE_CHECKING:
    from energy_flow.training import Trainer


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="What to train, on what and how.")
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder for the model, checkpoints, log and curves."),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the config; repeatable."),
    ] = None,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:N.")] = "auto",
    memory_limit: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the device's memory that it may need."),
    ] = 0.85,
    as_json: AsJson = False,
) -> None:
    """Train a model on pairs of embeddings.

    Stops cleanly when interrupted (Ctrl-C); with --resume it goes on as if it had never stopped.
    """
    fields, changes = read_toml(config), parse_assignments(assignments or ())
    with needing_server_extra("training"):
        from energy_flow.errors import EnergyFlowError
        from energy_flow.runtime.malloc import keep_freed
    keep_freed()
    try:
        trainer = _trainer(fields, changes, out, resume, device, memory_limit)
        print_note(_opening(trainer))
        for warning in trainer.config.warnings():
            print_note(f"warning: {warning}")
        is_complete = _work(trainer)
    except EnergyFlowError as error:
        raise CommandFailed(str(error)) from error
    if as_json:
        print_json({**trainer.progress, "folder": str(out)})
    elif is_complete:
        print_text(_summary(trainer.progress, out))
    if not is_complete:
        print_note(f"stopped after step {trainer.step}; --resume goes on from there")
        raise typer.Exit(EXIT_INTERRUPTED)


def _trainer(
    fields: Mapping[str, Any],
    changes: Mapping[str, Any],
    out: Path,
    resume: bool,
    device: str,
    memory_share: float,
) -> Trainer:
    from energy_flow.runtime.device import resolve_device
    from energy_flow.telemetry.memory import memory_limit
    from energy_flow.training import TrainConfig
    from energy_flow.training.start import from_files

    config, place = TrainConfig.from_dict(fields, changes), resolve_device(device)
    limit = memory_limit(place, memory_share)
    return from_files(config, out, resume=resume, device=place, memory_limit_bytes=limit)


def _opening(trainer: Trainer) -> str:
    """What is going to happen."""
    from energy_flow.simulation.footprint import parameter_count

    config = trainer.config
    return (
        f"{parameter_count(trainer.processor.config):,} parameters; {len(trainer.train):,} rows to "
        f"train on, {len(trainer.held_out):,} held out; {trainer.steps:,} steps of "
        f"{config.batch.rows:,} rows, {trainer.step:,} of them done; back-propagation "
        f"{config.back_propagation.mode}, at most {trainer.predicted.total / 2**20:,.0f} MiB"
    )


def _work(trainer: Trainer) -> bool:
    """Trains until the end, or until somebody interrupts; whether it was the end."""
    with interruption() as asked, activity(f"training on {trainer.processor.device}") as shown:
        for event in trainer.run():
            shown.advance(trainer.step, trainer.steps, _line(trainer, event))
            for text in _notes(event):
                shown.note(text)
            if asked.is_set() and not trainer.ended:
                trainer.save()
                return False
    return True


def _line(trainer: Trainer, event: Mapping[str, Any]) -> str:
    """How far it is, for people."""
    where = f"step {trainer.step:,} of {trainer.steps:,}"
    match event["kind"]:
        case "step" if event["skipped"] is None:
            return f"{where}, loss {event['loss']:.4f}, {event['rows_per_second']:.1f} rows/s"
        case "measuring":
            return f"{where}, measured {event['done']:,} of {event['rows']:,} rows"
        case _:
            return where


def _notes(event: Mapping[str, Any]) -> list[str]:
    """What people should not miss."""
    match event["kind"]:
        case "step":
            notes = [f"step {event['step']}: warning: {text}" for text in event.get("warnings", ())]
            if event["skipped"] is not None:
                notes.append(f"step {event['step']}: skipped, {event['skipped']}")
            return notes
        case "validation":
            best = ", the best so far" if event["is_best"] else ""
            return [f"step {event['step']}: held out: {figures_line(event)}{best}"]
        case _:
            return []


def figures_line(figures: Mapping[str, Any]) -> str:
    """Retrieval figures in one line."""
    return (
        f"cosine {figures['cosine']:.4f}, top 1 {figures['top_1']:.1%}, top 10 "
        f"{figures['top_10']:.1%}, median rank {figures['median_rank']:g} of {figures['rows']:,}"
    )


def _summary(progress: Mapping[str, Any], out: Path) -> str:
    end = progress["last"]
    lines = [f"{end['step']:,} steps, {end['skipped']} skipped; ended by {end['why']}"]
    if end["held_out"] is not None:
        best = end["held_out"]
        lines.append(f"held out, best at step {best['step']:,}: {figures_line(best)}")
    if end["val"] is not None:
        lines.append(f"val: {figures_line(end['val'])}")
    lines.append(f"written to {out}: model.safetensors, events.jsonl, checkpoints, tensorboard")
    return "\n".join(lines)


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Set by the first SIGINT or SIGTERM, so that a step is never cut in two; a second one ends."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
