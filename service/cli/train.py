"""``energy-flow train``: train a model in this process; needs ``energy-flow[sim]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.input.assignments import parse_assignments
from service.cli.input.failures import EXIT_INTERRUPTED, needing_extra, require_package
from service.cli.input.file_format import check_format
from service.cli.input.options import AsJson, Assignments, Column, FormatOfPairs, TargetColumn
from service.cli.input.streams import printable
from service.cli.input.terminal import print_json, print_note, print_text
from service.cli.input.toml_file import read_toml
from service.settings_table import SettingsTable


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="The config of the training, as TOML.")
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder for the model, checkpoints, log and curves."),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint in the folder.")
    ] = False,
    column: Column = None,
    target_column: TargetColumn = None,
    file_format: FormatOfPairs = None,
    assignments: Assignments = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Device: auto, cpu, cuda or cuda:N.")
    ] = "auto",
    memory_limit: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the device's memory that the training may use."),
    ] = SettingsTable.memory_limit,
    as_json: AsJson = False,
) -> None:
    """Train a model on pairs of embeddings.

    Ctrl-C saves a checkpoint and stops. With --resume the training continues from there, with the
    same results as without the stop.
    """
    check_format(file_format)
    fields, changes = read_toml(config), parse_assignments(assignments or ())
    require_package("torch", "sim", "train")
    # All that can be refused without torch is refused before its import, which takes seconds.
    with needing_extra("sim", "train"):
        from service.cli.execute.pairs_file import PairsOptions
        from service.cli.execute.training_start import prepare_training
    options = PairsOptions(column, target_column, file_format, as_json)
    start = prepare_training(fields, changes, out, options=options, resume=resume)
    with needing_extra("sim", "train"):
        from service.cli.execute import local_training
    trainer = local_training.train(start, device=device, memory_share=memory_limit)
    if as_json:
        print_json({**trainer.progress, "folder": printable(out)})
    elif trainer.ended:
        print_text(local_training.summary(trainer.progress, out))
    if not trainer.ended:
        print_note(f"stopped after step {trainer.step}; continue with --resume")
        raise typer.Exit(EXIT_INTERRUPTED)
