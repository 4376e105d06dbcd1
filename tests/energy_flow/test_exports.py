"""What the package exports, and when it loads torch."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version

import pytest

import energy_flow


def test_every_exported_name_exists() -> None:
    for name in energy_flow.__all__:
        assert getattr(energy_flow, name) is not None
    assert set(energy_flow.__all__) <= set(dir(energy_flow))
    assert energy_flow.__version__ == version("energy-flow")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = energy_flow.nonsense


@pytest.mark.parametrize(
    "statement",
    [
        "import energy_flow",
        "import energy_flow.client",
        "import energy_flow.trace.records",
        "from energy_flow import EnergyFlowError, FlowConfig, presets",
    ],
)
def test_torch_is_loaded_only_when_it_is_needed(statement: str) -> None:
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize(
    ("former", "now", "name"),
    [
        ("energy_flow.presets", "energy_flow.config.presets", "debug"),
        ("energy_flow.checkpoint", "energy_flow.simulation.checkpoint", "load"),
        ("service.client", "energy_flow.client", "FlowClient"),
    ],
)
def test_former_places_work_and_warn(former: str, now: str, name: str) -> None:
    sys.modules.pop(former, None)
    with pytest.warns(DeprecationWarning, match="has moved"):
        module = importlib.import_module(former)
    assert getattr(module, name) is getattr(importlib.import_module(now), name)
