"""The trained model of the repository has the figures of docs/training.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from energy_flow import checkpoint, pretrained
from energy_flow.config.flow_config import FlowConfig
from tests.support.repository import EXAMPLES
from tests.support.scripts import printed_by

FOLDER = EXAMPLES / "reverse_dictionary"
RECORDED = {"cosine": 0.5216, "top_1": 0.435, "top_10": 0.679}
"""Figures of the shipped model on the val rows, as in docs/training.md."""
ROUNDING = 2e-3
"""Rounding differs between machines: a flow may end in the next cell, two rows change rank."""


def run(name: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a script to its end, and return its last line."""
    figures: dict[str, Any] = json.loads(printed_by(FOLDER / name, *arguments).splitlines()[-1])
    return figures


def test_the_shipped_model_has_the_recorded_figures() -> None:
    figures = run("evaluate.py")
    for name, value in RECORDED.items():
        assert figures["model"][name] == pytest.approx(value, abs=ROUNDING), name
    assert figures["input"]["cosine"] == pytest.approx(0.421, abs=5e-4)


def test_the_shipped_model_reads_the_definitions() -> None:
    description = checkpoint.describe(pretrained.find("dictionary").checkpoint)
    config = description["config"]
    assert isinstance(config, FlowConfig)
    assert (config.deterministic, config.embedding_dim) == (True, 384)


def test_the_comparison(tmp_path: Path) -> None:
    arguments = ("--seeds", "5", "--steps", "1", "--out", tmp_path)
    found = run("compare.py", FOLDER / "val.safetensors", *arguments)
    table = found["table"]
    assert set(table) == {
        "the input itself",
        "ridge regression",
        "MLP",
        "mappers without flows",
        "flow model",
    }
    cosines = {name: one["median"]["cosine"] for name, one in table.items()}
    # One step on the same rows helps; the flows stay in their cells and have little effect.
    for name in ("MLP", "mappers without flows", "flow model"):
        assert cosines[name] > cosines["the input itself"] + 0.02, name
    assert cosines["flow model"] == pytest.approx(cosines["mappers without flows"], abs=0.01)
    low, high = found["flows_minus"]["mappers without flows"]["cosine"]["interval"]
    assert low <= found["flows_minus"]["mappers without flows"]["cosine"]["difference"] <= high
    assert checkpoint.describe(tmp_path / "run_5" / "model.safetensors")["trained"] is True
