"""What do the flows of a model do? Parts of it are switched off, and its figures compared.

The usual way::

    from energy_flow.ablation import ablate
    from energy_flow.simulation.checkpoint import load
    from energy_flow.training.data import Pairs

    print(ablate(load("model.safetensors"), Pairs.read("pairs.safetensors")).table())

Names are loaded at their first use (PEP 562): clients read results and must not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_flow.ablation.ablation_run import (
        DEFAULT_ROWS_AT_ONCE,
        AblationRun,
        ablate,
        find_parts,
    )
    from energy_flow.ablation.measurements import AblationMeasurements
    from energy_flow.ablation.result import (
        DEFAULT_RESAMPLES,
        AblationEntry,
        AblationResult,
        Interval,
    )

__all__ = [
    "DEFAULT_RESAMPLES",
    "DEFAULT_ROWS_AT_ONCE",
    "AblationEntry",
    "AblationMeasurements",
    "AblationResult",
    "AblationRun",
    "Interval",
    "ablate",
    "find_parts",
]

_MODULES = dict.fromkeys(
    ("DEFAULT_RESAMPLES", "AblationEntry", "AblationResult", "Interval"), "result"
) | {"AblationMeasurements": "measurements"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name, "ablation_run")
    return getattr(import_module(f"{__name__}.{module}"), name)
