"""A flow between steps, and what a step did to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .decisions import F, Plane, coordinate_of_cell
from .layers import Float32
from .results import NotFiniteError
from .rules import Rules

Known = tuple[bool, bool, bool]


@dataclass
class Flow:
    """A flow between steps. `known` is per axis, as `margin.py` defines it."""

    id: int
    parent: int
    position: Float32
    known: Known
    energy: np.float32
    hidden: Float32
    age: int
    path_length: np.float32
    origin: tuple[int, ...]
    """Initial flow, then the birth step of each ancestor: equal for siblings of one step."""


@dataclass
class Move:
    """What happened to a flow in rules 1 to 7 of a step."""

    start: Float32
    start_known: Known
    displacement: Float32
    displacement_known: Known
    length: np.float32
    length_exact: bool
    plane: Plane
    walls: int


def first_flows(rules: Rules, energies: Float32, sample: int) -> list[Flow]:
    """S flows on the input plane, one a cell, in the order of the surface index.

    `energies` [H, W] come from the input mapper; NotFiniteError if one is not finite.
    """
    flows = []
    for iy in range(rules.height):
        for ix in range(rules.width):
            flow_id = iy * rules.width + ix
            if not np.isfinite(energies[iy, ix]):
                raise NotFiniteError("energy", sample, flow_id, -1)
            x = coordinate_of_cell(ix, rules.width)
            y = coordinate_of_cell(iy, rules.height)
            flows.append(
                Flow(
                    id=flow_id,
                    parent=-1,
                    position=np.array([x, y, 0.0], dtype=np.float32),
                    known=(True, True, True),
                    energy=energies[iy, ix],
                    hidden=np.zeros(
                        (rules.carrier_num_layers, rules.carrier_hidden_size), np.float32
                    ),
                    age=0,
                    path_length=F(0.0),
                    origin=(flow_id,),
                )
            )
    return flows
