"""The event trace: the schema of records, the ring on the device, files.

``Trace`` and ``TraceCounters`` are loaded at their first use (PEP 562): clients import the schema
of the records from this package and must not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energy_flow.trace.event_trace import Trace, TraceCounters

__all__ = ["Trace", "TraceCounters"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("energy_flow.trace.event_trace"), name)
