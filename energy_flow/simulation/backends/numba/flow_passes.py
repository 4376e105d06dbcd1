"""What follows from a step's decisions, in one pass over the flows of every sample.

``tensor.emission`` and ``tensor.records`` compute the same in tensor operations.

Shape legend: N flows before the step, M flows after it, B samples, K kinds of records, R rows of
all rings.
"""

# Numba compiles these functions from their bytecode, and infers their types.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numba
import numpy as np

from energy_flow.choices import ACTIVE
from energy_flow.runtime.numba_kernel import Kernel, part
from energy_flow.simulation.rules.termination import LAST_REASON, LAST_TALLIED
from energy_flow.trace.records import REFLECT, SPAWN, TERMINATE

i32, f32 = np.int32, np.float32


@part
def store_i64(value, row, at):
    """Write a 64-bit number as two words."""
    row[at] = i32(value & 0xFFFFFFFF)
    row[at + 1] = i32(value >> 32)


@part
def write_record(row, floats, seq, flow, parent, step, kind, code, plane, x, y, z, energy, length):
    """Write one record; ``row`` and ``floats`` are the same words."""
    store_i64(seq, row, 0)
    store_i64(flow, row, 2)
    store_i64(parent, row, 4)
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
    """Write survivors, then children, of every sample, and the records that survive the step.

    Args:
        starts: first flow of each sample before the step, int64 [B + 1].
        ends: first flow of each sample after the step, int64 [B + 1].
        spawned: children of each sample, int64 [B].
        created: flows of each sample before the step, int64 [B].
        step: number of the step, int64 [B].
        first: sequence numbers of each kind, int64 [K, B].
        enabled: kinds that are recorded, bool [B, K].
        low: first sequence number that survives, int64 [B].
        high: one past the last that survives, int64 [B].
        ring_start: first row of each ring, int64 [B].
        ring_capacity: rows of each ring, int64 [B].
        flow: ids, int64 [N].
        parent: ids of parents, int64 [N].
        before: positions before the step, float32 [N, 3].
        position: positions after the walls, float32 [N, 3].
        energy: proposed energies, float32 [N].
        length: of displacements, float32 [N].
        age: after the step, int64 [N].
        path: path lengths after the step, float32 [N].
        outcome: codes of reasons, ``ACTIVE`` or ``FAILED``, int64 [N].
        plane: nearest planes, int64 [N].
        granted: children, int64 [N].
        walls: bits of the walls crossed, int64 [N].
        words: the rings, int32 [R, words].
        floats: the same memory as float32.
        new_sample: columns of the flows after the step, as are the following; int64 [M].
        new_flow: int64 [M].
        new_parent: int64 [M].
        new_position: float32 [M, 3].
        new_energy: float32 [M].
        new_age: int64 [M].
        new_path: float32 [M].
        source: the row of the hidden state that a flow continues from, int64 [M].
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
                    write_record(
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
                    write_record(
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
            if outcome[n] == ACTIVE:
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
                        write_record(
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
