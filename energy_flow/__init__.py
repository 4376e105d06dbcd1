"""Energy Flow: event-traced simulation of energy flows on a 3D lattice.

The usual way in::

    from energy_flow import FlowProcessor, presets

    processor = FlowProcessor(presets.debug())
    result = processor.simulate(embeddings, outputs=("surface", "hits"))
"""

from energy_flow.config import FlowConfig
from energy_flow.errors import EnergyFlowError
from energy_flow.flow_processor import FlowProcessor
from energy_flow.result import SimulationResult

__all__ = ["EnergyFlowError", "FlowConfig", "FlowProcessor", "SimulationResult"]
