"""The event trace: the ring on the device, the records, their file formats."""

from energy_flow.trace.event_trace import Trace, TraceCounters

__all__ = ["Trace", "TraceCounters"]
