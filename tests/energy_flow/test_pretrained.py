"""The models of the package: their files, and what they have learned."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
from safetensors.numpy import load_file

from energy_flow import checkpoint, pretrained
from energy_flow.training.data import Pairs

LARGEST_BYTES = 15_000_000
NAMES = ("dictionary", "spectrometer")
MIN_COSINE = {"dictionary": 0.3, "spectrometer": 0.8}
"""Mean cosine of predictions and targets: less than the models have, more than chance."""


def test_the_models_of_the_package() -> None:
    assert pretrained.names() == NAMES
    with pytest.raises(KeyError, match=r"'nothing'.* dictionary, spectrometer"):
        pretrained.find("nothing")


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_small_and_trained(name: str) -> None:
    model = pretrained.find(name)
    assert model.name == name
    assert "\n" not in model.description
    assert model.checkpoint.stat().st_size + model.sample.stat().st_size <= LARGEST_BYTES
    description = checkpoint.describe(model.checkpoint)
    assert description["trained"] is True
    assert checkpoint.digest(model.checkpoint) == checkpoint.load(model.checkpoint).digest()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_predicts_the_targets_of_its_sample(name: str) -> None:
    model = pretrained.find(name)
    sample = Pairs.read(model.sample)
    result = checkpoint.load(model.checkpoint).simulate(sample.inputs, outputs=("embedding",))
    predicted, targets = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (result.outputs["embedding"], sample.targets)
    )
    assert (predicted * targets).sum(axis=1).mean() > MIN_COSINE[name]


def test_the_samples_are_rows_of_the_examples() -> None:
    inputs = load_file(pretrained.find("spectrometer").sample)["inputs"]
    assert inputs.shape == (64, 100)
    # A blob has a peak of up to 1 of either sign.
    assert np.abs(inputs).max() <= 2
    assert load_file(pretrained.find("dictionary").sample)["inputs"].shape == (256, 384)


def test_all_files_are_found_by_a_name() -> None:
    found = {model.checkpoint for model in map(pretrained.find, pretrained.names())}
    found |= {model.sample for model in map(pretrained.find, pretrained.names())}
    files = {str(file) for file in resources.files(pretrained).iterdir() if file.is_file()}
    assert {file for file in files if file.endswith(".safetensors")} == set(map(str, found))


def test_finding_a_model_loads_no_library() -> None:
    code = (
        "import sys; from energy_flow import pretrained; pretrained.find('dictionary')\n"
        "sys.exit(bool({'torch', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
