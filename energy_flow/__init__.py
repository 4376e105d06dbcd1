"""Energy Flow: event-traced simulation of energy flows on a 3D lattice.

For example::

    from energy_flow import FlowProcessor, presets

    processor = FlowProcessor(presets.debug())
    result = processor.simulate(embeddings, outputs=("surface", "hits"))

Names are loaded at their first use (PEP 562), so that importing this package or
``energy_flow.client`` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_flow import pretrained
    from energy_flow.choices import ARITHMETIC
    from energy_flow.config import presets
    from energy_flow.config.flow_config import FlowConfig
    from energy_flow.errors import EnergyFlowError
    from energy_flow.simulation import checkpoint
    from energy_flow.simulation.flow_processor import FlowProcessor
    from energy_flow.simulation.tally.result import SimulationResult

__all__ = [
    "ARITHMETIC",
    "EnergyFlowError",
    "FlowConfig",
    "FlowProcessor",
    "SimulationResult",
    "checkpoint",
    "presets",
    "pretrained",
]

_MODULES = {
    "ARITHMETIC": "energy_flow.choices",
    "EnergyFlowError": "energy_flow.errors",
    "FlowConfig": "energy_flow.config.flow_config",
    "FlowProcessor": "energy_flow.simulation.flow_processor",
    "SimulationResult": "energy_flow.simulation.tally.result",
    "checkpoint": "energy_flow.simulation.checkpoint",
    "presets": "energy_flow.config.presets",
    "pretrained": "energy_flow.pretrained",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("energy-flow")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_MODULES[name])
    value = module if module.__name__.endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
