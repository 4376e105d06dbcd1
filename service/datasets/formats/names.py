"""What files call the embeddings and the targets; whatever else they hold is passed over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from energy_flow.errors import Fault

Part = Literal["inputs", "targets"]

NAMES: dict[Part, tuple[str, ...]] = {
    "inputs": ("embeddings", "embedding", "inputs", "input"),
    "targets": ("targets", "target"),
}


def choose(present: Iterable[str]) -> tuple[dict[Part, str], list[Fault]]:
    """Which of the names that a file has hold the inputs and, if any, the targets.

    Returns:
        a name for each part, and what is wrong.
    """
    present = list(present)
    chosen: dict[Part, str] = {}
    faults: list[Fault] = []
    for part, names in NAMES.items():
        found = [name for name in present if name in names]
        if found:
            chosen[part] = found[0]
        if len(found) > 1:
            said = f"is there several times; which of {', '.join(found)} is meant?"
            faults.append(Fault((found[0],), said, found))
        elif not found and part == "inputs":
            said = f"is required; it may be called {', '.join(names)}"
            faults.append(Fault((names[0],), said, sorted(present)[:10]))
    return chosen, faults
