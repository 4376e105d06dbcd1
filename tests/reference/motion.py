"""Rules 2 to 7 of docs/simulation.md §3: from a carrier's proposal to a flow's new place."""

from __future__ import annotations

import numpy as np

from .decisions import F, clamp, exit_plane, fold, wall_code
from .flow import Flow, Known, Move
from .layers import Float32
from .margin import CLEARLY_BEYOND, Margin, length_is_exact
from .networks import Proposal
from .philox import normals
from .rules import Rules


def displace(
    rules: Rules, proposal: Proposal, constant_axes: Known, flow: int, t: int, key: int
) -> tuple[Float32, Known]:
    """Rules 2 and 3: d [3] from the head's r [3] and e', and which of its components are known."""
    limit = F(rules.max_displacement)
    with np.errstate(over="ignore"):
        scaled = proposal.displacement * F(rules.displacement_scale)
        if rules.field_strength != 0:
            pull = F(rules.displacement_scale * rules.field_strength * float(proposal.energy))
            scaled[2] = F(scaled[2] + pull)
            constant_axes = (constant_axes[0], constant_axes[1], False)
    d = np.array([clamp(component, limit) for component in scaled], dtype=np.float32)
    known = [
        constant or bool(abs(component) - limit > CLEARLY_BEYOND)
        for constant, component in zip(constant_axes, scaled, strict=True)
    ]
    if rules.noise_std > 0:
        g = normals(rules.seed, flow, t, key)
        for axis in (0, 1, 2) if rules.noise_on_z else (0, 1):
            d[axis] = F(d[axis] + F(rules.noise_std) * F(g[axis]))
            known[axis] = False
    return d, (known[0], known[1], known[2])


def move(
    rules: Rules,
    flow: Flow,
    proposal: Proposal,
    d: Float32,
    d_known: Known,
    t: int,
    margin: Margin,
) -> Move:
    """Rules 4 to 7. Changes the flow's position, energy, hidden state, age and path length."""
    length = F(np.sqrt(F(F(d[0] * d[0] + d[1] * d[1]) + d[2] * d[2])))
    start, start_known = flow.position, flow.known
    q = start + d
    known = [before and moved for before, moved in zip(start_known, d_known, strict=True)]

    if not known[2]:
        margin.see(abs(abs(q[2]) - F(1)), t, flow.id, f"exit, z = {q[2]} against +-1")
    plane = exit_plane(q[2])

    position = np.array(q)
    for axis in (0, 1):
        overshoot = abs(q[axis]) - F(1)
        if rules.reflect:
            if not known[axis]:
                wall = f"wall, {'xy'[axis]} = {q[axis]} against +-1"
                margin.see(abs(overshoot), t, flow.id, wall)
            position[axis] = fold(q[axis])
        else:
            position[axis] = clamp(q[axis])
            known[axis] = known[axis] or bool(overshoot > CLEARLY_BEYOND)

    flow.position = np.array([clamp(coordinate) for coordinate in position], dtype=np.float32)
    flow.known = (known[0], known[1], known[2])
    flow.energy = proposal.energy
    flow.hidden = proposal.hidden
    flow.age += 1
    flow.path_length = F(flow.path_length + length)
    return Move(
        start=start,
        start_known=start_known,
        displacement=d,
        displacement_known=d_known,
        length=length,
        length_exact=length_is_exact(d, d_known, length),
        plane=plane,
        walls=wall_code(q[0], q[1]) if rules.reflect else 0,
    )
