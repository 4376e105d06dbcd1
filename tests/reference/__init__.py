"""A slow, obvious simulator of Energy Flow, written from docs/simulation.md alone.

It takes one flow at a time through plain loops in numpy and Python, shares no code with the
package, and is what the package's results are compared with: integers must be equal and floats
close, unless `ReferenceSample.margin` shows that a decision depended on rounding.
"""

from __future__ import annotations

from .networks import Networks
from .philox import normals, philox4x32_10
from .results import Counters, NotFiniteError, ReferenceSample, StepMetrics
from .ring import Kind, Record
from .simulator import simulate

__all__ = [
    "Counters",
    "Kind",
    "Networks",
    "NotFiniteError",
    "Record",
    "ReferenceSample",
    "StepMetrics",
    "normals",
    "philox4x32_10",
    "simulate",
]
