"""Runs the command line against a server and in a folder, and keeps what it prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.compatibility.make_training import FOLDER
from tests.compatibility.program import DATA, Command, run_commands


@dataclass(frozen=True, slots=True)
class Printed:
    """A command line that asks a server, and what became of it.

    Attributes:
        document: what it printed, where it was asked for JSON.
    """

    arguments: list[str]
    exit_code: int
    document: Any = None


def commands_to_record(runs: dict[str, str]) -> list[list[str]]:
    """Command lines that read; those that print JSON do so on one line."""
    latest, lossless = runs["latest"], runs["lossless"]
    lines = [
        *("runs list", "runs list --limit 3", f"runs show {latest}", f"runs wait {latest}"),
        *(f"runs wait {runs['failed']}", "runs show nothing", f"runs cancel {latest}"),
        *("dataset list", "dataset show pairs", "dataset show nothing", "dataset delete pairs"),
        *("model list", "model show half", "model show nothing", "model load other"),
        *("model unload other", "model unload default", "model delete other"),
        *("experiment list", "experiment list --kind train --state succeeded --limit 1"),
        *("experiment show swept", "experiment show swept --trial 1", "experiment show nothing"),
        *("experiment results swept", "experiment results trained --of points"),
        "experiment results swept --metric reflected --metric spawned",
        *("experiment compare swept", "experiment compare swept --metric mean_path_steps:max"),
        *("experiment compare swept random", "experiment watch swept", "experiment pause swept"),
        *("experiment resume swept", "experiment cancel swept", "experiment delete paused-sweep"),
        *(f"trace {latest}", f"trace {lossless} --kind spawn --sample 1", "trace nothing"),
        f"trace {latest} --flow 3 --step-from 1 --step-to 2 --limit 4",
        "simulate --dataset npy --rows 1:3 --output hits --seed 3 --model nothing",
    ]
    plain = [line.split() for line in lines]
    return [*plain, *([*line, "--json"] for line in plain)]


def local_commands(runs: dict[str, str]) -> list[list[str]]:
    """Command lines that ask no server, but read files that one has left."""
    inputs = f"{FOLDER}/pairs.safetensors --tensor inputs --rows 2:4 --seed 3 --device cpu"
    lines = (
        "version",
        f"trace {DATA}/runs/{runs['latest']}/trace.parquet --json",
        f"simulate {inputs} --model {DATA}/models/uploaded.safetensors --output hits --json",
    )
    return [line.split() for line in lines]


def record_local_commands(folder: Path, commands: Sequence[list[str]]) -> list[Printed]:
    """Run command lines in a folder."""
    return [
        Printed(done.arguments, done.exit_code, document_of(done))
        for done in run_commands(folder, commands)
    ]


def record_commands(url: str, folder: Path, commands: Sequence[list[str]]) -> list[Printed]:
    """Run command lines, all of which ask the server at an address."""
    ended = run_commands(folder, [[*command, "--url", url] for command in commands])
    return [
        Printed(command, done.exit_code, document_of(done))
        for command, done in zip(commands, ended, strict=True)
    ]


def document_of(done: Command) -> Any:
    """What a command printed, as JSON data; nothing where it printed text for people."""
    if "--json" not in done.arguments or not done.output.strip():
        return None
    lines = [json.loads(line) for line in done.output.splitlines()]
    return lines[0] if len(lines) == 1 else lines
