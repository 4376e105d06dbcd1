"""TensorBoard's files, read back by TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from energy_flow.training import TrainConfig
from energy_flow.training.event_log import EVENTS
from energy_flow.training.start import from_files
from tests.support.small_training import TINY, pairs

STEPS = 6


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reader = EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    return {
        name: [(point.step, point.value) for point in reader.Scalars(name)]
        for name in reader.Tags()["scalars"]
    }


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    made = pairs(40)
    save_file({"inputs": made.inputs, "targets": made.targets}, tmp_path / "pairs.safetensors")
    changes = {"data.train": str(tmp_path / "pairs.safetensors"), "length.steps": STEPS}
    return TrainConfig.from_dict(TINY, changes)


@pytest.mark.slow
def test_events_are_curves_in_tensorboard(config: TrainConfig, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for _ in from_files(config, folder).run():
        pass
    found = curves(folder)
    lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    losses = {event["step"]: event["loss"] for event in events if event["kind"] == "step"}
    assert list(losses) == list(range(1, STEPS + 1))
    assert dict(found["train/loss"]) == pytest.approx(losses)
    assert [step for step, _ in found["held_out/top_10"]] == [2, 4, 6]
    assert {
        "train/learning_rate",
        "train/terms/cosine",
        "train/gradient_norms/neuron",
        "train/diagnostics/planes/z0",
        "train/diagnostics/z_proposal_variance",
        "train/diagnostics/path_steps",
    } <= set(found)


def test_steps_that_are_repeated_are_shown_once(config: TrainConfig, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    trainer = from_files(config, folder)
    # One step beyond the last checkpoint; this trainer is then dropped.
    while trainer.step < 5:
        trainer.advance()
    for _ in from_files(config, folder, resume=True).run():
        pass
    assert [step for step, _ in curves(folder)["train/loss"]] == list(range(1, STEPS + 1))
