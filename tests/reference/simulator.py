"""The slow, obvious simulator: docs/simulation.md §3 read aloud, one flow at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .decisions import (
    Convergence,
    F,
    Plane,
    Reason,
    cell_of_coordinate,
    distance_to_cell_border,
    is_energy_within_limit,
    nearest_plane,
)
from .flow import Flow, Move, first_flows
from .margin import Margin
from .motion import displace, move
from .networks import Networks
from .results import Counters, NotFiniteError, ReferenceSample, StepMetrics
from .ring import Event, Kind, Ring
from .rules import Rules, read_rules
from .sensing import Sensing
from .spawning import Parent, children_of
from .splat import Touch, distance_to_corner, touches_of
from .tally import Score, Tally, importance


def simulate(
    config: Mapping[str, Any],
    weights: Mapping[str, npt.NDArray[np.floating]],
    embeddings: npt.NDArray[np.floating],
    seed: int,
    sample_keys: Sequence[int] | None = None,
) -> list[ReferenceSample]:
    """Run every row of `embeddings` [B, E] on its own.

    `config` is the complete nested config as plain data, `weights` maps checkpoint tensor names
    to arrays. Sample keys default to row numbers. Raises ValueError for a config or tensors that
    the reference does not take, NotFiniteError for a run that leaves the finite numbers.
    """
    rules = read_rules(config, seed)
    networks = Networks(rules, weights)
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != rules.embedding_dim:
        raise ValueError(f"embeddings must be [B, {rules.embedding_dim}], got {rows.shape}")
    keys = range(len(rows)) if sample_keys is None else sample_keys
    if len(keys) != len(rows):
        raise ValueError(f"need one sample key for each of {len(rows)} rows, got {len(keys)}")
    return [
        _Sample(rules, networks, row, index, key).run()
        for index, (row, key) in enumerate(zip(rows, keys, strict=True))
    ]


class _Sample:
    """One sample while it runs."""

    def __init__(
        self,
        rules: Rules,
        networks: Networks,
        embedding: npt.NDArray[np.float64],
        index: int,
        key: int,
    ) -> None:
        self.rules = rules
        self.networks = networks
        self.index = index
        self.key = key
        self.margin = Margin()
        self.ring = Ring(rules.trace)
        self.tally = Tally(rules.width, rules.height, rules.aggregation_mode, rules.background)
        self.convergence = Convergence(rules.convergence)
        self.metrics: list[StepMetrics] = []
        self.ended: list[Flow] = []
        energies = networks.map_input(embedding)
        self.active = first_flows(rules, energies, index)
        self.sensing = Sensing(rules, energies)
        self.next_id = rules.cells
        self.counters = Counters.at_start(rules.cells)

    def run(self) -> ReferenceSample:
        """All steps, then the result."""
        step = 0
        while self.active:
            self.step(step)
            self.check_ledger()
            step += 1
        counters = self.counters
        counters.mean_path_steps = float(np.mean([flow.age for flow in self.ended]))
        counters.mean_path_length = float(np.mean([float(flow.path_length) for flow in self.ended]))
        surface = self.tally.surface()
        planes = np.stack([self.tally.surface(Plane.Z0), self.tally.surface(Plane.ZDEPTH)])
        surfaces = planes if self.rules.planes_read == 2 else surface[np.newaxis]
        return ReferenceSample(
            surface=surface,
            planes=planes,
            hits=self.tally.hits(),
            reached=self.tally.reached(),
            embedding=self.networks.map_output(surfaces),
            records=self.ring.records,
            totals=self.ring.total,
            recorded=self.ring.recorded,
            dropped=self.ring.dropped,
            counters=counters,
            metrics=self.metrics,
            margin=self.margin.distance,
            closest_decision=self.margin.decision,
        )

    def step(self, t: int) -> None:
        """One step of all active flows; their list is in the order of ids throughout."""
        before = dataclasses.replace(self.counters, by_reason=dict(self.counters.by_reason))
        flows = self.active
        moves = {flow.id: self.move(flow, t) for flow in flows}

        for flow in flows:
            self.record_reflection(flow, moves[flow.id], t)

        reasons: dict[int, Reason] = {}
        for flow in flows:
            reason = self.reason_to_end(flow, moves[flow.id], t)
            if reason is not None:
                reasons[flow.id] = reason

        completed = self.counters.completed + sum(
            reason != Reason.STALLED for reason in reasons.values()
        )
        if self.convergence.check(t, completed, self.counters.created):
            for flow in flows:
                reasons.setdefault(flow.id, Reason.CONVERGED)

        # Records of one kind are in the order of flow ids, whichever rule ended the flow.
        for flow in flows:
            if flow.id in reasons:
                self.end(flow, moves[flow.id], reasons[flow.id], t)

        survivors = [flow for flow in flows if flow.id not in reasons]
        children = self.spawn(survivors, moves, t)
        self.active = survivors + children

        self.counters.steps += 1
        self.counters.flow_steps += len(flows)
        after = self.counters
        self.metrics.append(
            StepMetrics(
                step=t,
                moved=len(flows),
                active=len(self.active),
                spawned=after.spawned - before.spawned,
                spawns_suppressed=after.spawns_suppressed - before.spawns_suppressed,
                reflected=after.reflected - before.reflected,
                terminated={
                    name: count - before.by_reason[name] for name, count in after.by_reason.items()
                },
                mean_length=float(np.mean([float(m.length) for m in moves.values()])),
                variance_dz=float(np.var([float(m.displacement[2]) for m in moves.values()])),
            )
        )

    def move(self, flow: Flow, t: int) -> Move:
        """Rules 1 to 7; refuses a proposal that is not finite."""
        proposal = self.networks.propose(
            flow.position, flow.energy, self.sensing.at(flow.position), flow.hidden
        )
        if not all(map(is_energy_within_limit, (flow.energy, proposal.energy))):
            raise NotFiniteError("energy", self.index, flow.id, t)
        if not np.isfinite(proposal.displacement).all():
            raise NotFiniteError("displacement", self.index, flow.id, t)
        constant = self.networks.constant_axes
        d, known = displace(self.rules, proposal, constant, flow.id, t, self.key)
        return move(self.rules, flow, proposal, d, known, t, self.margin)

    def reason_to_end(self, flow: Flow, move: Move, t: int) -> Reason | None:
        """Rule 8, first that applies."""
        rules = self.rules
        if move.plane != Plane.NONE:
            return Reason.PLANE
        if rules.min_displacement > 0:
            least = F(rules.min_displacement)
            if not move.length_exact:
                self.margin.see(
                    abs(move.length - least), t, flow.id, f"stall, length = {move.length}"
                )
            if move.length < least:
                return Reason.STALLED
        if flow.age >= rules.projection_age:
            return Reason.PROJECTED
        if t + 1 == rules.max_steps:
            return Reason.MAX_STEPS
        return None

    def end(self, flow: Flow, move: Move, reason: Reason, t: int) -> None:
        """Move the flow to its plane, tally it, count it and make its record."""
        counters = self.counters
        plane = Plane.NONE
        if reason == Reason.STALLED:
            counters.stalled += 1
        else:
            plane, distance = move.plane, F(0.0)
            z = flow.position[2]
            if reason != Reason.PLANE:
                if not flow.known[2]:
                    self.margin.see(abs(z), t, flow.id, f"projection side, z = {z} against 0")
                plane, distance = nearest_plane(z), F(F(1.0) - abs(z))
                flow.position[2] = -1.0 if plane == Plane.Z0 else 1.0
            self.score(flow, z, plane, distance, t)
            counters.completed += 1
            counters.by_plane[plane.name.lower()] += 1
            counters.by_plane_and_reason[f"{plane.name.lower()}.{reason.name.lower()}"] += 1
        counters.by_reason[reason.name.lower()] += 1
        self.ended.append(flow)
        self.record(Kind.TERMINATE, t, flow, int(reason), plane, move.length)

    def score(self, flow: Flow, z: np.float32, plane: Plane, distance: np.float32, t: int) -> None:
        """Tally a flow in the cell of its final x and y; z is before any move to a plane.

        Whether a share of a plane is above 0 needs no margin of its own: rule 5 has taken it.
        """
        sides = (self.rules.width, self.rules.height)
        splat = self.rules.aggregation_mode == "splat"
        for axis in (0, 1):
            coordinate = flow.position[axis]
            if not flow.known[axis]:
                self.margin.see(
                    distance_to_cell_border(coordinate, sides[axis]),
                    t,
                    flow.id,
                    f"cell, {'xy'[axis]} = {coordinate} near a border",
                )
                if splat:
                    self.margin.see(
                        distance_to_corner(coordinate, sides[axis]),
                        t,
                        flow.id,
                        f"touch, {'xy'[axis]} = {coordinate} near the centre of a cell",
                    )
        x, y = flow.position[0], flow.position[1]
        ix, iy = cell_of_coordinate(x, sides[0]), cell_of_coordinate(y, sides[1])
        self.tally.add(
            Score(
                plane=int(plane),
                ix=ix,
                iy=iy,
                energy=float(flow.energy),
                importance=importance(float(flow.energy), float(distance), flow.age),
                touches=(
                    touches_of(x, y, z, *sides) if splat else (Touch(int(plane), ix, iy, 1.0),)
                ),
            )
        )

    def spawn(self, survivors: list[Flow], moves: dict[int, Move], t: int) -> list[Flow]:
        """Rule 10 for the flows still active; the children, in the order of their ids."""
        parents = [
            Parent(
                flow.id,
                moves[flow.id].length,
                moves[flow.id].length_exact,
                self.length_identity(flow, moves[flow.id]),
            )
            for flow in survivors
        ]
        wanted = children_of(parents, self.rules.spawn, self.margin, t)

        room = self.rules.max_active_flows - len(survivors)
        children: list[Flow] = []
        for flow, number in zip(survivors, wanted, strict=True):
            move = moves[flow.id]
            for ordinal in range(number):
                if len(children) >= room:
                    self.counters.spawns_suppressed += 1
                    continue
                child = Flow(
                    id=self.next_id,
                    parent=flow.id,
                    position=move.start.copy(),
                    known=move.start_known,
                    energy=flow.energy,
                    hidden=flow.hidden.copy(),
                    age=0,
                    path_length=F(0.0),
                    origin=(*flow.origin, t),
                )
                self.next_id += 1
                children.append(child)
                self.counters.spawned += 1
                self.counters.created += 1
                self.record(Kind.SPAWN, t, child, ordinal, Plane.NONE, move.length)
        return children

    def length_identity(self, flow: Flow, move: Move) -> tuple[object, ...]:
        """Equal for two flows only if no rounding can distinguish their lengths."""
        if all(move.displacement_known):
            return ("known", *(float(abs(component)) for component in move.displacement))
        if self.rules.noise_std > 0:
            return ("flow", flow.id)
        return ("origin", *flow.origin)

    def record_reflection(self, flow: Flow, move: Move, t: int) -> None:
        """One record for a flow that met a wall, at its position after rule 7."""
        if move.walls:
            self.counters.reflected += 1
            self.record(Kind.REFLECT, t, flow, move.walls, Plane.NONE, move.length)

    def record(
        self, kind: Kind, t: int, flow: Flow, code: int, plane: Plane, length: np.float32
    ) -> None:
        """Hand an event to the ring."""
        x, y, z = (float(coordinate) for coordinate in flow.position)
        self.ring.add(
            Event(
                step=t,
                kind=kind,
                sample=self.index,
                flow=flow.id,
                parent=flow.parent,
                code=code,
                plane=int(plane),
                x=x,
                y=y,
                z=z,
                energy=float(flow.energy),
                length=float(length),
            )
        )

    def check_ledger(self) -> None:
        """The balances of docs/simulation.md §7."""
        c, total, by_reason = self.counters, self.ring.total, self.counters.by_reason
        assert c.created == c.initial + c.spawned
        assert c.created == len(self.active) + c.completed + c.stalled
        assert c.completed == sum(by_reason.values()) - by_reason["stalled"]
        assert c.stalled == by_reason["stalled"]
        assert c.completed + c.stalled == len(self.ended)
        assert c.completed == sum(c.by_plane.values()) == sum(c.by_plane_and_reason.values())
        assert c.completed == int(self.tally.hits().sum())
        assert total["spawn"] == c.spawned
        assert total["reflect"] == c.reflected
        assert total["terminate"] == c.completed + c.stalled
        assert len(self.active) <= self.rules.max_active_flows
        assert self.next_id == c.created
        for kind, label in ((kind, kind.label) for kind in Kind):
            on = label in self.rules.trace.kinds and self.rules.trace.capacity > 0
            kept_or_lost = self.ring.recorded[label] + self.ring.dropped[label]
            assert kept_or_lost == (total[label] if on else 0), kind
