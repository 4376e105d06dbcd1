"""Makes a training by command line in a folder: interrupted, to be resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from tests.compatibility.make_runs import CONFIG, rows
from tests.compatibility.program import environment
from tests.support.waits import LIMIT_SECONDS, until

FOLDER = "training"
"""Beside the data directory; commands run in it, so that the paths that are kept are relative."""

RUN = "run"
"""Where the training is kept, in that folder."""

TRAIN = ("train", "config.toml", "--out", RUN, "--device", "cpu", "--json")
STEPS = 40
LEARNING_RATE = 1e-5
"""Small, because Adam moves a weight as far for a small gradient as for a large one, and so makes
much of the last bits in which kinds of machines differ."""
HELD = {name: value for name, value in CONFIG.items() if name != "embedding_dim"}
TOML = "\n".join(
    (
        "[model.config]",
        *(f"{name} = {value}" for name, value in HELD.items()),
        "[data]",
        'train = "pairs.safetensors"',
        "held_out = 0.2",
        "[losses]",
        "cosine = { weight = 1.0 }",
        'info_nce = { weight = 0.1, negatives = "train" }',
        "[schedule]",
        "noise_std = { start = 0.2, warm_up = 0.5 }",
        "[optimiser]",
        f"learning_rate = {LEARNING_RATE}",
        "[batch]",
        "rows = 8",
        "[length]",
        f"steps = {STEPS}",
        "[validation]",
        "every = 4",
        "[checkpoints]",
        "every = 2",
        "keep = 1",
        "",
    )
)


def prepare(folder: Path) -> None:
    """Write the config and the pairs."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(TOML, encoding="utf-8")
    pairs = {"inputs": rows(40, 60), "targets": rows(40, 61)}
    save_file(pairs, folder / "pairs.safetensors")


def train(folder: Path, *flags: str) -> dict[str, Any]:
    """Train to the end; return what the command prints."""
    done = subprocess.run(
        _command(*flags), cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def train_midway(folder: Path) -> None:
    """Train, and interrupt it after some steps."""
    log = folder / RUN / "events.jsonl"
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        _command(), cwd=folder, env=environment(), stdout=quiet, stderr=quiet
    ) as process:
        until(lambda: log.exists() and len(log.read_text(encoding="utf-8").splitlines()) >= 6)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=LIMIT_SECONDS) == 130
    assert len(list((folder / RUN / "checkpoints").iterdir())) == 1


def outcome_of(folder: Path, printed: dict[str, Any]) -> dict[str, Any]:
    """What a training gave in the end: what it printed, and its log without times."""
    lines = (folder / RUN / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        "printed": _without_times(printed),
        "events": [_without_times(json.loads(line)) for line in lines],
    }


def _command(*flags: str) -> list[str]:
    return [str(Path(sysconfig.get_path("scripts"), "energy-flow")), *TRAIN, *flags]


def _without_times(data: Any) -> Any:
    if isinstance(data, dict):
        timed = ("seconds", "rows_per_second")
        return {name: _without_times(value) for name, value in data.items() if name not in timed}
    return data
