"""The benchmark of one device: its parts, and what a part that fails does to the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.device.command import PARTS
from benchmarks.device.figures import operations_of_a_flow
from energy_flow import FlowConfig
from tests.support.repository import ROOT


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the figures of the command, on the CPU."""
    command = (sys.executable, "-m", "benchmarks", "device", "--device", "cpu", "--quick")
    done = subprocess.run(
        (*command, *arguments), cwd=ROOT, capture_output=True, text=True, check=False
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return done.returncode, figures


def test_checks_pass_on_a_cpu(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    code, figures = run("--only", "reference,gradients", "--json", str(file))
    assert code == 0
    assert list(figures["benchmarks"]) == ["reference", "gradients"]
    for part in figures["benchmarks"].values():
        assert part["figures"]["passed"] is True
    assert json.loads(file.read_text(encoding="utf-8")) == figures


def test_parts_for_which_no_time_is_left_are_named() -> None:
    code, figures = run("--seconds", "0")
    assert code == 1
    assert list(figures["benchmarks"]) == list(PARTS)
    assert all("the time is over" in part["error"] for part in figures["benchmarks"].values())


def test_an_unknown_part_is_refused() -> None:
    command = (sys.executable, "-m", "benchmarks", "device", "--only", "step")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no part 'step'" in done.stderr


def test_operations_are_those_of_the_gates() -> None:
    config = FlowConfig.from_dict(
        {"neuron_hidden_dim": 7, "carrier_hidden_size": 4, "carrier_num_layers": 2}
    )
    # Three gates of four numbers: 8 inputs and 4 of the state, then 4 and 4.
    assert operations_of_a_flow(config) == pytest.approx(2 * 12 * (8 + 4) + 2 * 12 * (4 + 4))
