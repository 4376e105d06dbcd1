"""What the package exports, and when it loads torch."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version

import pytest

import energy_flow
import energy_flow.testing


def test_every_exported_name_exists() -> None:
    for package in (energy_flow, energy_flow.testing):
        for name in package.__all__:
            assert getattr(package, name) is not None
        assert set(package.__all__) <= set(dir(package))
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            _ = package.nonsense
    assert energy_flow.__version__ == version("energy-flow")


@pytest.mark.parametrize(
    "statement",
    [
        "import energy_flow",
        "import energy_flow.client",
        "import energy_flow.trace.records",
        "from energy_flow.ablation import AblationResult, Interval",
        "from energy_flow import EnergyFlowError, FlowConfig, presets",
        "from energy_flow.testing import FakeFlowServer, tiny_config; tiny_config()",
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
def test_former_modules_work_and_warn(former: str, now: str, name: str) -> None:
    sys.modules.pop(former, None)
    with pytest.warns(DeprecationWarning, match="has moved"):
        module = importlib.import_module(former)
    assert getattr(module, name) is getattr(importlib.import_module(now), name)
