"""How untrained models begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor

from energy_flow import FlowProcessor
from energy_flow.errors import ConfigError
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step_types import Decisions
from energy_flow.training import TrainConfig
from energy_flow.training.start import from_files, model_of
from tests.support.small_model import CELLS, embeddings, small_config
from tests.support.small_training import WIDTH, pairs, training_config

LINEAR: dict[str, Any] = {"model__config__mapper": "linear", "model__initial__mappers": "isometry"}


def weights(processor: FlowProcessor) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in processor.state_dict().items()}


def begun(width: int = WIDTH, target_width: int | None = None, **fields: Any) -> dict[str, Tensor]:
    """Return the weights of an untrained model."""
    return weights(model_of(training_config(**fields), width, target_width=target_width))


def changed(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    assert first.keys() == second.keys()
    return {name for name, tensor in first.items() if not torch.equal(tensor, second[name])}


def test_by_default_weights_are_as_they_are_drawn() -> None:
    assert changed(begun(), weights(FlowProcessor(small_config()))) == set()


def test_the_displacement_head_is_scaled() -> None:
    plain, scaled = begun(), begun(model__initial__displacement_head=0.25)
    name = "carrier.displacement_head.2.weight"
    assert changed(plain, scaled) == {name}
    assert torch.equal(scaled[name], plain[name] * 0.25)


def test_an_energy_head_of_zeros_keeps_residual_energies() -> None:
    zero: dict[str, Any] = {
        "model__initial__energy_head": "zero",
        "model__config__energy_update": "residual",
    }
    plain, made = begun(model__config__energy_update="residual"), begun(**zero)
    # The bias is 0 as it is drawn.
    assert changed(plain, made) == {"carrier.energy_head.2.weight"}
    processor = model_of(training_config(**zero), WIDTH)
    state = processor.start(embeddings(2))
    before: list[Tensor] = []
    after: list[Tensor] = []

    def observe(state: FlowState, decided: Decisions) -> None:
        before.append(state.flows.energy.clone())
        after.append(decided.proposals.energy.clone())

    processor.step(state, observe)
    assert torch.equal(before[0], after[0])


def test_a_zero_head_that_replaces_energies_gives_a_warning() -> None:
    (text,) = training_config(model__initial__energy_head="zero").warnings()
    assert "energy_update to residual" in text
    config = training_config(
        model__initial__energy_head="zero", model__config__energy_update="residual"
    )
    assert config.warnings() == ()


@pytest.mark.parametrize("planes", ["merged", "both"])
@pytest.mark.parametrize("width", [5, CELLS])
def test_the_output_mapper_undoes_an_isometry(width: int, planes: str) -> None:
    """Where no flow moves and both planes hold the energies, outputs equal inputs."""
    sizes: dict[str, Any] = {
        "model__config__embedding_dim": width,
        "model__config__output_planes": planes,
    }
    made = begun(width, **LINEAR, **sizes)
    into, back = made["input_mapper.layers.0.weight"], made["output_mapper.layers.0.weight"]
    surfaces = into if planes == "merged" else into.repeat(2, 1)
    # Products of float32 numbers of at most 1.
    torch.testing.assert_close(back @ surfaces, torch.eye(width), rtol=0, atol=1e-6)
    torch.testing.assert_close(into.t() @ into, torch.eye(width), rtol=0, atol=1e-6)
    for part in ("input_mapper", "output_mapper"):
        assert not made[f"{part}.layers.0.bias"].any()


def test_an_isometry_of_fewer_cells_than_numbers_is_a_projection() -> None:
    made = begun(20, **LINEAR, model__config__embedding_dim=20)
    into, back = made["input_mapper.layers.0.weight"], made["output_mapper.layers.0.weight"]
    torch.testing.assert_close(into @ into.t(), torch.eye(CELLS), rtol=0, atol=1e-6)
    torch.testing.assert_close(back, into.t(), rtol=0, atol=0)


@pytest.mark.parametrize("targets", [3, 12])
def test_an_isometry_to_targets_of_another_width(targets: int) -> None:
    """What both widths have in common is kept, and the rest of an output is 0."""
    made = begun(target_width=targets, **LINEAR)
    into, back = made["input_mapper.layers.0.weight"], made["output_mapper.layers.0.weight"]
    torch.testing.assert_close(back @ into, torch.eye(targets, WIDTH), rtol=0, atol=1e-6)


def test_an_isometry_depends_on_the_seed_of_the_model_alone() -> None:
    one = begun(**LINEAR, model__config__model_seed=3)
    assert changed(one, begun(**LINEAR, model__config__model_seed=3, seed=8)) == set()
    other = begun(**LINEAR, model__config__model_seed=4)
    assert "input_mapper.layers.0.weight" in changed(one, other)
    drawn = begun(model__config__mapper="linear", model__config__model_seed=3)
    assert all("mapper.layers.0" in name for name in changed(one, drawn))


@pytest.mark.parametrize("mapper", ["mlp", "identity"])
def test_an_isometry_is_refused_for_other_mappers(mapper: str) -> None:
    sizes = {"model__config__mapper": mapper, "model__config__embedding_dim": CELLS}
    with pytest.raises(ConfigError) as refusal:
        training_config(**sizes, model__initial__mappers="isometry")
    (fault,) = refusal.value.faults
    assert fault.loc == ("model", "initial", "mappers")
    assert f"the model has mapper {mapper}" in fault.msg


def test_a_checkpoint_has_weights_already() -> None:
    model = {"checkpoint": "a.safetensors", "config": {}}
    training_config(model={**model, "initial": {"displacement_head": 1.0, "mappers": "drawn"}})
    with pytest.raises(ConfigError) as refusal:
        training_config(model={**model, "initial": {"displacement_head": 0.5}})
    (fault,) = refusal.value.faults
    assert fault.loc == ("model", "initial")
    assert "untrained" in fault.msg


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_a_factor_is_positive(factor: float) -> None:
    with pytest.raises(ConfigError, match=r"model\.initial\.displacement_head"):
        training_config(model__initial__displacement_head=factor)


def test_a_resumed_training_does_not_begin_again(tmp_path: Path) -> None:
    made, path = pairs(), tmp_path / "pairs.safetensors"
    save_file({"inputs": made.inputs, "targets": made.targets}, path)
    config = TrainConfig.from_dict(
        training_config(model__initial__displacement_head=0.5).to_dict(), {"data.train": str(path)}
    )
    trainer = from_files(config, tmp_path / "run")
    trainer.advance()
    trainer.save()
    resumed = from_files(config, tmp_path / "run", resume=True)
    assert resumed.processor.digest() == trainer.processor.digest()
