"""A training that was stopped or killed is resumed and ends with the same weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file, save_file

from energy_flow import checkpoint
from energy_flow.errors import CheckpointError, ConfigError
from energy_flow.training import TrainConfig, Trainer
from energy_flow.training.event_log import EVENTS
from energy_flow.training.start import from_files
from energy_flow.training.store import MODEL
from energy_flow.training.training_files import CHECKPOINTS
from tests.support.damage import DAMAGES, damaged
from tests.support.repository import ROOT
from tests.support.small_training import TINY, pairs

pytestmark = pytest.mark.slow

WAIT = 1200
STEPS = 32

# Trains in a process of its own, as the tests do in theirs.
PROGRAM = """
import json, sys, torch
from energy_flow.training import TrainConfig
from energy_flow.training.start import from_files
torch.set_num_threads(int(sys.argv[3]))
config = TrainConfig.from_dict(json.loads(sys.argv[1]))
for event in from_files(config, sys.argv[2], resume=True).run():
    print(event["kind"], event["step"], flush=True)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = pairs(40)
    path = tmp_path_factory.mktemp("data") / "pairs.safetensors"
    save_file({"inputs": made.inputs, "targets": made.targets}, path)
    return path


def config(data: Path, **fields: Any) -> TrainConfig:
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    chosen = {"data.train": str(data), "length.steps": 12, "validation.every": 5}
    return TrainConfig.from_dict(TINY, {**chosen, "checkpoints.every": 3, **changes})


def timeless(event: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in event.items() if k not in ("seconds", "rows_per_second")}


def finished(trainer: Trainer) -> tuple[str, list[dict[str, Any]]]:
    """Return the final weights and the events."""
    events = [timeless(event) for event in trainer.run()]
    return trainer.processor.digest(), events


def logged(folder: Path) -> list[dict[str, Any]]:
    """Return the log."""
    lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
    return [timeless(json.loads(line)) for line in lines]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"precision": "bfloat16", "losses__info_nce": {"negatives": "train"}},
        {"back_propagation": {"mode": "truncated", "steps": 2}, "batch__accumulation": 2},
        {"early_stopping__patience": 1, "early_stopping__min_improvement": 1.0},
        {"schedule__noise_std": {"start": 0.5, "warm_up": 0.5}, "data__held_out": 0.0},
        {
            "model__config__aggregation_mode": "splat",
            "model__config__mapper": "linear",
            "model__initial__mappers": "isometry",
            "schedule__background": {"start": 1.0, "warm_up": 0.5},
            "schedule__field_strength": {"start": -0.5, "warm_up": 0.5},
            "losses__r2": {},
            "early_stopping__metric": "r2",
        },
    ],
    ids=["plain", "bfloat16", "truncated", "stopped early", "nothing held out", "splat"],
)
def test_resumed_equals_uninterrupted(data: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    chosen = config(data, **fields)
    digest, events = finished(from_files(chosen, tmp_path / "whole"))
    # Stopped in the middle of a validation, between two checkpoints, right after one, at the end.
    for calls in (3, 4, 6, 8, 11, 2, 1):
        trainer = from_files(chosen, tmp_path / "parts", resume=True)
        for _ in range(calls):
            if not trainer.ended:
                trainer.advance()
        if calls % 2:
            trainer.save()
    resumed, _ = finished(from_files(chosen, tmp_path / "parts", resume=True))
    assert resumed == digest
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")
    assert [event for event in events if event["kind"] != "measuring"] == logged(tmp_path / "whole")
    models = [checkpoint.load(tmp_path / name / MODEL) for name in ("whole", "parts")]
    assert [model.digest() for model in models] == [digest, digest]
    assert all(model.trained for model in models)


def test_a_killed_training_is_resumed(data: Path, tmp_path: Path) -> None:
    """kill -9 between two checkpoints; another process completes the training."""
    chosen = config(data, length__steps=STEPS, validation__every=10, checkpoints__every=4)
    command = [
        *(sys.executable, "-c", PROGRAM, json.dumps(chosen.to_dict())),
        *(str(tmp_path / "killed"), str(torch.get_num_threads())),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split()[1] == str(STEPS // 2 + 3):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    ended = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=WAIT, check=True
    )
    lines = ended.stdout.splitlines()
    assert int(lines[0].split()[1]) > STEPS // 2, "it started from the beginning"
    assert lines[-1] == f"end {STEPS}"
    digest, _ = finished(from_files(chosen, tmp_path / "whole"))
    assert checkpoint.load(tmp_path / "killed" / MODEL).digest() == digest
    assert logged(tmp_path / "killed") == logged(tmp_path / "whole")


def test_the_last_checkpoints_are_kept_whole(data: Path, tmp_path: Path) -> None:
    chosen = config(data, checkpoints__keep=2)
    finished(from_files(chosen, tmp_path))
    places = sorted((tmp_path / CHECKPOINTS).iterdir())
    assert [place.name for place in places] == ["step-00000009", "step-00000012"]
    for place in places:
        state = json.loads((place / "state.json").read_text())
        assert state["step"] == int(place.name[-8:])
        moments = load_file(place / "optimiser.safetensors")
        assert float(moments["neuron.layers.0.weight.step"]) == state["step"]
        assert checkpoint.describe(place / MODEL)["trained"] is True


def test_a_checkpoint_half_written_is_not_seen(data: Path, tmp_path: Path) -> None:
    chosen = config(data)
    trainer = from_files(chosen, tmp_path)
    while trainer.step < 6:
        trainer.advance()
    left = tmp_path / CHECKPOINTS / ".writing-abc"
    left.mkdir()
    (left / "state.json").write_text('{"step":')
    with (tmp_path / EVENTS).open("a", encoding="utf-8") as log:
        log.write('{"kind": "step", "st')
    digest, _ = finished(from_files(chosen, tmp_path, resume=True))
    assert digest == finished(from_files(chosen, tmp_path / "whole"))[0]
    assert not left.exists()


def test_a_checkpoint_of_another_config_is_refused(data: Path, tmp_path: Path) -> None:
    finished(from_files(config(data), tmp_path))
    before = (tmp_path / EVENTS).read_bytes()
    other = config(data, seed=7, optimiser__learning_rate=1e-4)
    with pytest.raises(CheckpointError) as refusal:
        from_files(other, tmp_path, resume=True)
    places = {fault.loc for fault in refusal.value.faults}
    assert places == {("config", "seed"), ("config", "optimiser", "learning_rate")}
    assert (tmp_path / EVENTS).read_bytes() == before


def test_files_may_be_moved_before_a_training_is_resumed(data: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    shutil.copy(data, before / "pairs.safetensors")
    from_files(config(data), tmp_path / "first").save()
    shutil.copy(
        tmp_path / "first" / CHECKPOINTS / "step-00000000" / MODEL, before / "start.safetensors"
    )

    def chosen(place: Path, model: str) -> TrainConfig:
        fields = config(place / "pairs.safetensors").to_dict()
        return TrainConfig.from_dict(
            {**fields, "model": {"checkpoint": str(place / model), "config": {}}}
        )

    digest, _ = finished(from_files(chosen(before, "start.safetensors"), tmp_path / "whole"))
    trainer = from_files(chosen(before, "start.safetensors"), before / "parts")
    while trainer.step < 6:
        trainer.advance()
    before.rename(after)
    with pytest.raises(CheckpointError) as refusal:
        from_files(chosen(after, "other.safetensors"), after / "parts", resume=True)
    assert {fault.loc for fault in refusal.value.faults} == {("config", "model", "checkpoint")}
    resumed = from_files(chosen(after, "start.safetensors"), after / "parts", resume=True)
    assert resumed.step == 6
    assert finished(resumed)[0] == digest


def test_a_field_that_differs_is_named_with_both_values(data: Path, tmp_path: Path) -> None:
    trainer = from_files(config(data), tmp_path / "parts")
    trainer.save()
    others = config(data).replace(
        {
            "optimiser.learning_rate": 0.25,
            "losses.mse": {"weight": 2.0},
            "model.config.spawn.threshold": 0.3,
        }
    )
    with pytest.raises(CheckpointError) as refusal:
        from_files(others, tmp_path / "parts", resume=True)
    assert str(refusal.value).split("; ") == [
        "config.model.config.spawn.threshold: the snapshot was trained with 0.2 (got 0.3)",
        "config.losses.mse: the snapshot was trained with None (got {'weight': 2.0, 'on': "
        "'embedding'})",
        "config.optimiser.learning_rate: the snapshot was trained with 0.005 (got 0.25)",
    ]


def test_a_checkpoint_without_fields_that_have_defaults_is_resumed(
    data: Path, tmp_path: Path
) -> None:
    chosen = config(data)
    digest, _ = finished(from_files(chosen, tmp_path / "whole"))
    trainer = from_files(chosen, tmp_path / "parts")
    while trainer.step < 6:
        trainer.advance()
    for path in (tmp_path / "parts" / CHECKPOINTS).glob("*/state.json"):
        state = json.loads(path.read_text())
        del state["config"]["max_skipped"], state["config"]["checkpoints"]["keep"]
        path.write_text(json.dumps(state))
        # Those versions wrote no digests.
        path.with_name("digests.json").unlink()
    with pytest.raises(CheckpointError) as refusal:
        from_files(config(data, max_skipped=3), tmp_path / "parts", resume=True)
    assert {fault.loc for fault in refusal.value.faults} == {("config", "max_skipped")}
    assert finished(from_files(chosen, tmp_path / "parts", resume=True))[0] == digest


def test_a_checkpoint_from_before_r2_is_resumed(data: Path, tmp_path: Path) -> None:
    """It has no fields that version 0.1 did not have, and figures without R²."""
    chosen = config(data)
    digest, _ = finished(from_files(chosen, tmp_path / "whole"))
    trainer = from_files(chosen, tmp_path / "parts")
    while trainer.step < 6:
        trainer.advance()
    for path in (tmp_path / "parts" / CHECKPOINTS).glob("*/state.json"):
        state = json.loads(path.read_text())
        if state["best"] is not None:
            del state["best"]["r2"]
        del state["config"]["model"]["initial"], state["config"]["losses"]["r2"]
        for name in ("field_strength", "background"):
            del state["config"]["schedule"][name]
        path.write_text(json.dumps(state))
        # Those versions wrote no digests.
        path.with_name("digests.json").unlink()
    resumed = from_files(chosen, tmp_path / "parts", resume=True)
    assert resumed.best is not None
    assert "r2" not in resumed.best
    assert finished(resumed)[0] == digest


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.safetensors"
    for seed in (0, 1):
        made = pairs(40, seed=seed)
        save_file({"inputs": made.inputs, "targets": made.targets}, path)
        if seed == 0:
            finished(from_files(config(path), tmp_path / "kept"))
    with pytest.raises(CheckpointError, match="another training"):
        from_files(config(path), tmp_path / "kept", resume=True)


def test_a_damaged_checkpoint_is_refused(data: Path, tmp_path: Path) -> None:
    chosen = config(data)
    finished(from_files(chosen, tmp_path))
    place = tmp_path / CHECKPOINTS / "step-00000012"
    for name in ("model.safetensors", "optimiser.safetensors", "state.json"):
        for damage in DAMAGES.values():
            with damaged(place / name, damage), pytest.raises(CheckpointError, match="damaged"):
                from_files(chosen, tmp_path, resume=True)
    from_files(chosen, tmp_path, resume=True)


def test_a_folder_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    chosen = config(data)
    from_files(chosen, tmp_path).advance()
    with pytest.raises(ConfigError, match="holds a training already"):
        from_files(chosen, tmp_path)


def test_an_ended_training_can_be_resumed_and_ends_at_once(data: Path, tmp_path: Path) -> None:
    chosen = config(data)
    digest, _ = finished(from_files(chosen, tmp_path))
    before = logged(tmp_path)
    assert finished(from_files(chosen, tmp_path, resume=True))[0] == digest
    assert logged(tmp_path) == before
