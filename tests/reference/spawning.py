"""How many children each flow may have (docs/simulation.md §3, rule 10), with margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .decisions import (
    F,
    children_by_percentile,
    children_by_threshold,
    interpolate,
    percentile_rank,
)
from .margin import Margin
from .rules import SpawnRules


class Parent(NamedTuple):
    """A flow that may spawn: what the rule reads, and what the margin needs besides."""

    id: int
    length: np.float32
    exact: bool
    """Whether the length carries no rounding at all."""
    identity: tuple[object, ...]
    """Equal for two flows only if no rounding can distinguish their lengths."""


def children_of(
    parents: Sequence[Parent], rules: SpawnRules, margin: Margin, step: int
) -> list[int]:
    """Children wanted by each parent, before the sample's capacity is looked at."""
    if rules.mode == "off" or not parents:
        return [0] * len(parents)
    if rules.mode == "threshold":
        return _by_threshold(parents, rules, margin, step)
    return _by_percentile(parents, rules, margin, step)


def _by_threshold(
    parents: Sequence[Parent], rules: SpawnRules, margin: Margin, step: int
) -> list[int]:
    tau = F(rules.threshold)
    for parent in parents:
        if not parent.exact:
            # k = 1 gives no child, so the first multiple that decides is the second.
            for k in range(2, rules.max_children + 2):
                distance = abs(parent.length - F(k) * tau)
                margin.see(
                    distance,
                    step,
                    parent.id,
                    f"spawn, length = {parent.length} against {k} * {tau}",
                )
    return [children_by_threshold(parent.length, tau, rules.max_children) for parent in parents]


def _by_percentile(
    parents: Sequence[Parent], rules: SpawnRules, margin: Margin, step: int
) -> list[int]:
    ordered = sorted(parents, key=lambda parent: (parent.length, parent.id))
    index_below, index_above, fraction = percentile_rank(len(ordered), rules.percentile)
    below, above = ordered[index_below], ordered[index_above]
    percentile = interpolate(below.length, above.length, fraction)
    least = F(rules.threshold)
    tau = max(percentile, least)

    # The flows that made the percentile. Where τ is the length of one flow, that flow and its
    # doubles are not above it, whatever the rounding.
    makers = {below.identity} if fraction == 0 else {below.identity, above.identity}
    tau_is_exact = least >= percentile
    for parent in parents:
        made_tau = not tau_is_exact and makers == {parent.identity}
        if not made_tau and not (parent.exact and tau_is_exact) and rules.max_children > 0:
            distance = abs(parent.length - tau)
            margin.see(distance, step, parent.id, f"spawn, length = {parent.length} above {tau}")
        if not (parent.exact and tau_is_exact):
            for k in range(2, rules.max_children + 1):
                distance = abs(parent.length - F(k) * tau)
                margin.see(
                    distance,
                    step,
                    parent.id,
                    f"spawn, length = {parent.length} against {k} * {tau}",
                )
    return [children_by_percentile(parent.length, tau, rules.max_children) for parent in parents]
