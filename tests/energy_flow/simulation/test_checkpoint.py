"""Checkpoints: what is restored, and files that are refused before their content is used."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from energy_flow import FlowProcessor, checkpoint
from energy_flow.errors import CheckpointError, EnergyFlowError
from tests.support.small_model import (
    LIVELY,
    OUTPUTS,
    bits,
    embeddings,
    find_differences,
    make_untrained,
    make_varied,
    small_config,
)

Tensors = dict[str, Tensor]
Metadata = dict[str, str]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.safetensors"
    checkpoint.save(make_untrained(), path)
    return path


def metadata_of(path: Path) -> Metadata:
    with safe_open(str(path), framework="pt") as file:
        metadata: Metadata = file.metadata()
    return metadata


def rewritten(path: Path, change: Callable[[Tensors, Metadata], object]) -> Path:
    """Write a changed copy of a checkpoint."""
    tensors, metadata = load_file(path), metadata_of(path)
    change(tensors, metadata)
    changed = path.with_name("changed.safetensors")
    save_file(tensors, changed, metadata=metadata)
    return changed


def refused(path: Path, described: bool = True) -> CheckpointError:
    """Return the refusal by ``load``, which is also that of ``describe`` if it needs no weights."""
    with pytest.raises(CheckpointError) as refusal:
        checkpoint.load(path)
    assert isinstance(refusal.value, EnergyFlowError)
    assert isinstance(refusal.value, ValueError)
    if described:
        with pytest.raises(CheckpointError) as second:
            checkpoint.describe(path)
        assert str(second.value) == str(refusal.value)
    return refusal.value


def test_a_processor_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(make_varied(), path)
    again = checkpoint.load(path)
    assert again.config == make_varied().config
    assert again.digest() == make_varied().digest()
    assert again.trained is False
    assert not again.training
    assert all(parameter.requires_grad for parameter in again.parameters())
    x = embeddings(2)
    mine = again.simulate(x, options=LIVELY, outputs=OUTPUTS)
    other = make_varied().simulate(x, options=LIVELY, outputs=OUTPUTS)
    for row in range(2):
        assert find_differences(bits(mine, row), bits(other, row)) == []
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_loaded_model_can_be_trained(good: Path) -> None:
    processor = checkpoint.load(good, device="cpu").train()
    processor.simulate(embeddings(1), outputs=("embedding",)).outputs["embedding"].sum().backward()
    assert processor.get_parameter("output_mapper.layers.3.bias").grad is not None
    good.unlink()
    with torch.no_grad():
        processor.get_parameter("output_mapper.layers.3.bias").add_(1)


def test_trained_is_stored(tmp_path: Path) -> None:
    processor = FlowProcessor(small_config())
    processor.trained = True
    checkpoint.save(processor, tmp_path / "model.safetensors")
    assert checkpoint.describe(tmp_path / "model.safetensors")["trained"] is True
    assert checkpoint.load(str(tmp_path / "model.safetensors")).trained is True


SECOND_FIELDS = {
    "mapper",
    "output_dim",
    "output_planes",
    "energy_update",
    "sensing",
    "field_strength",
    "background",
}
"""Fields of version 2 of the format."""


@pytest.mark.parametrize(
    "fields",
    [
        {"mapper": "linear"},
        {"mapper": "identity", "embedding_dim": 16, "output_planes": "both"},
        {"output_dim": 3},
        {"energy_update": "residual"},
        {"sensing": "gradient"},
        {"field_strength": -0.5},
        {"aggregation_mode": "splat"},
        {"aggregation_mode": "splat", "background": 0.4},
    ],
)
def test_new_fields_make_a_file_of_version_2(tmp_path: Path, fields: dict[str, Any]) -> None:
    processor = FlowProcessor(small_config(**fields))
    path = tmp_path / "model.safetensors"
    checkpoint.save(processor, path)
    assert metadata_of(path)["format_version"] == "2"
    assert json.loads(metadata_of(path)["config"]) == processor.config.to_dict()
    again = checkpoint.load(path)
    assert checkpoint.describe(path)["format_version"] == "2"
    assert again.config == processor.config
    assert again.digest() == processor.digest()


def test_members_of_the_file(good: Path) -> None:
    metadata = metadata_of(good)
    assert metadata["format"] == "energy_flow"
    assert metadata["format_version"] == "1"
    assert metadata["coord_version"] == "2"
    config = json.loads(metadata["config"])
    fields = make_untrained().config.to_dict()
    assert fields.keys() - config.keys() == SECOND_FIELDS
    assert config == {name: fields[name] for name in config}
    tensors = load_file(good)
    assert tensors.keys() == make_untrained().state_dict().keys()
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_description(good: Path) -> None:
    described = checkpoint.describe(good)
    assert described["config"] == make_untrained().config
    assert described["trained"] is False
    assert str(described["coord_version"]) == "2"
    assert str(described["format_version"]) == "1"


def test_saving_over_a_checkpoint_replaces_it(good: Path) -> None:
    checkpoint.save(make_varied(), good)
    assert checkpoint.load(good).digest() == make_varied().digest()


def test_a_failed_save_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        checkpoint.save(make_untrained(), tmp_path / "missing" / "model.safetensors")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        checkpoint.save(make_untrained(), tmp_path / "taken")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_a_missing_file_is_no_checkpoint_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(OSError, match=r"none|checkpoint|directory"):
            checkpoint.load(path)


@pytest.mark.parametrize("version", ["1", "3", "two", ""])
def test_other_coordinates_are_refused_and_both_versions_named(good: Path, version: str) -> None:
    path = rewritten(good, lambda _, metadata: metadata.update(coord_version=version))
    message = str(refused(path))
    assert "coord_version" in message
    assert "2" in message
    assert version in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "other"),
        ("format_version", "3"),
        ("format_version", ""),
        ("trained", "maybe"),
        ("trained", "True"),
    ],
)
def test_other_formats_are_refused(good: Path, name: str, value: str) -> None:
    path = rewritten(good, lambda _, metadata: metadata.update({name: value}))
    assert name in str(refused(path))


@pytest.mark.parametrize("name", ["format", "format_version", "coord_version", "config"])
def test_missing_metadata_is_refused(good: Path, name: str) -> None:
    assert name in str(refused(rewritten(good, lambda _, metadata: metadata.pop(name))))


def test_fields_of_version_2_in_a_file_of_version_1_are_refused(good: Path) -> None:
    def change(_: object, metadata: Metadata) -> None:
        config = json.loads(metadata["config"])
        metadata["config"] = json.dumps({**config, "output_dim": 3})

    error = refused(rewritten(good, change))
    assert "config.output_dim" in str(error)


def test_tensors_without_metadata_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_file(make_untrained().state_dict(), path)
    assert "format" in str(refused(path))


@pytest.mark.parametrize(
    "config",
    [
        *(
            "",
            "{",
            "[]",
            "null",
            "3",
            '"debug"',
            "[[1, 2]]",
            '{"lattice_width": 1}',
            '{"wings": 2}',
        ),
        pytest.param("[" * 100_000, id="too deep"),
    ],
)
def test_a_config_that_is_none_is_refused(good: Path, config: str) -> None:
    path = rewritten(good, lambda _, metadata: metadata.update(config=config))
    assert "config" in str(refused(path))


@pytest.mark.parametrize(
    "fields",
    [
        {"lattice_width": 5},
        {"carrier_num_layers": 2},
        {"embedding_dim": 2**31 - 1, "mapper_hidden_dim": 2**31 - 1},
        {"carrier_hidden_size": 65536, "carrier_num_layers": 64},
    ],
)
def test_a_config_of_another_model_is_refused(good: Path, fields: dict[str, int]) -> None:
    text = json.dumps({**make_untrained().config.to_dict(), **fields})
    refused(rewritten(good, lambda _, metadata: metadata.update(config=text)))


def test_missing_extra_and_misshapen_tensors_are_reported_together(good: Path) -> None:
    def change(tensors: Tensors, _: Metadata) -> None:
        del tensors["neuron.layers.0.bias"]
        tensors["neuron.layers.9.bias"] = torch.zeros(3)
        tensors["carrier.energy_head.0.weight"] = torch.zeros(16, 8)
        tensors["input_mapper.energy_scale"] = torch.zeros(())

    message = str(refused(rewritten(good, change)))
    assert "neuron.layers.0.bias" in message
    assert "neuron.layers.9.bias" in message
    assert "carrier.energy_head.0.weight" in message
    assert "[8, 16]" in message
    assert "[16, 8]" in message
    assert "input_mapper.energy_scale" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(good: Path, value: float) -> None:
    def change(tensors: Tensors, _: Metadata) -> None:
        tensors["carrier.gru.weight_hh_l0"][3, 4] = value
        tensors["output_mapper.layers.3.bias"][0] = value

    message = str(refused(rewritten(good, change), described=False))
    assert "carrier.gru.weight_hh_l0" in message
    assert "output_mapper.layers.3.bias" in message


def test_weights_beyond_float32_are_refused(good: Path) -> None:
    def change(tensors: Tensors, _: Metadata) -> None:
        wide = tensors["neuron.layers.0.bias"].double()
        wide[0] = 1e300
        tensors["neuron.layers.0.bias"] = wide

    assert "neuron.layers.0.bias" in str(refused(rewritten(good, change), described=False))


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.float16, torch.float8_e4m3fn]
)
def test_other_kinds_of_numbers_become_float32_or_are_refused(
    good: Path, dtype: torch.dtype
) -> None:
    name = "neuron.layers.0.bias"
    path = rewritten(good, lambda tensors, _: tensors.update({name: tensors[name].to(dtype)}))
    if dtype.itemsize > 1:
        weights = checkpoint.load(path).parameters()
        assert {weight.dtype for weight in weights} == {torch.float32}
    else:
        assert name in str(refused(path, described=False))


class Explosive:
    """Unpickling it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_refused_and_nothing_is_executed(tmp_path: Path) -> None:
    exploded = tmp_path / "exploded"
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(pickle.dumps(Explosive(exploded)))
    zipped = tmp_path / "model.pt"
    torch.save({"neuron.layers.0.bias": Explosive(exploded)}, zipped)
    old = tmp_path / "old.pt"
    torch.save(Explosive(exploded), old, _use_new_zipfile_serialization=False)
    for path in (plain, zipped, old):
        refused(path)
    assert not exploded.exists()
    pickle.loads(plain.read_bytes())
    assert exploded.exists(), "or this test would show nothing"


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, 2000, -1, -1000])
def test_truncated_files_are_refused(good: Path, kept: int) -> None:
    good.write_bytes(good.read_bytes()[:kept])
    refused(good)


@pytest.mark.parametrize(
    "head", [b"\xff" * 8, b"\x00" * 8, b"\x10" + b"\x00" * 7 + b"{" * 16, b"[]" * 40]
)
def test_damaged_headers_are_refused(good: Path, head: bytes) -> None:
    good.write_bytes(head + good.read_bytes()[len(head) :])
    refused(good)


def test_bytes_behind_the_end_are_refused(good: Path) -> None:
    good.write_bytes(good.read_bytes() + b"more")
    refused(good)
