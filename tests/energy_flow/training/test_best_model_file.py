"""The file of the best model has a digest, also after a crash between any two steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from energy_flow import FlowProcessor, presets
from energy_flow.errors import DamagedTrainingError
from energy_flow.testing import TINY_FIELDS
from energy_flow.training.store import TrainingFolder
from tests.support.damage import flip


def make_model(seed: int) -> FlowProcessor:
    return FlowProcessor(presets.debug().replace({**TINY_FIELDS, "model_seed": seed}))


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    folder.save_best(make_model(0))
    folder.save_best(make_model(1))
    assert folder.best().digest() == make_model(1).digest()
    assert not list(folder.find_damages())
    model = tmp_path / "model.safetensors"
    sound = model.read_bytes()
    flip(model, 0.9)
    with pytest.raises(DamagedTrainingError, match="it has changed"):
        folder.best()
    assert [damage.path for damage in folder.find_damages()] == [model]
    model.unlink()
    assert [damage.path for damage in folder.find_damages()] == [model]
    model.write_bytes(sound)
    assert folder.best().digest() == make_model(1).digest()


def test_a_crash_before_a_new_file_has_its_name_leaves_the_one_before(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    folder.save_best(make_model(0))
    before = (tmp_path / "model.safetensors").read_bytes()
    folder.save_best(make_model(1))
    (tmp_path / "model.safetensors").write_bytes(before)
    assert folder.best().digest() == make_model(0).digest()
    folder.save_best(make_model(2))
    assert folder.best().digest() == make_model(2).digest()


def test_damaged_digests_are_refused_and_replaced(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    folder.save_best(make_model(0))
    digests = tmp_path / "digests.json"
    for damaged in ("", "[]", "{}", '{"model.safetensors": 1}', "\xff"):
        digests.write_text(damaged, encoding="latin-1")
        with pytest.raises(DamagedTrainingError) as refused:
            folder.best()
        assert refused.value.path == digests
    folder.save_best(make_model(1))
    assert folder.best().digest() == make_model(1).digest()
    assert len(json.loads(digests.read_bytes())["model.safetensors"]) == 1


def test_a_file_of_an_earlier_version_has_no_digest(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    folder.save_best(make_model(0))
    (tmp_path / "digests.json").unlink()
    assert folder.best().digest() == make_model(0).digest()
    assert not list(folder.find_damages())
