"""The event trace: the ring on the device, the records, their file formats.

``Trace`` and ``TraceCounters`` are loaded when they are first used (PEP 562): clients import the
schema of the records from here and must not load torch.
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
