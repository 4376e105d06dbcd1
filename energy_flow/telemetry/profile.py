"""The step profile: how long each phase of each step took."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

PHASES = ("network_ms", "rules_ms", "emit_ms", "step_ms")
COLUMNS = ("active_flows", "pool_flows", *PHASES)


@dataclass(slots=True)
class StepProfile:
    """Times of every step in milliseconds; on a shared pool, of the pool's step.

    Attributes:
        active_flows: flows of the run.
        pool_flows: flows of the pool.
        network_ms: the networks.
        rules_ms: the rules, with the wait for the device.
        emit_ms: the tally, the trace and the next state.
        step_ms: the whole step.
    """

    active_flows: list[int] = field(default_factory=list)
    pool_flows: list[int] = field(default_factory=list)
    network_ms: list[float] = field(default_factory=list)
    rules_ms: list[float] = field(default_factory=list)
    emit_ms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)

    def add(
        self,
        active_flows: int,
        pool_flows: int,
        network_ms: float,
        rules_ms: float,
        emit_ms: float,
    ) -> None:
        """Enter one step.

        Args:
            active_flows: flows of the run.
            pool_flows: flows of the pool.
            network_ms: milliseconds of the networks.
            rules_ms: of the rules.
            emit_ms: of tally, trace and next state.
        """
        self.active_flows.append(active_flows)
        self.pool_flows.append(pool_flows)
        self.network_ms.append(network_ms)
        self.rules_ms.append(rules_ms)
        self.emit_ms.append(emit_ms)
        self.step_ms.append(network_ms + rules_ms + emit_ms)

    def copy(self) -> Self:
        """Return a copy that later steps do not change."""
        return type(self)(*(list(getattr(self, name)) for name in COLUMNS))

    def to_dict(self) -> dict[str, Any]:
        """Return means and maxima by phase, and the steps, as plain JSON data."""
        return {
            "steps": len(self.step_ms),
            "mean": {name: mean(getattr(self, name)) for name in PHASES},
            "max": {name: max(getattr(self, name), default=None) for name in PHASES},
            "per_step": {name: list(getattr(self, name)) for name in COLUMNS},
        }

    def write(self, path: str | Path) -> None:
        """Write the profile as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")


def mean(values: Iterable[float]) -> float | None:
    """Return the arithmetic mean, or nothing where there are no values."""
    items = list(values)
    return sum(items) / len(items) if items else None
