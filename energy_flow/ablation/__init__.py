"""What do the flows of a model do? Parts of it are switched off, and its figures compared.

The usual way::

    from energy_flow.ablation import ablate
    from energy_flow.simulation.checkpoint import load
    from energy_flow.training.data import Pairs

    print(ablate(load("model.safetensors"), Pairs.read("pairs.safetensors")).table())
"""

from energy_flow.ablation.ablation_run import AblationRun, ablate
from energy_flow.ablation.result import AblationEntry, AblationResult, Interval

__all__ = ["AblationEntry", "AblationResult", "AblationRun", "Interval", "ablate"]
