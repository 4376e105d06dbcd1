"""The outputs of a run: one a module, found by its name in ``choices.Output``.

A module has one function, ``read``, which reads the output of some samples; :func:`read_output`
gives the result its shape. Names, dtypes, axes and descriptions are in ``choices``. This package
loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np

from energy_flow.choices import Axis, Output, Plane

if TYPE_CHECKING:
    from torch import Tensor

    from energy_flow.config.flow_config import FlowConfig
    from energy_flow.simulation.tally.output_source import OutputSource


_LENGTHS: Final[Mapping[Axis, Callable[[FlowConfig], int]]] = MappingProxyType(
    {
        Axis.PLANE: lambda _: len(Plane),
        Axis.Y: lambda config: config.lattice_height,
        Axis.X: lambda config: config.lattice_width,
        Axis.EMBEDDING: lambda config: config.output_width,
    }
)


class _Output(Protocol):
    def read(self, source: OutputSource, /) -> Tensor: ...


def output_shape(name: str, config: FlowConfig) -> tuple[int, ...]:
    """Return the lengths of the axes of one sample's output.

    Args:
        name: of ``choices.Output``.
        config: of the run.
    """
    return tuple(_LENGTHS[axis](config) for axis in Output(name).axes)


def read_output(name: str, source: OutputSource, config: FlowConfig) -> Tensor:
    """Return an output of some samples, [B, ...].

    Args:
        name: of ``choices.Output``.
        source: the samples.
        config: of the run.
    """
    return _module(name).read(source).reshape(-1, *output_shape(name, config))


def sample_bytes(names: Iterable[str], config: FlowConfig) -> int:
    """Return the bytes of some outputs of one sample.

    Args:
        names: of ``choices.Output``.
        config: of the run.
    """
    return sum(
        prod(output_shape(name, config)) * np.dtype(Output(name).dtype).itemsize for name in names
    )


def _module(name: str) -> _Output:
    return cast(_Output, import_module(f"{__name__}.{Output(name).value}"))
