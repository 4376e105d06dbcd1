"""The models that a device is checked and measured with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from benchmarks.options import Options
from benchmarks.workload import processor
from energy_flow import FlowProcessor
from energy_flow.choices import Precision, Preset

BATCHES = (1, 8, 128)
QUICK_BATCHES = (1, 8)


@dataclass(frozen=True, slots=True)
class Shape:
    """A model.

    Attributes:
        preset: name of the preset.
        precision: of the networks.
    """

    preset: str
    precision: str

    @property
    def name(self) -> str:
        """Preset and precision."""
        return f"{self.preset} {self.precision}"


def shapes(options: Options) -> Iterator[Shape]:
    """Yield the models: each preset in its precision, or ``debug`` in both.

    Args:
        options: how to measure.
    """
    if options.quick:
        yield from (Shape(Preset.DEBUG, precision) for precision in Precision)
        return
    yield Shape(Preset.DEBUG, Precision.FLOAT32)
    yield Shape(Preset.EXPERIMENT, Precision.BFLOAT16)
    yield Shape(Preset.OPTIMIZED, Precision.BFLOAT16)


@cache
def model(shape: Shape, device: str) -> FlowProcessor:
    """Return the untrained model of a shape; there is one of each on a device.

    Args:
        shape: which model.
        device: where it is to be.
    """
    return processor(shape.preset, device, {"precision": shape.precision})
