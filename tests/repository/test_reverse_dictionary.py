"""The trained model of the repository has its recorded figures, and its comparison runs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from energy_flow import checkpoint, pretrained
from energy_flow.ablation import ablate
from energy_flow.config.flow_config import FlowConfig
from energy_flow.training import TrainConfig
from energy_flow.training.data import Pairs
from energy_flow.training.start import model_of
from tests.support.repository import EXAMPLES
from tests.support.scripts import printed_by

FOLDER = EXAMPLES / "reverse_dictionary"
MODEL, VAL = pretrained.find("dictionary").checkpoint, FOLDER / "val.safetensors"
RECORDED = {"cosine": 0.5284, "top_1": 0.444, "top_10": 0.685}
"""Figures of the shipped model on the val rows, as in the README of the example."""
ROUNDING = 2e-3
"""Rounding differs between machines: two rows may change rank."""
LARGEST_BYTES = 15_000_000
QUICK = "quick/seed_5"


def run(name: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a script to its end, and return its last line."""
    figures: dict[str, Any] = json.loads(printed_by(FOLDER / name, *arguments).splitlines()[-1])
    return figures


def test_the_shipped_model_has_the_recorded_figures() -> None:
    figures = run("evaluate.py")
    for name, value in RECORDED.items():
        assert figures["model"][name] == pytest.approx(value, abs=ROUNDING), name
    assert figures["input"]["cosine"] == pytest.approx(0.421, abs=5e-4)


def test_the_shipped_model_is_a_small_trained_checkpoint() -> None:
    assert MODEL.stat().st_size <= LARGEST_BYTES
    description = checkpoint.describe(MODEL)
    assert description["trained"] is True
    config = description["config"]
    assert isinstance(config, FlowConfig)
    assert (config.deterministic, config.embedding_dim) == (True, 384)


def test_the_recipe_is_that_of_the_shipped_model() -> None:
    fields = tomllib.loads((FOLDER / "recipe.toml").read_text(encoding="utf-8"))
    made = model_of(TrainConfig.from_dict(fields), 384).config
    shipped = checkpoint.describe(MODEL)["config"]
    assert isinstance(shipped, FlowConfig)
    assert shipped.replace({"model_seed": made.model_seed}) == made


def test_the_shipped_model_needs_its_flows() -> None:
    pairs = Pairs.read(VAL)
    some = Pairs.of(pairs.inputs[:200], pairs.targets[:200])
    found = ablate(checkpoint.load(MODEL), some, resamples=200).to_dict()
    changes = {
        entry["label"]: entry["changes"]["cosine"]["high"]
        for entry in found["entries"]
        if entry.get("changes")
    }
    # Upper ends of the intervals.
    assert changes["z off"] < -0.01
    assert changes["moves frozen"] < -0.01


def test_the_comparison(tmp_path: Path) -> None:
    arguments = ("--quick", "--seeds", "5", "--out", tmp_path, "--other", MODEL)
    found = run("compare.py", VAL, *arguments)
    table = found["table"]
    peers = {"linear map", "mappers with GELU", "MLP"}
    longer = {f"{name}, equal time" for name in peers}
    others = {"the input itself", "ridge regression", "other model"}
    assert set(table) == {"flow model"} | peers | longer | others
    assert set(found["flows_minus"]) == set(table) - {"flow model"}
    cosines = {name: one["cosine"]["median"] for name, one in table.items()}
    # Two steps on the same rows help.
    for name in peers | {"flow model"}:
        assert cosines[name] > cosines["the input itself"] + 0.01, name
        trials = table[name]["trials"][0]
        assert len(trials) == (1 if name == "flow model" else 2)
        assert {trial["steps"] for trial in trials} == {2}
    for name, one in found["flows_minus"].items():
        low, high = one["cosine"]["interval"]
        assert low <= one["cosine"]["difference"] <= high
        assert one["cosine"]["difference"] == pytest.approx(cosines["flow model"] - cosines[name])
    ablations = found["ablations"]
    assert set(ablations) == {"as it is", "moves frozen", "x and y off", "z off", "energies kept"}
    assert ablations["as it is"]["cosine"]["median"] == pytest.approx(cosines["flow model"])

    model = tmp_path / QUICK / "model.safetensors"
    assert checkpoint.describe(model)["trained"] is True
    trained_at = model.stat().st_mtime_ns
    assert run("compare.py", VAL, *arguments)["table"]["flow model"] == table["flow model"]
    assert model.stat().st_mtime_ns == trained_at
