"""What follows from a step's decisions, in one pass over the flows of every sample.

``emission`` and ``step_trace`` say the same in tensor operations.

Shape legend: N flows before the step, M flows after it, B samples, R records of room in all rings.
"""

# Numba compiles these functions from their bytecode, and infers their types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numba
import numpy as np

from energy_flow.runtime.numba_kernel import Kernel, part
from energy_flow.simulation.rules.termination import ACTIVE, Reason
from energy_flow.trace.records import REFLECT, SPAWN, TERMINATE

STILL_ACTIVE = int(ACTIVE)
LAST_TALLIED, LAST_REASON = int(Reason.MAX_STEPS), int(Reason.STALLED)
i32, f32 = np.int32, np.float32


@part
def put(value, row, at):
    """A 64-bit number as two words."""
    row[at] = i32(value & 0xFFFFFFFF)
    row[at + 1] = i32(value >> 32)


@part
def recorded(row, floats, seq, flow, parent, step, kind, code, plane, x, y, z, energy, length):
    """One record; ``row`` and ``floats`` are the same words."""
    put(seq, row, 0)
    put(flow, row, 2)
    put(parent, row, 4)
    row[6] = i32(step)
    row[7] = i32(kind | (code << 8) | ((plane & 0xFF) << 16))
    floats[8], floats[9], floats[10] = x, y, z
    floats[11], floats[12] = energy, length


@Kernel
def emit(
    starts,
    ends,
    spawned,
    created,
    step,
    first,
    enabled,
    low,
    high,
    ring_start,
    ring_capacity,
    flow,
    parent,
    before,
    position,
    energy,
    length,
    age,
    path,
    outcome,
    plane,
    granted,
    walls,
    words,
    floats,
    new_sample,
    new_flow,
    new_parent,
    new_position,
    new_energy,
    new_age,
    new_path,
    source,
):
    """Survivors, then children, of every sample; and the records that survive the step.

    Args:
        starts: first flow of each sample before the step, int64 [B + 1]. ends: and after it.
        spawned, created, step: of samples, int64 [B]; created before the step.
        first: sequence numbers of each kind, int64 [kinds, B]. enabled: bool [B, kinds].
        low, high: which numbers survive. ring_start, ring_capacity: int64 [B].
        flow, parent, before: of flows, before the step. position, energy, length, age, path,
            outcome, plane, granted, walls: after it. [N] or [N, 3].
        words, floats: the rings, int32 and float32 views of the same memory, [R, words].
        new_…: the flows after the step, [M] or [M, 3].
        source: the row before the step that a flow's hidden state is in, int64 [M].
    """
    for b in numba.prange(spawned.shape[0]):
        alive, born = ends[b], ends[b + 1] - spawned[b]
        child = created[b]
        ordinal = 0
        spawns, reflects, terminates = enabled[b, SPAWN], enabled[b, REFLECT], enabled[b, TERMINATE]
        spawn_seq, reflect_seq, terminate_seq = (
            first[SPAWN, b],
            first[REFLECT, b],
            first[TERMINATE, b],
        )
        place, capacity, when = ring_start[b], max(ring_capacity[b], 1), step[b]
        for n in range(starts[b], starts[b + 1]):
            x, y, z = position[n, 0], position[n, 1], position[n, 2]
            if reflects and walls[n] > 0:
                if low[b] <= reflect_seq < high[b]:
                    at = place + reflect_seq % capacity
                    recorded(
                        words[at],
                        floats[at],
                        reflect_seq,
                        flow[n],
                        parent[n],
                        when,
                        REFLECT,
                        walls[n],
                        -1,
                        x,
                        y,
                        z,
                        energy[n],
                        length[n],
                    )
                reflect_seq += 1
            if terminates and outcome[n] <= LAST_REASON:
                if low[b] <= terminate_seq < high[b]:
                    at = place + terminate_seq % capacity
                    side, depth = -1, z
                    if outcome[n] <= LAST_TALLIED:
                        side, depth = plane[n], f32(2 * plane[n] - 1)
                    recorded(
                        words[at],
                        floats[at],
                        terminate_seq,
                        flow[n],
                        parent[n],
                        when,
                        TERMINATE,
                        outcome[n],
                        side,
                        x,
                        y,
                        depth,
                        energy[n],
                        length[n],
                    )
                terminate_seq += 1
            if outcome[n] == STILL_ACTIVE:
                new_sample[alive], new_flow[alive], new_parent[alive] = b, flow[n], parent[n]
                new_position[alive, 0], new_position[alive, 1], new_position[alive, 2] = x, y, z
                new_energy[alive], new_age[alive], new_path[alive] = energy[n], age[n], path[n]
                source[alive] = n
                alive += 1
            for ordinal in range(granted[n]):
                x, y, z = before[n, 0], before[n, 1], before[n, 2]
                if spawns:
                    if low[b] <= spawn_seq < high[b]:
                        at = place + spawn_seq % capacity
                        recorded(
                            words[at],
                            floats[at],
                            spawn_seq,
                            child,
                            flow[n],
                            when,
                            SPAWN,
                            ordinal,
                            -1,
                            x,
                            y,
                            z,
                            energy[n],
                            length[n],
                        )
                    spawn_seq += 1
                new_sample[born], new_flow[born], new_parent[born] = b, child, flow[n]
                new_position[born, 0], new_position[born, 1], new_position[born, 2] = x, y, z
                new_energy[born], new_age[born], new_path[born] = energy[n], 0, f32(0.0)
                source[born] = n
                born += 1
                child += 1
