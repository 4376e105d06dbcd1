"""``energy-flow train`` as a person or a script runs it."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from energy_flow import checkpoint
from tests.support.command_line import Caller, assert_refused, open_terminal, run
from tests.support.live_server import interrupts_enabled

pytestmark = pytest.mark.slow

CONFIG = """
[model.config]
lattice_width = 4
lattice_height = 4
lattice_depth = 4
mapper_hidden_dim = 16
carrier_hidden_size = 16
carrier_num_layers = 1

[data]
held_out = 0.25

[losses.cosine]

[batch]
rows = 8

[length]
steps = 6

[validation]
every = 3
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    data = tmp_path / "pairs.safetensors"
    save_file({"inputs": rows, "targets": -rows}, data)
    path = tmp_path / "train.toml"
    path.write_text(CONFIG.replace("[data]", f'[data]\ntrain = "{data}"\nval = "{data}"'))
    return path


def test_a_training_for_people(call: Caller, config: Path, tmp_path: Path) -> None:
    done = call("train", config, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for words in ("6 steps, 0 skipped", "held out, best at step", "val: cosine", "median rank"):
        assert words in done.stdout
    for words in ("30 rows to train on, 10 held out", "step 3: held out: cosine", "MiB"):
        assert words in done.stderr
    assert checkpoint.describe(tmp_path / "out" / "model.safetensors")["trained"] is True
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("model.safetensors", "events.jsonl", "checkpoints", "tensorboard", "digests.json")
    }


def test_a_training_for_scripts(call: Caller, config: Path, tmp_path: Path) -> None:
    changes = ("--set", "length.steps=2", "--set", "losses.mse.weight=0.5")
    done = call("train", config, "--out", tmp_path / "out", "--json", *changes)
    assert done.returncode == 0, done.stderr
    progress = json.loads(done.stdout)
    assert progress["ended"] is True
    assert progress["step"] == progress["steps"] == 2
    assert progress["last"]["val"]["rows"] == 40
    events = (tmp_path / "out" / "events.jsonl").read_text().splitlines()
    assert set(json.loads(events[0])["terms"]) == {"cosine", "mse"}


def test_targets_of_another_width_than_inputs(call: Caller, config: Path, tmp_path: Path) -> None:
    """The model takes its widths from the rows, and lines for people have R²."""
    inputs = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    targets = np.concatenate((np.minimum(inputs, 0), np.maximum(inputs, 0)), axis=1)
    save_file({"inputs": inputs, "targets": targets}, tmp_path / "pairs.safetensors")
    config.write_text(CONFIG)
    changes = (
        *("mapper=identity", "output_planes=both"),
        *("energy_update=residual", "aggregation_mode=splat"),
    )
    flags = [word for change in changes for word in ("--set", f"model.config.{change}")]
    data = f"data.train={tmp_path / 'pairs.safetensors'}"
    more = (
        data,
        "losses.r2.on=planes",
        "model.initial.energy_head=zero",
        "early_stopping.metric=r2",
    )
    flags += [word for change in more for word in ("--set", change)]
    done = call("train", config, "--out", tmp_path / "out", *flags)
    assert done.returncode == 0, done.stderr
    assert "R² " in done.stdout
    kept = checkpoint.describe(tmp_path / "out" / "model.safetensors")["config"]
    assert (kept.embedding_dim, kept.output_width) == (16, 32)


def test_figures_of_any_magnitude_are_short(call: Caller, config: Path, tmp_path: Path) -> None:
    """Targets are far from predictions near 0, and near to each other."""
    inputs = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    save_file({"inputs": inputs, "targets": inputs + 1e6}, tmp_path / "pairs.safetensors")
    flags = ("--set", "losses.r2.weight=1")
    done = call("train", config, "--out", tmp_path / "out", *flags)
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        (figure, *_) = re.findall(r"R² (\S+),", text)
        assert re.fullmatch(r"-\d\.\d\de\+1\d", figure)


def test_a_training_without_effect_fails(call: Caller, config: Path, tmp_path: Path) -> None:
    flags = ("--set", "losses.mse.weight=1e38")
    done = call("train", config, "--out", tmp_path / "out", *flags)
    assert_refused(done, "all 6 steps were skipped", "no step has changed a weight")


def test_a_loss_on_planes_alone_gives_a_warning(call: Caller, config: Path, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32)
    save_file({"inputs": rows, "targets": rows}, tmp_path / "pairs.safetensors")
    flags = ("--set", "losses.cosine.weight=0", "--set", "losses.r2.on=planes")
    done = call("train", config, "--out", tmp_path / "out", *flags)
    assert done.returncode == 0, done.stderr
    assert "warning: the loss (losses.r2) does not depend on the embedding" in done.stderr


def test_an_interrupted_training_is_resumed_later(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    many = ("--set", "length.steps=4000", "--set", "validation.every=4000")
    with (
        interrupts_enabled(),
        open_terminal("train", config, "--out", out, *many) as terminal,
    ):
        terminal.wait_for(" of 4,000, loss")
        terminal.process.send_signal(signal.SIGINT)
        done = terminal.finish()
    assert done.returncode == 130
    rest = done.stderr
    assert "continue with --resume" in rest
    assert "Traceback" not in rest
    stopped = int(rest.partition("stopped after step ")[2].partition(";")[0])
    assert 0 < stopped < 4000
    (kept,) = (out / "checkpoints").iterdir()
    assert kept.name == f"step-{stopped:08d}"
    refused = run("train", config, "--out", out, *many)
    assert_refused(refused, "holds a training already")
    other = run("train", config, "--out", out, "--resume", "--set", "length.steps=3")
    assert_refused(other, "config.length.steps: the snapshot was trained with 4000 (got 3)")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("losses.cosine.weight=0",), "losses"),
        (("batch.rows=100",), "leaves 30 rows to train on"),
        (("data.train=missing.safetensors",), "missing.safetensors"),
        (("batch.accumulation=3", "length.epochs=1"), "length.epochs"),
        (("model.config.embedding_dim=16",), "must have 16 components"),
    ],
)
def test_faults_are_reported_in_one_line(
    call: Caller, config: Path, tmp_path: Path, changes: tuple[str, ...], words: str
) -> None:
    flags = [word for change in changes for word in ("--set", change)]
    assert_refused(call("train", config, "--out", tmp_path / "out", *flags), words)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_config(call: Caller, tmp_path: Path) -> None:
    assert_refused(call("train", tmp_path / "no.toml", "--out", tmp_path / "out"), "no.toml")
    (tmp_path / "file").touch()
    (tmp_path / "empty.toml").touch()
    done = call("train", tmp_path / "empty.toml", "--out", tmp_path / "file")
    assert_refused(done, "is a file, not a folder")
    (tmp_path / "bad.toml").write_text("rows = [")
    assert_refused(call("train", tmp_path / "bad.toml", "--out", tmp_path / "out"), "not TOML")


def test_a_training_that_may_not_fit(call: Caller, config: Path, tmp_path: Path) -> None:
    flags = ("--memory-limit", "0.00001")
    done = call("train", config, "--out", tmp_path / "out", *flags)
    assert_refused(done, "raise batch.accumulation", "bytes")
