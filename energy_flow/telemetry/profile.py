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
    """Times of every step in milliseconds, in order; on a shared pool, of the pool's step.

    ``network`` is proposing, ``rules`` deciding together with the wait for the device, ``emit``
    the tally, the trace and the next state.
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
        """Enters one step: the run's flows and the pool's, and the phases."""
        self.active_flows.append(active_flows)
        self.pool_flows.append(pool_flows)
        self.network_ms.append(network_ms)
        self.rules_ms.append(rules_ms)
        self.emit_ms.append(emit_ms)
        self.step_ms.append(network_ms + rules_ms + emit_ms)

    def copy(self) -> Self:
        """The steps so far, which later ones leave alone."""
        return type(self)(*(list(getattr(self, name)) for name in COLUMNS))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data: means and maxima by phase, then the steps."""
        return {
            "steps": len(self.step_ms),
            "mean": {name: mean(getattr(self, name)) for name in PHASES},
            "max": {name: max(getattr(self, name), default=None) for name in PHASES},
            "per_step": {name: list(getattr(self, name)) for name in COLUMNS},
        }

    def write(self, path: str | Path) -> None:
        """Writes the profile as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1), encoding="utf-8")


def mean(values: Iterable[float]) -> float | None:
    """The arithmetic mean, or nothing of nothing."""
    items = list(values)
    return sum(items) / len(items) if items else None
